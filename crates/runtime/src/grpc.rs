//! The gRPC server: limits, the gate that knows callers, a span and two metrics per call.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::{
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use lictor_telemetry::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
};
use tokio::{net::TcpListener, sync::Semaphore, time::Instant};
use tonic::{Status, service::Routes, transport::Server};
use tracing::{Instrument, field};

use crate::{Lifecycle, accept};

/// Most bytes of one message. Give it to each generated server (`max_decoding_message_size`): an update file may have
/// 4 MiB, which is over tonic's own default once wrapped.
pub const MESSAGE_BYTES: usize = 5 * 1024 * 1024;
/// Calls in work at once in the whole service.
const CALLS: usize = 1_024;
/// Calls in work or waiting for it. A storm of clients waits a moment; what is beyond is refused at once.
const CALLS_AND_WAITING: usize = 16_384;
/// Longest wait for a place.
const WAIT_TIME: Duration = Duration::from_secs(5);
/// Streams at once on one connection.
const STREAMS_PER_CONNECTION: u32 = 512;
/// Longest time until a call is answered; a stream only has to begin within it.
const CALL_TIME: Duration = Duration::from_secs(30);
/// Most bytes of a call's headers.
const HEADER_BYTES: u32 = 16 * 1024;
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// Decides about a call before its body is read: gives the head back, with what later code may know about the caller in
/// its extensions, or refuses. `lictor_auth::Access::gate` makes one.
pub type Gate =
    Arc<dyn Fn(Parts) -> Pin<Box<dyn Future<Output = Result<Parts, Status>> + Send>> + Send + Sync + 'static>;

/// A gate that lets everything through, for tests of the frame itself and for listeners that have their own proof of
/// who calls.
pub fn open_gate() -> Gate {
    Arc::new(|parts| Box::pin(std::future::ready(Ok(parts))))
}

/// Paths that every orchestrator may ask without a token.
const OPEN_PREFIX: &str = "/grpc.health.v1.Health/";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: String,
}

#[derive(Clone)]
struct Desk {
    gate: Gate,
    doors: Arc<Semaphore>,
    places: Arc<Semaphore>,
    calls: Family<CallLabels, Counter>,
    seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
}

fn call_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 15))
}

pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    routes: Routes,
    gate: Gate,
    metrics: Metrics,
    lifecycle: Lifecycle,
) -> Result<(), tonic::transport::Error> {
    let desk = Desk {
        gate,
        doors: Arc::new(Semaphore::new(CALLS_AND_WAITING)),
        places: Arc::new(Semaphore::new(CALLS)),
        calls: metrics.register("grpc_calls", "calls answered, by method and gRPC code", Family::default()),
        seconds: metrics.register(
            "grpc_call_seconds",
            "time until a call was answered or its stream began",
            Family::new_with_constructor(call_seconds as fn() -> Histogram),
        ),
    };
    let router = routes.into_axum_router().layer(middleware::from_fn(move |request: Request, next: Next| {
        let desk = desk.clone();
        async move { desk.handle(request, next).await }
    }));
    let soft = lifecycle.soft();
    Server::builder()
        .timeout(CALL_TIME)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(accept::incoming(listener, tls, soft.clone()), soft.cancelled_owned())
        .await
}

impl Desk {
    async fn handle(&self, request: Request, next: Next) -> Response {
        let path = request.uri().path().to_owned();
        let span = tracing::info_span!(
            "grpc",
            otel.name = %path.trim_start_matches('/'),
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.grpc.status_code = field::Empty,
        );
        lictor_telemetry::set_parent(&span, lictor_telemetry::traceparent_of(request.headers()));
        let begun = Instant::now();
        let response = self.answer(request, next, &path).instrument(span.clone()).await;
        let code = code_of(&response);
        span.record("rpc.grpc.status_code", code);
        self.count(path, code, begun.elapsed());
        response
    }

    async fn answer(&self, request: Request, next: Next, path: &str) -> Response {
        // Both are held until the head of the answer is there: a long stream does not count as a call in work.
        let Ok(_door) = self.doors.try_acquire() else {
            return busy();
        };
        let Ok(Ok(_place)) = tokio::time::timeout(WAIT_TIME, self.places.acquire()).await else {
            return busy();
        };
        let (parts, body) = request.into_parts();
        let parts = if path.starts_with(OPEN_PREFIX) {
            parts
        } else {
            match (self.gate)(parts).await {
                Ok(parts) => parts,
                Err(status) => return refused(&status),
            }
        };
        next.run(Request::from_parts(parts, body)).await
    }

    fn count(&self, path: String, code: i32, time: Duration) {
        // Unknown paths come from outside without a limit and must not become labels.
        let known = !matches!(code, 12 | 7 | 16 | 8);
        let method = if known { path } else { "refused".to_owned() };
        if known {
            self.seconds.get_or_create(&MethodLabels { method: method.clone() }).observe(time.as_secs_f64());
        }
        let code = format!("{:?}", tonic::Code::from_i32(code));
        self.calls.get_or_create(&CallLabels { method, code }).inc();
    }
}

fn busy() -> Response {
    refused(&Status::resource_exhausted("the service is busy; next: try again in a moment"))
}

fn refused(status: &Status) -> Response {
    status.clone().into_http::<axum::body::Body>().into_response()
}

/// The code of an answer without body; a stream that fails later counts as begun.
fn code_of(response: &Response) -> i32 {
    response
        .headers()
        .get("grpc-status")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
