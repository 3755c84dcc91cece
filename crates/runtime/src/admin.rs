//! The HTTP listener: `/live`, `/ready`, `/metrics`, and pages of the service if it has any.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use lictor_telemetry::Metrics;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{Lifecycle, Readiness};

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// Longest time for a request's head to arrive.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// Most bytes of a connection's read buffer, and so of a request's head.
const HEAD_BYTES: usize = 16 * 1024;

pub(crate) fn router(readiness: Readiness, metrics: Metrics, lifecycle: &Lifecycle) -> Router {
    let stopping = lifecycle.soft();
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route(
            "/ready",
            get(move || async move {
                let mut report = readiness.report().await;
                if stopping.is_cancelled() {
                    report.ready = false;
                }
                let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, Json(report)).into_response()
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.encode())
            }),
        )
}

pub(crate) async fn serve(listener: TcpListener, router: Router, lifecycle: Lifecycle) -> Result<(), Infallible> {
    let soft = lifecycle.soft();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        let accepted = tokio::select! {
            () = soft.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let soft = soft.clone();
        lifecycle.spawn_work(async move {
            let _place = place;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let served = async {
                tokio::select! {
                    ended = connection.as_mut() => return ended,
                    () = soft.cancelled() => connection.as_mut().graceful_shutdown(),
                }
                connection.await
            };
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIME, served).await {
                tracing::debug!(%error, "an HTTP connection ended");
            }
        });
    }
}
