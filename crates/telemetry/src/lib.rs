//! Logs, traces and metrics: one set-up for every process, and the helpers that carry a trace over gRPC, the outbox and
//! the broker.
//!
//! - [`init`] once per process; the returned [`Telemetry`] must be shut down on every way out, else the last spans are
//!   lost. `lictor_runtime::run` does both for a service.
//! - Spans cross processes as a W3C `traceparent`: [`inject_metadata`] on the calling side, [`set_parent`] on the
//!   answering side, [`current_traceparent`] for rows and messages. `lictor_runtime` does it for gRPC and
//!   `lictor_broker` for events, so a service only copies `current_traceparent()` into an event it announces.
//! - [`Metrics`] is the registry behind `/metrics`; one per service, also when several run in one process.
//!
//! ```
//! use lictor_telemetry::{Metrics, prometheus_client::metrics::counter::Counter};
//!
//! let metrics = Metrics::new();
//! // Shown as `lictor_updates_issued_total`.
//! let issued: Counter = metrics.register("updates_issued", "update files handed out", Counter::default());
//! issued.inc();
//! assert!(metrics.encode().contains("lictor_updates_issued_total 1"));
//! ```

mod metrics;
mod propagation;
mod subscriber;

pub use metrics::Metrics;
pub use prometheus_client;
pub use propagation::{
    TRACEPARENT, current_traceparent, inject_headers, inject_metadata, is_traceparent, set_parent, traceparent_of,
};
pub use subscriber::{LogFormat, Telemetry, TelemetryError, TelemetryOptions, init};
