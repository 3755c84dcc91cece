//! The sweeper: announces ends of licenses in time, in one replica at a time.

use std::{convert::Infallible, time::Duration};

use lictor_clock::SharedClock;
use lictor_telemetry::prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use crate::{domain::policy::NoticeDays, events::Moment, ids, store::Store};

/// Pause between two looks. Ends are dates: a minute is early enough, and late proofs are seen soon.
const PAUSE: Duration = Duration::from_mins(1);
/// Pause after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// Sweeps until `stop`. Failures are logged and tried again, so it only returns at the end.
pub async fn sweep(
    store: Store,
    leads: NoticeDays,
    clock: SharedClock,
    announced: Counter,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let holder = holder();
    let mut settled = false;
    while !stop.is_cancelled() {
        let pause = match round(&store, leads, &clock, &holder, &announced, &mut settled).await {
            Ok(()) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "ends of licenses cannot be announced");
                FAILURE_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    // Without this another replica waits for the end of the lease, and nothing else happens.
    if let Err(error) = store.stop_sweeping(&holder).await {
        tracing::debug!(%error, "the lease for announcing ends was left to run out");
    }
    Ok(())
}

async fn round(
    store: &Store,
    leads: NoticeDays,
    clock: &SharedClock,
    holder: &str,
    announced: &Counter,
    settled: &mut bool,
) -> Result<(), lictor_storage::StorageError> {
    if !*settled {
        store.settle_leads(leads).await?;
        *settled = true;
    }
    let moment = Moment { now: clock.now(), traceparent: None };
    let swept = store.sweep(holder, leads, &moment).await?;
    announced.inc_by(swept.expiring + swept.expired);
    if swept.expiring + swept.expired > 0 {
        tracing::info!(expiring = swept.expiring, expired = swept.expired, "ends of licenses announced");
    }
    Ok(())
}

fn holder() -> String {
    let random: [u8; 8] = ids::random();
    random.iter().fold(format!("{}-", std::process::id()), |text, byte| format!("{text}{byte:02x}"))
}
