//! A collector of traces for the tests in `tests/`: takes OTLP in and keeps the spans.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A span as a service sent it.
#[derive(Clone, Debug)]
pub struct Span {
    /// Hex.
    pub trace_id: String,
    /// Hex.
    pub span_id: String,
    /// Hex; empty for the first of a trace.
    pub parent_id: String,
    /// What was done.
    pub name: String,
    /// Who sent it.
    pub service: String,
}

/// Listens on a free port until it is dropped.
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    _runtime: Runtime,
}

struct Intake(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start() -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Intake(spans.clone())));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { address, spans, _runtime: runtime })
    }

    /// What to set `OTEL_EXPORTER_OTLP_ENDPOINT` to.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the span that a `traceparent` names up to the first of its trace: who did what. Ends where a span has not come.
    #[must_use]
    pub fn way_up(&self, traceparent: &str) -> Vec<(String, String)> {
        let (spans, mut wanted) = (self.spans(), traceparent.split('-').nth(2).unwrap_or_default().to_owned());
        let mut way = Vec::new();
        while let Some(span) = spans.iter().find(|span| span.span_id == wanted) {
            way.push((span.service.clone(), span.name.clone()));
            wanted.clone_from(&span.parent_id);
        }
        way
    }

    /// Everything that came so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().map(|spans| spans.clone()).unwrap_or_default()
    }
}

#[tonic::async_trait]
impl TraceService for Intake {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().map_err(|_| Status::internal("the list is poisoned"))?;
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = match name.and_then(|attribute| attribute.value).and_then(|value| value.value) {
                Some(Value::StringValue(name)) => name,
                _ => String::new(),
            };
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                spans.push(Span {
                    trace_id: hex(&span.trace_id),
                    span_id: hex(&span.span_id),
                    parent_id: hex(&span.parent_span_id),
                    name: span.name,
                    service: service.clone(),
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
