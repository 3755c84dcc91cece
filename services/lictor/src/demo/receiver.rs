//! The vendor's back office as the dispatcher sees it: a receiver of webhooks that checks every signature itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use lictor_clock::SharedClock;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::narrator::{Broken, Story};

/// Oldest and newest acceptable `webhook-timestamp`, in seconds from now.
const MAX_SKEW_SECONDS: i64 = 300;

/// One accepted delivery.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) body: Value,
}

#[derive(Debug, Default)]
struct Ledger {
    secret: Option<Vec<u8>>,
    received: Vec<Received>,
    forged: Vec<String>,
}

#[derive(Clone, Debug)]
struct Office {
    ledger: Arc<Mutex<Ledger>>,
    clock: SharedClock,
}

impl Office {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver; can be taken down and put up again at the same address.
#[derive(Debug)]
pub(crate) struct Receiver {
    office: Office,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Receiver {
    pub(crate) async fn open(clock: SharedClock) -> Story<Self> {
        let mut receiver = Self {
            office: Office { ledger: Arc::default(), clock },
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            serving: None,
        };
        receiver.up().await?;
        Ok(receiver)
    }

    /// Serves at the address it had before.
    pub(crate) async fn up(&mut self) -> Story {
        let cannot = |error: std::io::Error| Broken::new(format!("the webhook receiver cannot listen: {error}"));
        let listener = TcpListener::bind(self.address).await.map_err(cannot)?;
        self.address = listener.local_addr().map_err(cannot)?;
        let routes = Router::new().route("/hooks", post(take)).with_state(self.office.clone());
        self.serving = Some(tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        }));
        Ok(())
    }

    /// Nobody answers any more.
    pub(crate) async fn down(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Takes the secret that the destination was made with.
    pub(crate) fn set_secret(&self, secret: &str) -> Story {
        let bytes = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.ok_or_else(|| Broken::new("the destination's secret is not of the form whsec_BASE64"))?;
        self.office.ledger().secret = Some(bytes);
        Ok(())
    }

    /// Everything that came with a good signature, in its order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.office.ledger().received.clone()
    }

    /// What came with a bad signature.
    pub(crate) fn forged(&self) -> Vec<String> {
        self.office.ledger().forged.clone()
    }

    /// Whether an event of this kind about this subject came.
    pub(crate) fn has(&self, kind: &str, subject: &str) -> bool {
        self.office.ledger().received.iter().any(|event| event.kind == kind && event.subject == subject)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn take(State(office): State<Office>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now = office.clock.now().as_seconds();
    let mut ledger = office.ledger();
    let checked = check(ledger.secret.as_deref(), &headers, &body, now);
    match checked.and_then(|()| event(&headers, &body)) {
        Ok(event) => {
            ledger.received.push(event);
            StatusCode::NO_CONTENT
        }
        Err(reason) => {
            ledger.forged.push(reason.to_owned());
            StatusCode::BAD_REQUEST
        }
    }
}

/// The check of Standard Webhooks: the signature over id, time and body, and a time that is not far away.
fn check(secret: Option<&[u8]>, headers: &HeaderMap, body: &[u8], now: i64) -> Result<(), &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = header("webhook-id").ok_or("webhook-id is missing")?;
    let at = header("webhook-timestamp").ok_or("webhook-timestamp is missing")?;
    let signatures = header("webhook-signature").ok_or("webhook-signature is missing")?;
    let seconds: i64 = at.parse().map_err(|_| "webhook-timestamp is no number")?;
    if (now - seconds).abs() > MAX_SKEW_SECONDS {
        return Err("webhook-timestamp is far away");
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.ok_or("no secret is known yet")?)
        .map_err(|_| "the secret cannot be used")?;
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    let good = signatures.split(' ').filter_map(|entry| entry.strip_prefix("v1,")).any(|signature| {
        STANDARD.decode(signature).is_ok_and(|signature| mac.clone().verify_slice(&signature).is_ok())
    });
    if good { Ok(()) } else { Err("no signature fits") }
}

fn event(headers: &HeaderMap, body: &[u8]) -> Result<Received, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "the body is no JSON")?;
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let id = text("id").ok_or("the event has no id")?;
    if headers.get("webhook-id").is_none_or(|header| header.as_bytes() != id.as_bytes()) {
        return Err("webhook-id is not the event's id");
    }
    Ok(Received {
        id,
        kind: text("type").ok_or("the event has no type")?,
        subject: text("subject").ok_or("the event has no subject")?,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed outside of this program from the text of Standard Webhooks: base64(HMAC-SHA256(secret, id.time.body)).
    fn signed(secret: &[u8], id: &str, at: &str, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length is a key");
        mac.update(format!("{id}.{at}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn headers(id: &str, at: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)] {
            headers.insert(name, value.parse().expect("header value"));
        }
        headers
    }

    #[test]
    fn only_a_fitting_signature_over_all_three_parts_is_accepted() {
        let good = signed(b"secret", "evt_1", "1000", "{}");
        let check =
            |secret: &[u8], headers: &HeaderMap, body: &str, now| check(Some(secret), headers, body.as_bytes(), now);
        let sent = headers("evt_1", "1000", &format!("v1,AAAA {good}"));
        assert_eq!(check(b"secret", &sent, "{}", 1000), Ok(()));
        assert!(check(b"other", &sent, "{}", 1000).is_err());
        assert!(check(b"secret", &sent, "{ }", 1000).is_err());
        assert!(check(b"secret", &sent, "{}", 1000 + MAX_SKEW_SECONDS + 1).is_err());
        assert!(check(b"secret", &headers("evt_2", "1000", &good), "{}", 1000).is_err());
        assert!(check(b"secret", &headers("evt_1", "1001", &good), "{}", 1000).is_err());
        assert!(check(b"secret", &headers("evt_1", "1000", "v1,"), "{}", 1000).is_err());
    }
}
