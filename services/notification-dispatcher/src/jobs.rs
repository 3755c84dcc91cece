//! What runs beside the deliveries: replays, and forgetting what is old. Each step is a transaction of its own, so both go
//! on where they were after a stop or a crash, and neither holds deliveries up for long.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use lictor_clock::SharedClock;
use lictor_storage::{Database, StorageError, retry};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        replay::{Kind, State},
        seal::Seal,
    },
    engine::{EngineHandle, making},
    store::{delivery, destination, forget, ledger, replay},
};

/// How often replays are looked for that another replica wrote down.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Pause between two looks at what is old.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Pause after a step that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the jobs work with.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    pub(crate) db: Database,
    pub(crate) clock: SharedClock,
    pub(crate) engine: EngineHandle,
    pub(crate) seal: Seal,
    /// How long events are kept.
    pub(crate) keep: Duration,
    /// Rung when a replay was written down.
    pub(crate) replays: Arc<Notify>,
    /// Rung when a destination was deleted.
    pub(crate) deletions: Arc<Notify>,
}

/// Does replays until `stop`.
pub(crate) async fn replay(jobs: Jobs, stop: CancellationToken) -> Result<(), Infallible> {
    loop {
        let wait = match retry(|| step(&jobs)).await {
            Ok(true) => {
                jobs.engine.destinations_changed();
                Duration::ZERO
            }
            Ok(false) => LOOK_EVERY,
            Err(error) => {
                tracing::debug!(error = %error, "a step of a replay failed");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = jobs.replays.notified(), if !wait.is_zero() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One step of the replay that comes first; false when there is none.
async fn step(jobs: &Jobs) -> Result<bool, StorageError> {
    let now = jobs.clock.now();
    let mut tx = jobs.db.begin().await?;
    ledger::lock(&mut tx).await?;
    let Some(mut job) = replay::next(&mut tx).await? else {
        return Ok(false);
    };
    let last = if job.kind == Kind::NeverAttempted {
        let (seen, last) = replay::without_delivery(&mut tx, &job).await?;
        if let Some(destination) = destination::find(&mut tx, job.destination, &jobs.seal).await? {
            let wanted: Vec<_> = seen.into_iter().map(|seen| (Arc::new(seen), job.destination)).collect();
            let destinations = HashMap::from([(job.destination, destination)]);
            let made = making::make(&mut tx, &wanted, &destinations, None, now).await?;
            let mut keys = made.keys;
            keys.sort();
            keys.dedup();
            delivery::promote(&mut tx, &keys).await?;
            job.replayed += made.count;
        }
        last
    } else {
        let (looked_at, due, last) = replay::again(&mut tx, &job, now).await?;
        job.replayed += due;
        (looked_at > 0).then_some(last)
    };
    match last {
        Some(last) => job.cursor = last,
        None => {
            job.state = State::Done;
            job.finished_at = Some(now);
        }
    }
    replay::write(&mut tx, &job).await?;
    // Every replica looks at what it can send anew.
    ledger::destinations_changed(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Forgets what is old until `stop`.
pub(crate) async fn forget(jobs: Jobs, stop: CancellationToken) -> Result<(), Infallible> {
    loop {
        let wait = match retry(|| forget_some(&jobs)).await {
            // Deliveries come first: a little air between two steps.
            Ok(count) if count > 0 => Duration::from_millis(20),
            Ok(_) => FORGET_EVERY,
            Err(error) => {
                tracing::debug!(error = %error, "what is old cannot be forgotten");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = jobs.deletions.notified(), if wait == FORGET_EVERY => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn forget_some(jobs: &Jobs) -> Result<usize, StorageError> {
    let before = jobs.clock.now().saturating_sub(jobs.keep);
    let mut tx = jobs.db.begin().await?;
    ledger::lock(&mut tx).await?;
    let gone = forget::deleted(&mut tx).await?
        + forget::deliveries(&mut tx, before).await?
        + forget::events(&mut tx, before).await?
        + forget::replays(&mut tx, before).await?;
    tx.commit().await?;
    Ok(gone)
}
