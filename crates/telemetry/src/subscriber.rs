//! The subscriber of a process: log lines to stderr, spans to an OTLP collector when one is named.

use std::{str::FromStr, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// Spans that are exported. The exporter's own gRPC client must stay out, or each export would make new spans.
const TRACE_FILTER: &str = "info,h2=off,hyper=off,hyper_util=off,tonic=off,tower=off,reqwest=off,rustls=off,lapin=off,sqlx=off,opentelemetry=off";
/// Longest wait for the last spans to leave at exit.
const FLUSH_TIME: Duration = Duration::from_secs(3);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object per line, for collectors.
    Json,
    /// For a person at a terminal.
    #[default]
    Human,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "human" => Ok(Self::Human),
            other => Err(format!("{other:?} is no log format; next: json or human")),
        }
    }
}

/// What to set up.
#[derive(Debug, Clone)]
pub struct TelemetryOptions {
    /// Name of the process in traces, such as `license-central`.
    pub service: String,
    /// Version of the program in traces.
    pub version: String,
    /// How log lines look.
    pub format: LogFormat,
    /// Which log lines are written, in the form of `RUST_LOG`; for example `info,lictor_broker=debug`.
    pub filter: String,
    /// Where spans go, such as `http://collector:4317`; nothing: no traces are made.
    pub otlp_endpoint: Option<String>,
}

impl TelemetryOptions {
    /// Human log lines from `info` up, no traces.
    pub fn plain(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            format: LogFormat::default(),
            filter: "info".to_owned(),
            otlp_endpoint: None,
        }
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is malformed.
    #[error("the log filter is malformed: {0}; next: write for example info,lictor_broker=debug")]
    Filter(String),
    /// The exporter's address is unusable.
    #[error("the OTLP endpoint is unusable: {0}; next: write for example http://collector:4317")]
    Exporter(String),
    /// Called twice in one process.
    #[error("logging is set up already in this process")]
    Twice,
}

/// Keeps the exporter. Call [`Telemetry::shutdown`] on every way out of the process.
#[derive(Debug)]
#[must_use = "spans are lost unless telemetry is shut down"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Installs the subscriber of this process. With an OTLP endpoint it must be called inside a tokio runtime, which has to
/// outlive [`Telemetry::shutdown`].
pub fn init(options: &TelemetryOptions) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(&options.filter).map_err(|error| TelemetryError::Filter(error.to_string()))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match options.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Human => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    };
    let provider = options.otlp_endpoint.as_deref().map(|endpoint| exporter(endpoint, options)).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("lictor")).with_filter(EnvFilter::new(TRACE_FILTER))
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans)
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    Ok(Telemetry { provider })
}

fn exporter(endpoint: &str, options: &TelemetryOptions) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(FLUSH_TIME)
        .build()
        .map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name(options.service.clone())
        .with_attribute(KeyValue::new("service.version", options.version.clone()))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Telemetry {
    /// Sends what is left and stops the exporter, for at most 3 s. Blocks: call it after the last async work, while the
    /// runtime still exists.
    pub fn shutdown(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIME)
        {
            tracing::warn!(%error, "the last spans were not taken by the collector");
        }
    }
}
