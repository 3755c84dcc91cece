//! A receiver's gRPC `Transmitter`: one unary call per delivery, over TLS, to checked addresses only.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use lictor_api::notification::v1::{TransmitRequest, transmitter_client::TransmitterClient};
use lictor_clock::Clock;
use lictor_licensing::id::DestinationId;
use lictor_runtime::StartError;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::{net::TcpStream, time::Instant};
use tonic::{
    Code, Request, Status,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri},
};

use super::{
    Shipment,
    guard::{GuardError, GuardedNames, Names},
    webhook::WebhookOptions,
};
use crate::domain::{
    allow::AllowList,
    outcome::{ANSWER_READ_BYTES, Attempt, AttemptResult, kept},
    target::Target,
};

/// How much longer than we a receiver is told to try.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);
/// Connections that are kept; the one that was unused for longest goes first.
const CHANNELS: usize = 256;

/// A Transmitter as a destination.
#[derive(Clone, PartialEq, Eq)]
pub struct TransmitterWay {
    /// Where it is.
    pub target: Target,
    /// Its bearer token, if it wants one.
    pub token: Option<AsciiMetadataValue>,
}

impl std::fmt::Debug for TransmitterWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransmitterWay").field("target", &self.target).field("token", &self.token.is_some()).finish()
    }
}

/// Calls Transmitters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TransmitterSender {
    names: GuardedNames,
    allow: Arc<AllowList>,
    deadline: Duration,
    tls: ClientTlsConfig,
    channels: Arc<Mutex<Channels>>,
}

#[derive(Debug, Default)]
struct Channels {
    turn: u64,
    open: HashMap<DestinationId, Open>,
}

#[derive(Debug)]
struct Open {
    target: Target,
    channel: Channel,
    used: u64,
}

impl TransmitterSender {
    /// A sender that looks names up with `names` and is bound as webhooks are.
    ///
    /// # Errors
    /// `Settings` when the extra certificate authorities cannot be read.
    pub fn new(options: &WebhookOptions, names: Arc<dyn Names>) -> Result<Self, StartError> {
        let mut tls = ClientTlsConfig::new().trust_anchors(webpki_roots::TLS_SERVER_ROOTS.to_vec());
        if let Some(pem) = &options.extra_ca {
            let good = CertificateDer::pem_slice_iter(pem.as_bytes()).next().is_some_and(|first| first.is_ok());
            if !good {
                return Err(StartError::settings("the extra certificate authorities for receivers are no PEM"));
            }
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        Ok(Self {
            names: GuardedNames::new(names, Arc::clone(&options.allow)),
            allow: Arc::clone(&options.allow),
            deadline: options.deadline,
            tls,
            channels: Arc::default(),
        })
    }

    /// Makes one call.
    pub async fn send(&self, way: &TransmitterWay, shipment: &Shipment, clock: &dyn Clock) -> Attempt {
        let at = clock.now();
        let begun = Instant::now();
        let deadline = shipment.timeout.unwrap_or(self.deadline);
        let (result, answer) = match tokio::time::timeout(deadline, self.call(way, shipment)).await {
            Ok(outcome) => outcome,
            Err(_) => (AttemptResult::Timeout, "no whole answer within the deadline".to_owned()),
        };
        Attempt { at, status: 0, latency: begun.elapsed(), result, answer: kept(answer.as_bytes()), retry_after: None }
    }

    async fn call(&self, way: &TransmitterWay, shipment: &Shipment) -> (AttemptResult, String) {
        if let Err(error) = way.target.check(&self.allow) {
            return (AttemptResult::Blocked, error.to_string());
        }
        let channel = match self.channel(shipment.destination_id, &way.target) {
            Ok(channel) => channel,
            Err(error) => return (AttemptResult::Tls, error.to_string()),
        };
        let mut request = Request::new(TransmitRequest {
            event_id: shipment.event_id.clone(),
            destination_id: shipment.destination_id.to_string(),
            attempt: shipment.number,
            content_type: shipment.content_type.to_owned(),
            body: shipment.body.to_vec(),
        });
        // For the receiver; our own deadline comes first, so that it is seen for what it is.
        request.set_timeout(shipment.timeout.unwrap_or(self.deadline) + AFTER_DEADLINE);
        if let Some(token) = &way.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        if let Some(value) = shipment.traceparent().and_then(|trace| AsciiMetadataValue::try_from(trace).ok()) {
            request.metadata_mut().insert(AsciiMetadataKey::from_static(lictor_telemetry::TRACEPARENT), value);
        }
        let mut client = TransmitterClient::new(channel).max_decoding_message_size(ANSWER_READ_BYTES);
        match client.transmit(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                (if answer.gone { AttemptResult::Gone } else { AttemptResult::Taken }, answer.note)
            }
            Err(status) if status.code() == Code::AlreadyExists => {
                (AttemptResult::Taken, format!("already there: {}", status.message()))
            }
            Err(status) => (class_of(&status), text_of(&status)),
        }
    }

    fn channel(&self, id: DestinationId, target: &Target) -> Result<Channel, tonic::transport::Error> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.turn += 1;
        let turn = channels.turn;
        if let Some(open) = channels.open.get_mut(&id).filter(|open| open.target == *target) {
            open.used = turn;
            return Ok(open.channel.clone());
        }
        let mut endpoint = Endpoint::from_shared(target.to_string())?.tcp_nodelay(true);
        if target.url().scheme() == "https" {
            endpoint = endpoint.tls_config(self.tls.clone())?;
        }
        let names = self.names.clone();
        let connector = tower::service_fn(move |uri: Uri| connect(names.clone(), uri));
        let channel = endpoint.connect_with_connector_lazy(connector);
        if channels.open.len() >= CHANNELS {
            let oldest = channels.open.iter().min_by_key(|(_, open)| open.used).map(|(id, _)| *id);
            channels.open.retain(|id, _| Some(*id) != oldest);
        }
        channels.open.insert(id, Open { target: target.clone(), channel: channel.clone(), used: turn });
        Ok(channel)
    }
}

/// Connects to a checked address of the URL's host, one after the other.
async fn connect(names: GuardedNames, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
    let host = uri.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    let addresses = names.checked(bare.to_owned()).await.map_err(io::Error::other)?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(address.ip(), port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(TokioIo::new(stream));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// The class of a call that failed: by its cause where there is one, by its code otherwise.
fn class_of(status: &Status) -> AttemptResult {
    let mut next = std::error::Error::source(status);
    while let Some(cause) = next {
        if let Some(class) = of_cause(cause) {
            return class;
        }
        next = cause.source();
    }
    match status.code() {
        Code::DeadlineExceeded => AttemptResult::Timeout,
        // The connection went away under the call.
        Code::Cancelled => AttemptResult::Truncated,
        _ => AttemptResult::Refused,
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<AttemptResult> {
    if let Some(guard) = cause.downcast_ref::<GuardError>() {
        return Some(match guard {
            GuardError::NoAddress(..) => AttemptResult::Dns,
            GuardError::Blocked(_) => AttemptResult::Blocked,
        });
    }
    if cause.is::<rustls::Error>() {
        return Some(AttemptResult::Tls);
    }
    let io = cause.downcast_ref::<io::Error>()?;
    match io.get_ref() {
        Some(inner) => of_cause(inner).or(Some(AttemptResult::Connect)),
        None => Some(AttemptResult::Connect),
    }
}

fn text_of(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut next = std::error::Error::source(status);
    while let Some(cause) = next {
        next = cause.source();
        if next.is_none() {
            text.push_str(": ");
            text.push_str(&cause.to_string());
        }
    }
    text
}
