//! Calling other services: a channel that connects when it is first used, and again after every break.
//!
//! ```no_run
//! use std::time::Duration;
//! use lictor_runtime::{StartError, client};
//!
//! fn central(url: &str, token: client::TokenSource) -> Result<client::ServiceChannel, StartError> {
//!     // OrderServiceClient::new(channel.clone()) and so on; clones share the connection.
//!     client::channel(url, None, Some(token))
//! }
//!
//! async fn ask() -> Result<u32, tonic::Status> {
//!     // Only for calls that may be repeated: reads, and commands with a request id.
//!     client::retry_unavailable(Duration::from_secs(20), || async { Ok(7) }).await
//! }
//! ```

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::StartError;

const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest time of one call; a stream only has to begin within it.
const CALL_TIME: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// First pause of [`retry_unavailable`]; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Gives a bearer token for the next call. `lictor_auth::ServiceTokens::source` makes one.
pub type TokenSource = Arc<dyn Fn() -> Result<String, Status> + Send + Sync>;

/// A channel that carries the trace and the token.
pub type ServiceChannel = InterceptedService<Channel, Outgoing>;

/// Adds `traceparent` and `authorization` to outgoing calls.
#[derive(Clone)]
pub struct Outgoing {
    token: Option<TokenSource>,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("token", &self.token.is_some()).finish()
    }
}

impl Interceptor for Outgoing {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        lictor_telemetry::inject_metadata(request.metadata_mut());
        if let Some(token) = &self.token {
            let mut value = MetadataValue::try_from(format!("Bearer {}", token()?))
                .map_err(|_| Status::internal("the service token is no header value"))?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// A channel to `http://HOST:PORT` or `https://HOST:PORT`; `ca` is the PEM text of the CA that signed the other side's
/// certificate. Nothing is connected yet, so the other side may start later.
pub fn channel(url: &str, ca: Option<&str>, token: Option<TokenSource>) -> Result<ServiceChannel, StartError> {
    let malformed = || {
        StartError::settings(format!(
            "{url:?} is no address of a service; next: write http://HOST:PORT or https://HOST:PORT"
        ))
    };
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|_| malformed())?
        .connect_timeout(CONNECT_TIME)
        .timeout(CALL_TIME)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER);
    match endpoint.uri().scheme_str() {
        Some("http") => {}
        Some("https") => {
            crate::install_crypto_provider();
            let mut tls = ClientTlsConfig::new();
            if let Some(ca) = ca {
                tls = tls.ca_certificate(Certificate::from_pem(ca));
            }
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|error| StartError::settings(format!("TLS to {url} cannot be set up: {error}")))?;
        }
        _ => return Err(malformed()),
    }
    Ok(InterceptedService::new(endpoint.connect_lazy(), Outgoing { token }))
}

/// Repeats `call` with growing pauses while the other side is unavailable, until `patience` is over.
///
/// # Errors
/// The last status; any other code than `Unavailable` at once.
pub async fn retry_unavailable<T, F, Fut>(patience: Duration, mut call: F) -> Result<T, Status>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Status>>,
{
    let end = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match call().await {
            Err(status) if status.code() == Code::Unavailable && Instant::now() + pause < end => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}
