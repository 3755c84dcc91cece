//! A small OData service that keeps to the rules: tokens against forgery, sessions that end, metadata, keys.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

const METADATA: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx"><edmx:DataServices>
<Schema Namespace="ZLIC" xmlns="http://schemas.microsoft.com/ado/2008/09/edm"><EntityType Name="License">
<Key><PropertyRef Name="EventId"/></Key><Property Name="EventId" Type="Edm.String"/></EntityType></Schema>
</edmx:DataServices></edmx:Edmx>"#;
const FIELDS: [&str; 6] = ["OrderId", "Item", "LicenseId", "State", "EventId", "Quantity"];

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) entities: BTreeMap<String, Value>,
    pub(crate) tokens_given: u32,
    pub(crate) posts: u32,
    sessions: HashMap<String, String>,
    /// Answer a repetition with this code in a 400 instead of with 409.
    pub(crate) duplicate_code: Option<&'static str>,
    /// Take the next entity but lose the answer.
    pub(crate) lose_next_answer: bool,
    /// Answer the next POST so, whatever it says.
    pub(crate) next: Option<(u16, &'static str)>,
}

type Shared = Arc<Mutex<Books>>;

pub(crate) struct OData {
    pub(crate) books: Shared,
    pub(crate) url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for OData {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl OData {
    pub(crate) async fn start() -> Self {
        let books = Shared::default();
        let router = Router::new()
            .route("/ZLIC_SRV/", get(root))
            .route("/ZLIC_SRV/$metadata", get(|| async { ([(header::CONTENT_TYPE, "application/xml")], METADATA) }))
            .route("/ZLIC_SRV/LicenseSet", post(create))
            .with_state(Arc::clone(&books));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/ZLIC_SRV", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { books, url, server }
    }

    /// All sessions end, as after a restart of the application server.
    pub(crate) fn end_sessions(&self) {
        self.books.lock().expect("a lock").sessions.clear();
    }
}

/// LICTOR:s3cret
fn knows(headers: &HeaderMap) -> bool {
    headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Basic TElDVE9SOnMzY3JldA==")
}

async fn root(State(books): State<Shared>, headers: HeaderMap) -> Response {
    if !knows(&headers) {
        return (StatusCode::UNAUTHORIZED, "log on").into_response();
    }
    if headers.get("x-csrf-token").is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"fetch")) {
        return axum::Json(json!({ "d": { "EntitySets": ["LicenseSet"] } })).into_response();
    }
    let mut books = books.lock().expect("a lock");
    books.tokens_given += 1;
    let (session, token) = (format!("S{}", books.tokens_given), format!("T{}==", books.tokens_given));
    books.sessions.insert(session.clone(), token.clone());
    let mut response = axum::Json(json!({ "d": { "EntitySets": ["LicenseSet"] } })).into_response();
    let headers = response.headers_mut();
    headers.insert("x-csrf-token", token.parse().expect("a value"));
    headers.append(header::SET_COOKIE, "sap-usercontext=sap-client=100; path=/".parse().expect("a value"));
    let cookie = format!("SAP_SESSIONID_ABC_100={session}; path=/; secure; HttpOnly");
    headers.append(header::SET_COOKIE, cookie.parse().expect("a value"));
    response
}

async fn create(State(books): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if !knows(&headers) {
        return (StatusCode::UNAUTHORIZED, "log on").into_response();
    }
    let mut books = books.lock().expect("a lock");
    books.posts += 1;
    let cookies = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let session = cookies.split("; ").find_map(|pair| pair.strip_prefix("SAP_SESSIONID_ABC_100="));
    let token = session.and_then(|session| books.sessions.get(session));
    let given = headers.get("x-csrf-token").and_then(|value| value.to_str().ok());
    if token.is_none() || token.map(String::as_str) != given {
        return (StatusCode::FORBIDDEN, [("x-csrf-token", "Required")], "CSRF token validation failed").into_response();
    }
    if let Some((status, text)) = books.next.take() {
        return (StatusCode::from_u16(status).expect("a status"), text).into_response();
    }
    let error = |status: StatusCode, code: &str, text: &str| {
        let body = json!({ "error": { "code": code, "message": { "lang": "en", "value": text } } });
        (status, axum::Json(body)).into_response()
    };
    let Ok(entity) = serde_json::from_slice::<Value>(&body) else {
        return error(StatusCode::BAD_REQUEST, "CM/001", "malformed payload");
    };
    let fields = entity.as_object().expect("an object");
    if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return error(StatusCode::BAD_REQUEST, "CM/002", &format!("Property {unknown} is invalid"));
    }
    let key = entity["EventId"].as_str().unwrap_or_default().to_owned();
    if headers.get("requestid").is_none_or(|value| value != key.as_str()) {
        return error(StatusCode::BAD_REQUEST, "CM/003", "RequestID differs from the key");
    }
    if books.entities.contains_key(&key) {
        return match books.duplicate_code {
            Some(code) => error(StatusCode::BAD_REQUEST, code, "Entity exists already"),
            None => error(StatusCode::CONFLICT, "CM/022", "Entity exists already"),
        };
    }
    books.entities.insert(key, entity.clone());
    if std::mem::take(&mut books.lose_next_answer) {
        return (StatusCode::BAD_GATEWAY, "the answer was lost").into_response();
    }
    (StatusCode::CREATED, axum::Json(json!({ "d": entity }))).into_response()
}
