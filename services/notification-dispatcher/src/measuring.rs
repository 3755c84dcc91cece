//! Counts the backlog now and then, for `/metrics`.

use std::{convert::Infallible, time::Duration};

use lictor_clock::SharedClock;
use lictor_storage::Database;
use tokio_util::sync::CancellationToken;

use crate::{metrics::DispatcherMetrics, store::measure};

const EVERY: Duration = Duration::from_secs(10);

/// Runs until `stop`.
pub(crate) async fn run(
    db: Database,
    clock: SharedClock,
    metrics: DispatcherMetrics,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    while !stop.is_cancelled() {
        let counted = tokio::select! {
            () = stop.cancelled() => break,
            counted = measure::backlog(&db) => counted,
        };
        match counted {
            Ok(backlog) => metrics.show_backlog(&backlog, clock.now()),
            Err(error) => tracing::debug!(error = %error, "the backlog cannot be counted"),
        }
        match measure::standing(&db, clock.now()).await {
            Ok(standing) => metrics.show_standing(&standing),
            Err(error) => tracing::debug!(error = %error, "the destinations cannot be counted"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    Ok(())
}
