//! The standard health service of gRPC, for orchestrators that ask by it: it means what `/ready` means, that some seat could be
//! given, and an answer of `NOT_SERVING` says why in its metadata.

use std::time::Duration;

use lictor_runtime::{Lifecycle, Readiness};
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_check_response::ServingStatus as Answered;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService, WatchStream};

/// Metadata with the reason, as UTF-8 text.
const REASON: &str = "lictor-reason-bin";
/// The names that are answered: the server as a whole, and its seats.
const NAMES: [&str; 2] = ["", "lictor.server.v1.SeatService"];
/// How often those who watch are told.
const PAUSE: Duration = Duration::from_secs(1);

/// The service.
#[derive(Debug)]
pub(crate) struct HealthDesk {
    readiness: Readiness,
    watched: HealthService,
}

impl HealthDesk {
    /// Answers by what `readiness` says.
    pub(crate) fn new(readiness: Readiness, lifecycle: &Lifecycle) -> Self {
        let reporter = HealthReporter::new();
        let watched = HealthService::from_health_reporter(reporter.clone());
        lifecycle.spawn("health", tell(reporter, readiness.clone(), lifecycle.clone()));
        Self { readiness, watched }
    }
}

async fn tell(
    mut reporter: HealthReporter,
    readiness: Readiness,
    lifecycle: Lifecycle,
) -> Result<(), std::convert::Infallible> {
    let soft = lifecycle.soft();
    loop {
        let ready = !soft.is_cancelled() && readiness.report().await.ready;
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            reporter.set_service_status(name, status).await;
        }
        if soft.is_cancelled() {
            // Whoever watches has heard it; his stream would keep the server from ending.
            for name in NAMES {
                reporter.clear_service_status(name).await;
            }
            return Ok(());
        }
        tokio::select! {
            () = soft.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

#[tonic::async_trait]
impl Health for HealthDesk {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !NAMES.contains(&request.get_ref().service.as_str()) {
            return Err(Status::not_found("there is no service of this name"));
        }
        let report = self.readiness.report().await;
        if report.ready {
            return Ok(Response::new(HealthCheckResponse { status: Answered::Serving.into() }));
        }
        let reasons: Vec<String> = report
            .checks
            .into_iter()
            .filter(|check| !check.ready)
            .map(|check| format!("{}: {}", check.name, check.reason.unwrap_or_default()))
            .collect();
        let mut answer = Response::new(HealthCheckResponse { status: Answered::NotServing.into() });
        let reason = tonic::metadata::MetadataValue::from_bytes(reasons.join("; ").as_bytes());
        answer.metadata_mut().insert_bin(REASON, reason);
        Ok(answer)
    }

    type WatchStream = WatchStream;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<WatchStream>, Status> {
        self.watched.watch(request).await
    }
}
