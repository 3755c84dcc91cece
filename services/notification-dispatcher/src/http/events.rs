//! `GET /events?after=CURSOR&limit=N`: events for receivers that would rather fetch than be called. Who may ask is decided
//! as for the RPC `EventService.ReadEvents`, with the same bearer tokens.
//!
//! The answer is `{"events": […], "cursor": "…", "more": true}`; the next request gives `cursor` as `after`.

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use lictor_api::error::problem;
use lictor_runtime::Gate;
use lictor_storage::Database;
use serde_json::json;
use tonic::{Code, Status};

use crate::{grpc::READ_EVENTS, reading};

/// Events of one answer when the caller names no number.
const DEFAULT_LIMIT: u32 = 200;
/// Most events of one answer.
const MAX_LIMIT: u32 = 1_000;

#[derive(Clone)]
struct Shared {
    db: Database,
    gate: Gate,
}

/// The page.
pub fn routes(db: Database, gate: Gate) -> Router {
    Router::new().route("/events", get(events)).with_state(Shared { db, gate })
}

async fn events(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let (mut parts, _) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    // The gate knows RPCs by their paths.
    parts.uri = Uri::from_static(READ_EVENTS);
    if let Err(status) = (shared.gate)(parts).await {
        return refused(&status);
    }
    match answer(&shared.db, &query).await {
        Ok(body) => {
            ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
        }
        Err(status) => refused(&status),
    }
}

async fn answer(db: &Database, query: &str) -> Result<Vec<u8>, Status> {
    let (mut after, mut limit, mut types) = (0, DEFAULT_LIMIT, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("after", cursor)) => after = cursor.parse().map_err(|_| reading::malformed("after is no cursor"))?,
            Some(("limit", number)) => {
                let number = number.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
                limit = number.ok_or_else(|| reading::malformed("limit is not 1 to 1000"))?;
            }
            Some(("type", pattern)) => types.push(pattern.replace("%2A", "*").replace("%2a", "*")),
            _ => return Err(reading::malformed("the query has something beside after, limit and type")),
        }
    }
    let filter = reading::filter(&types)?;
    let page = reading::page(db, after, limit, &filter).await?;
    let mut body = br#"{"events":["#.to_vec();
    for (place, event) in page.events.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        // Bodies are JSON already, and stay byte for byte what a webhook carries.
        body.extend_from_slice(&event.body);
    }
    body.extend_from_slice(format!(r#"],"cursor":"{}","more":{}}}"#, page.cursor, page.more).as_bytes());
    Ok(body)
}

fn refused(status: &Status) -> Response {
    let code = match status.code() {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::OutOfRange | Code::NotFound => StatusCode::GONE,
        Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let problem = problem(status);
    let body = json!({ "error": { "code": problem.code.name(), "message": problem.message, "next": problem.next } });
    let mut response = (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    response
}
