//! Webhooks: one POST under one deadline, answered within 16 KiB, never redirected, only to checked addresses.

use std::{sync::Arc, time::Duration};

use lictor_clock::Clock;
use lictor_runtime::StartError;
use reqwest::{
    Client, Response,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::time::Instant;

use super::{
    Shipment, failure,
    guard::{GuardedNames, Names},
};
use crate::domain::{
    allow::AllowList,
    outcome::{ANSWER_READ_BYTES, Attempt, AttemptResult, kept},
    retry_after,
    secret::signatures,
    target::{Target, TargetError},
};

const AGENT: &str = concat!("Lictor-Webhooks/", env!("CARGO_PKG_VERSION"));
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const TRACEPARENT: HeaderName = HeaderName::from_static(lictor_telemetry::TRACEPARENT);
/// Idle connections are closed soon: a receiver that closes first makes the next call fail.
const IDLE_TIME: Duration = Duration::from_secs(15);
const IDLE_PER_HOST: usize = 16;

/// What bounds every call.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// From the name look-up to the last byte of the answer; default 15 s.
    pub deadline: Duration,
    /// What is open beyond the public internet.
    pub allow: Arc<AllowList>,
    /// PEM text of further certificate authorities, for receivers inside a company.
    pub extra_ca: Option<String>,
}

/// Sends webhooks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    options: WebhookOptions,
}

impl Sender {
    /// A sender that looks names up with `names`.
    ///
    /// # Errors
    /// `Settings` when the extra certificate authorities cannot be read.
    pub fn new(options: WebhookOptions, names: Arc<dyn Names>) -> Result<Self, StartError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls(options.extra_ca.as_deref())?)
            .redirect(reqwest::redirect::Policy::none())
            // A proxy from the environment would connect past the guard.
            .no_proxy()
            .dns_resolver(GuardedNames::new(names, Arc::clone(&options.allow)))
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .tcp_nodelay(true)
            .referer(false)
            .build()
            .map_err(|error| StartError::failed("the HTTP client cannot be made", error))?;
        Ok(Self { client, options })
    }

    /// The guarded client, for other ways over HTTP.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// What bounds it.
    pub(super) fn options(&self) -> &WebhookOptions {
        &self.options
    }

    /// Makes one call.
    pub async fn send(&self, target: &Target, shipment: &Shipment, clock: &dyn Clock) -> Attempt {
        let at = clock.now();
        let begun = Instant::now();
        let exchange = self.exchange(target, shipment, at);
        let deadline = shipment.timeout.unwrap_or(self.options.deadline);
        let (status, result, answer, headers) = match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(answered)) => {
                (answered.status, Attempt::result_of_status(answered.status), kept(&answered.body), answered.headers)
            }
            Ok(Err(broken)) => (broken.status, broken.result, kept(broken.why.as_bytes()), HeaderMap::new()),
            Err(_) => (0, AttemptResult::Timeout, "no whole answer within the deadline".to_owned(), HeaderMap::new()),
        };
        let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|value| retry_after::parse(value, clock.now()));
        Attempt { at, status, latency: begun.elapsed(), result, answer, retry_after }
    }

    async fn exchange(
        &self,
        target: &Target,
        shipment: &Shipment,
        at: lictor_clock::Timestamp,
    ) -> Result<Answered, Broken> {
        target.check(&self.options.allow).map_err(|error| Broken::blocked(&error))?;
        let id = shipment.event_id.as_str();
        let mut headers = HeaderMap::with_capacity(8);
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| Broken::unsendable());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(shipment.content_type));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(WEBHOOK_SIGNATURE, header(&signatures(&shipment.keys, id, at, &shipment.body))?);
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(at.as_seconds()));
        headers.insert(WEBHOOK_ID, header(id)?);
        if let Some(trace) = shipment.traceparent() {
            headers.insert(TRACEPARENT, header(&trace)?);
        }
        let request = self.client.post(target.url().clone()).headers(headers).body(shipment.body.clone()).send();
        let mut response = request.await.map_err(|error| Broken::of(&error, 0))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = read(&mut response).await.map_err(|error| Broken::of(&error, status))?;
        Ok(Answered { status, headers, body })
    }
}

struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

struct Broken {
    status: u16,
    result: AttemptResult,
    why: String,
}

impl Broken {
    fn of(error: &reqwest::Error, status: u16) -> Self {
        Self { status, result: failure::class_of(error), why: failure::text_of(error) }
    }

    fn blocked(error: &TargetError) -> Self {
        Self { status: 0, result: AttemptResult::Blocked, why: error.to_string() }
    }

    fn unsendable() -> Self {
        Self { status: 0, result: AttemptResult::Protocol, why: "a header cannot be written".to_owned() }
    }
}

/// Reads the answer to its end or to the cap, whichever comes first; what is beyond the cap closes the connection.
async fn read(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER_READ_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ANSWER_READ_BYTES {
            break;
        }
    }
    Ok(body)
}

fn tls(extra_ca: Option<&str>) -> Result<rustls::ClientConfig, StartError> {
    // Bundled roots: an image has no certificate files.
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = extra_ca {
        let malformed =
            || StartError::settings("the extra certificate authorities for webhooks are no PEM certificates");
        let mut any = false;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(|_| malformed())?).map_err(|_| malformed())?;
            any = true;
        }
        if !any {
            return Err(malformed());
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StartError::failed("TLS for webhooks cannot be set up", error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
