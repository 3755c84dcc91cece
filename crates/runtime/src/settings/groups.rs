//! Settings that every service has.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lictor_telemetry::{LogFormat, TelemetryOptions};

use super::{Field, Reader};

const GRPC_LISTEN: Field = Field::optional("grpc_listen", "GRPC_LISTEN", "address and port of the gRPC listener");
pub(crate) const HTTP_LISTEN: Field =
    Field::optional("http_listen", "HTTP_LISTEN", "address and port of `/live`, `/ready` and `/metrics`");
const TLS_CERTIFICATE: Field =
    Field::optional("tls_certificate", "TLS_CERTIFICATE", "PEM file with the gRPC listener's certificate chain");
const TLS_KEY: Field = Field::optional("tls_key", "TLS_KEY", "PEM file with the gRPC listener's private key");
const TLS_CLIENT_CA: Field = Field::optional(
    "tls_client_ca",
    "TLS_CLIENT_CA",
    "PEM file; when given, every gRPC client must show a certificate signed by it",
);
const SHUTDOWN_GRACE: Field = Field::with_default(
    "shutdown_grace",
    "SHUTDOWN_GRACE",
    "10s",
    "how long running calls may go on after SIGTERM before they are cut",
);
const LOG_FORMAT: Field = Field::with_default("log_format", "LOG_FORMAT", "human", "`human` or `json` log lines");
const LOG_FILTER: Field = Field::with_default(
    "log_filter",
    "RUST_LOG",
    "info",
    "which log lines are written, such as `info,lictor_broker=debug`",
);
const OTLP_ENDPOINT: Field = Field::optional(
    "otlp_endpoint",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTLP gRPC collector for traces, such as `http://collector:4317`; without it no traces are made",
);

/// Where a service listens and how it stops.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// gRPC; port 0 takes a free one.
    pub grpc: SocketAddr,
    /// `/live`, `/ready`, `/metrics`; port 0 takes a free one.
    pub http: SocketAddr,
    /// TLS of the gRPC listener; plain without it.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// How long running calls may go on after a stop was asked for.
    pub shutdown_grace: Duration,
    /// Listeners that whoever starts this service holds already; the one of an address is used instead of a new one.
    pub held: HeldListeners,
}

/// Listeners that are held from the choice of their ports to the start of the services that use them, so that no other
/// program can take a port in between.
#[derive(Debug, Clone, Default)]
pub struct HeldListeners(Arc<Mutex<Vec<TcpListener>>>);

impl HeldListeners {
    /// Holds these.
    pub fn new(listeners: Vec<TcpListener>) -> Self {
        Self(Arc::new(Mutex::new(listeners)))
    }

    /// Hands out the one of this address, once.
    pub fn take(&self, address: SocketAddr) -> Option<TcpListener> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = held.iter().position(|listener| listener.local_addr().is_ok_and(|at| at == address))?;
        Some(held.swap_remove(place))
    }

    /// Closes those that nobody took.
    pub fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl ListenSettings {
    /// Reads the group. Without settings it listens on all addresses at the given ports.
    pub fn read(reader: &mut Reader, grpc_port: u16, http_port: u16) -> Self {
        let certificate = reader.optional_path(&TLS_CERTIFICATE);
        let key = reader.optional_path(&TLS_KEY);
        let client_ca = reader.optional_path(&TLS_CLIENT_CA);
        Self {
            grpc: reader.address_or(&GRPC_LISTEN, grpc_port),
            http: reader.address_or(&HTTP_LISTEN, http_port),
            tls: tls(reader, certificate, key, client_ca),
            shutdown_grace: reader.duration(&SHUTDOWN_GRACE),
            held: HeldListeners::default(),
        }
    }

    /// Free ports on loopback, for tests and for services inside `lictor up`.
    pub fn loopback() -> Self {
        Self {
            grpc: SocketAddr::from(([127, 0, 0, 1], 0)),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            shutdown_grace: Duration::from_secs(5),
            held: HeldListeners::default(),
        }
    }
}

fn tls(
    reader: &mut Reader,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
) -> Option<Arc<rustls::ServerConfig>> {
    match (certificate, key) {
        (None, None) => {
            if client_ca.is_some() {
                reader.mistake(&TLS_CLIENT_CA, "needs tls_certificate and tls_key");
            }
            None
        }
        (Some(certificate), Some(key)) => match crate::tls::server_config(&certificate, &key, client_ca.as_deref()) {
            Ok(config) => Some(config),
            Err(error) => {
                reader.mistake(&TLS_CERTIFICATE, error.to_string());
                None
            }
        },
        (Some(_), None) => {
            reader.mistake(&TLS_KEY, "is missing beside tls_certificate");
            None
        }
        (None, Some(_)) => {
            reader.mistake(&TLS_CERTIFICATE, "is missing beside tls_key");
            None
        }
    }
}

/// What a process writes about itself.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// How log lines look.
    pub format: LogFormat,
    /// Which log lines are written.
    pub filter: String,
    /// Where spans go.
    pub otlp_endpoint: Option<String>,
}

impl LogSettings {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            format: reader.parsed(&LOG_FORMAT),
            filter: reader.text(&LOG_FILTER),
            otlp_endpoint: reader.optional_text(&OTLP_ENDPOINT),
        }
    }

    /// The options for [`lictor_telemetry::init`].
    pub fn telemetry(&self, service: &str, version: &str) -> TelemetryOptions {
        TelemetryOptions {
            service: service.to_owned(),
            version: version.to_owned(),
            format: self.format,
            filter: self.filter.clone(),
            otlp_endpoint: self.otlp_endpoint.clone(),
        }
    }
}
