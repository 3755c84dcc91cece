//! The standard health service of gRPC, for orchestrators that ask by it: it means what `/ready` means, that some seat could be
//! given, and an answer of `NOT_SERVING` says why in its metadata.

use std::time::Duration;

use lictor_runtime::{Lifecycle, Readiness};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Metadata with the reason, as UTF-8 text.
const REASON: &str = "lictor-reason-bin";
/// The names that are answered: the server as a whole, and its seats.
const NAMES: [&str; 2] = ["", "lictor.server.v1.SeatService"];
/// How often it is looked at for those who watch.
const PAUSE: Duration = Duration::from_secs(1);

type Answer = Result<HealthCheckResponse, Status>;

/// The service.
#[derive(Debug)]
pub(crate) struct HealthDesk {
    readiness: Readiness,
    lifecycle: Lifecycle,
}

impl HealthDesk {
    /// Answers by what `readiness` says.
    pub(crate) fn new(readiness: Readiness, lifecycle: Lifecycle) -> Self {
        Self { readiness, lifecycle }
    }
}

fn known(request: &HealthCheckRequest) -> Result<(), Status> {
    let known = NAMES.contains(&request.service.as_str());
    if known { Ok(()) } else { Err(Status::not_found("there is no service of this name")) }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// Tells every change until nobody listens; when the server stops, that is the last one.
async fn tell(readiness: Readiness, lifecycle: Lifecycle, listener: mpsc::Sender<Answer>) {
    let soft = lifecycle.soft();
    let mut told = None;
    loop {
        let ready = !soft.is_cancelled() && readiness.report().await.ready;
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        if told.replace(status) != Some(status) && listener.send(Ok(answer(status))).await.is_err() {
            return;
        }
        if soft.is_cancelled() {
            return;
        }
        tokio::select! {
            () = soft.cancelled() => {}
            () = listener.closed() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

#[tonic::async_trait]
impl Health for HealthDesk {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        known(request.get_ref())?;
        let report = self.readiness.report().await;
        if report.ready {
            return Ok(Response::new(answer(ServingStatus::Serving)));
        }
        let reasons: Vec<String> = report
            .checks
            .into_iter()
            .filter(|check| !check.ready)
            .map(|check| format!("{}: {}", check.name, check.reason.unwrap_or_default()))
            .collect();
        let mut answer = Response::new(answer(ServingStatus::NotServing));
        let reason = tonic::metadata::MetadataValue::from_bytes(reasons.join("; ").as_bytes());
        answer.metadata_mut().insert_bin(REASON, reason);
        Ok(answer)
    }

    type WatchStream = ReceiverStream<Answer>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        known(request.get_ref())?;
        let (listener, told) = mpsc::channel(1);
        tokio::spawn(tell(self.readiness.clone(), self.lifecycle.clone(), listener));
        Ok(Response::new(ReceiverStream::new(told)))
    }
}
