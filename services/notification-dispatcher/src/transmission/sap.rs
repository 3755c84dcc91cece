//! SAP over OData: one entity per delivery, POSTed with the CSRF token and the session that the service gave.
//!
//! The token is fetched once (`X-CSRF-Token: Fetch`) and kept with the session's cookies; when the service asks for a new
//! one (403 and `X-CSRF-Token: Required`) it is fetched again and the entity is sent once more within the same attempt.
//! Every POST carries the event's id, and an answer that says "there already" counts as taken.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lictor_clock::Clock;
use lictor_licensing::id::DestinationId;
use reqwest::{
    Client, RequestBuilder, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE},
};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Shipment, failure, names::EventPath, odata_error, webhook};
use crate::domain::{
    allow::AllowList,
    outcome::{ANSWER_READ_BYTES, Attempt, AttemptResult, kept},
    retry_after,
    target::Target,
};

/// Sessions that are kept.
const SESSIONS: usize = 1_000;
/// Most cookies of a session, and bytes of one.
const COOKIES: usize = 32;
const COOKIE_BYTES: usize = 4 * 1024;
/// Longest token.
const TOKEN_BYTES: usize = 1_024;
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// An OData service as a destination.
#[derive(Clone, PartialEq, Eq)]
pub struct SapWay {
    /// The service's root.
    pub target: Target,
    /// The entity set that gets one entity per delivery.
    pub entity_set: String,
    /// Field -> where its value stands.
    pub fields: Vec<(String, FieldSource)>,
    /// The header that carries the event's id.
    pub key_header: HeaderName,
    /// Codes of errors which say that the entity is there already.
    pub duplicate_codes: Vec<String>,
    /// How we say who we are.
    pub credentials: SapCredentials,
}

impl std::fmt::Debug for SapWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SapWay")
            .field("target", &self.target)
            .field("entity_set", &self.entity_set)
            .finish_non_exhaustive()
    }
}

/// How a service knows us.
#[derive(Clone, PartialEq, Eq)]
pub enum SapCredentials {
    /// It does not ask.
    None,
    /// Basic authentication.
    Basic {
        /// The user.
        user: String,
        /// His password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

/// Where a field's value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldSource {
    /// In the body.
    Path(EventPath),
    /// The first of several places in the body: what an event of any type has under this name.
    Known(&'static str, &'static [&'static str]),
}

const EVENT_ID: &str = "event_id";

/// Names that find their value in events of every type.
pub const KNOWN: &[(&str, &[&str])] = &[
    ("order", &["/data/order_id"]),
    ("item", &["/data/item", "/data/lines/0/item"]),
    ("license", &["/data/license_id", "/data/license_ids/0"]),
    ("state", &["/data/state", "/type"]),
    ("customer", &["/data/customer"]),
    ("quantity", &["/data/quantity"]),
    ("serial", &["/data/serial", "/data/allocations/0/container"]),
    (EVENT_ID, &[]),
    ("event_type", &["/type"]),
    ("time", &["/time"]),
];

impl FieldSource {
    /// Reads a JSON pointer or one of [`KNOWN`].
    pub fn read(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return text.parse().ok().map(Self::Path);
        }
        KNOWN.iter().find(|(name, _)| *name == text).map(|(name, places)| Self::Known(name, places))
    }

    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Path(path) => path.as_str(),
            Self::Known(name, _) => name,
        }
    }

    fn find<'a>(&self, body: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Path(path) => path.find(body),
            Self::Known(_, places) => {
                places.iter().find_map(|place| body.pointer(place).filter(|value| !value.is_null()))
            }
        }
    }
}

/// Sends entities. Cheap to clone; all clones share the sessions.
#[derive(Debug, Clone)]
pub struct SapSender {
    client: Client,
    allow: Arc<AllowList>,
    deadline: Duration,
    sessions: Arc<Mutex<HashMap<DestinationId, Arc<Slot>>>>,
}

/// The session with one service. Its lock is held while a token is fetched, so that a crowd fetches one.
type Slot = tokio::sync::Mutex<Option<Session>>;

#[derive(Debug, Clone)]
struct Session {
    /// Which place it was got from.
    root: String,
    number: u64,
    token: HeaderValue,
    cookies: Vec<(String, String)>,
}

impl SapSender {
    /// A sender over the guarded client of webhooks.
    pub fn new(webhooks: &webhook::Sender) -> Self {
        let options = webhooks.options();
        Self {
            client: webhooks.client().clone(),
            allow: Arc::clone(&options.allow),
            deadline: options.deadline,
            sessions: Arc::default(),
        }
    }

    /// Makes one attempt.
    pub async fn send(&self, way: &SapWay, shipment: &Shipment, clock: &dyn Clock) -> Attempt {
        let at = clock.now();
        let begun = Instant::now();
        let deadline = shipment.timeout.unwrap_or(self.deadline);
        let outcome = match tokio::time::timeout(deadline, self.attempt(way, shipment)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(outcome)) => outcome,
            Err(_) => Outcome::without_answer(AttemptResult::Timeout, "no whole answer within the deadline"),
        };
        let retry_after = outcome.retry_after.as_deref().and_then(|value| retry_after::parse(value, clock.now()));
        Attempt {
            at,
            status: outcome.status,
            latency: begun.elapsed(),
            result: outcome.result,
            answer: kept(outcome.answer.as_bytes()),
            retry_after,
        }
    }

    async fn attempt(&self, way: &SapWay, shipment: &Shipment) -> Result<Outcome, Outcome> {
        way.target.check(&self.allow).map_err(|error| Outcome::without_answer(AttemptResult::Blocked, error))?;
        let entity = entity(way, shipment)
            .ok_or_else(|| Outcome::without_answer(AttemptResult::Failed, "the body is no JSON object"))?;
        let slot = self.slot(shipment.destination_id);
        let session = self.session(way, &slot, None).await?;
        let first = self.post(way, shipment, &session, &entity).await?;
        if !first.wants_token {
            return Ok(first);
        }
        // The session ran out on the other side; nothing was taken.
        let session = self.session(way, &slot, Some(session.number)).await?;
        self.post(way, shipment, &session, &entity).await
    }

    fn slot(&self, id: DestinationId) -> Arc<Slot> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS && !sessions.contains_key(&id) {
            sessions.clear();
        }
        Arc::clone(sessions.entry(id).or_default())
    }

    /// The session, fetched when there is none, or none but the `stale` one.
    async fn session(&self, way: &SapWay, slot: &Slot, stale: Option<u64>) -> Result<Session, Outcome> {
        let mut held = slot.lock().await;
        let root = way.target.to_string();
        if let Some(session) = held.as_ref().filter(|session| session.root == root && Some(session.number) != stale) {
            return Ok(session.clone());
        }
        let number = held.as_ref().map_or(0, |session| session.number) + 1;
        *held = None;
        let request = authorized(self.client.get(service_root(way)), way)
            .header(CSRF, HeaderValue::from_static("Fetch"))
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        let (status, headers, body) = exchange(request).await?;
        if !status.is_success() {
            return Err(Outcome::of(way, status, &headers, &body, true));
        }
        // A service without this protection gives none; then none is sent that means anything.
        let token = headers.get(CSRF).filter(|token| token.len() <= TOKEN_BYTES).cloned();
        let token = token.unwrap_or_else(|| HeaderValue::from_static("none"));
        let session = Session { root, number, token, cookies: cookies_of(&headers) };
        *held = Some(session.clone());
        Ok(session)
    }

    async fn post(
        &self,
        way: &SapWay,
        shipment: &Shipment,
        session: &Session,
        entity: &str,
    ) -> Result<Outcome, Outcome> {
        let mut request = authorized(self.client.post(entity_url(way)), way)
            .header(CSRF, session.token.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(way.key_header.clone(), shipment.event_id.as_str())
            .body(entity.to_owned());
        let cookies: Vec<String> = session.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if let Some(trace) = shipment.traceparent() {
            request = request.header(lictor_telemetry::TRACEPARENT, trace);
        }
        let (status, headers, body) = exchange(request).await?;
        Ok(Outcome::of(way, status, &headers, &body, false))
    }
}

/// What came of an exchange.
#[derive(Debug)]
struct Outcome {
    status: u16,
    result: AttemptResult,
    answer: String,
    wants_token: bool,
    retry_after: Option<String>,
}

impl Outcome {
    fn without_answer(result: AttemptResult, why: impl ToString) -> Self {
        Self { status: 0, result, answer: why.to_string(), wants_token: false, retry_after: None }
    }

    /// Judges an answer. The answer to `fetching` a token takes nothing, whatever it says.
    fn of(way: &SapWay, status: StatusCode, headers: &HeaderMap, body: &[u8], fetching: bool) -> Self {
        let error = odata_error::read(body);
        let there = !fetching
            && (status == StatusCode::CONFLICT
                || error.as_ref().is_some_and(|error| way.duplicate_codes.contains(&error.code)));
        let result = match Attempt::result_of_status(status.as_u16()) {
            _ if there => AttemptResult::Taken,
            AttemptResult::Taken if fetching => AttemptResult::Refused,
            result => result,
        };
        let required = headers.get(CSRF).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"required"));
        let answer = match error {
            Some(error) => error.to_string(),
            None => String::from_utf8_lossy(body).into_owned(),
        };
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let wants_token = !fetching && status == StatusCode::FORBIDDEN && required;
        Self { status: status.as_u16(), result, answer, wants_token, retry_after }
    }
}

fn authorized(request: RequestBuilder, way: &SapWay) -> RequestBuilder {
    match &way.credentials {
        SapCredentials::None => request,
        SapCredentials::Basic { user, password } => request.basic_auth(user, Some(password)),
        SapCredentials::Bearer(token) => request.bearer_auth(token),
    }
}

/// Sends and reads the answer to its end or to the cap.
async fn exchange(request: RequestBuilder) -> Result<(StatusCode, HeaderMap, Vec<u8>), Outcome> {
    let broken = |error: reqwest::Error| Outcome::without_answer(failure::class_of(&error), failure::text_of(&error));
    let mut response = request.send().await.map_err(broken)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        let room = ANSWER_READ_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ANSWER_READ_BYTES {
            break;
        }
    }
    Ok((status, headers, body))
}

fn service_root(way: &SapWay) -> Url {
    let mut url = way.target.url().clone();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

fn entity_url(way: &SapWay) -> Url {
    let mut url = service_root(way);
    // The name was checked: letters, digits and underscores.
    url.set_path(&format!("{}{}", url.path(), way.entity_set));
    url
}

/// The cookies that a service set: names and values only, for this service alone.
fn cookies_of(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut cookies: Vec<(String, String)> = Vec::new();
    for header in headers.get_all(SET_COOKIE).iter().take(COOKIES) {
        let pair = header.to_str().ok().and_then(|text| text.split(';').next()?.split_once('='));
        if let Some((name, value)) = pair.filter(|(name, value)| name.len() + value.len() <= COOKIE_BYTES) {
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            cookies.retain(|(known, _)| *known != name);
            cookies.push((name, value));
        }
    }
    cookies
}

/// The entity as JSON. What an event does not have is left out.
fn entity(way: &SapWay, shipment: &Shipment) -> Option<String> {
    let body: Value = serde_json::from_slice(&shipment.body).ok()?;
    body.as_object()?;
    let fields: Map<String, Value> = way
        .fields
        .iter()
        .filter_map(|(field, source)| {
            if matches!(source, FieldSource::Known(EVENT_ID, _)) {
                // What the receiver dedupes by, whatever a template made of the body.
                return Some((field.clone(), Value::from(shipment.event_id.as_str())));
            }
            let value = match source.find(&body)? {
                // OData knows no nested values without a declared type: they go as text.
                nested @ (Value::Array(_) | Value::Object(_)) => Value::String(nested.to_string()),
                plain => plain.clone(),
            };
            Some((field.clone(), value))
        })
        .collect();
    Some(Value::Object(fields).to_string())
}
