//! Reading a producer's feed from where the cursor stands: at start, at every interval, and when a hole was seen. What the
//! broker never brought comes this way, so everything also works without any broker.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use lictor_api::event::v1 as wire;
use lictor_clock::{SharedClock, Timestamp};
use lictor_storage::{Database, inbox};
use lictor_telemetry::prometheus_client::metrics::counter::Counter;
use prost::Message;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::producer::Feed;
use crate::{
    domain::event::{EVENT_BYTES, Event, EventError, NAME_BYTES},
    engine::{EngineHandle, Intake},
    store::{CONSUMER, event::Quarantined},
};

/// Events asked for at once.
const PAGE: u32 = 500;
/// What overtook another event on the broker is usually there in a moment; only then is the producer asked.
const GAP_PATIENCE: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One producer and how it is read.
#[derive(Debug)]
pub struct Puller {
    /// Its name in `source` of its events.
    pub source: String,
    /// Where it is read.
    pub feed: Feed,
    /// Pause between two readings when nothing is missing.
    pub every: Duration,
    /// Rung when a hole was seen.
    pub gap: Arc<Notify>,
    /// True after a reading that came to the end.
    pub reached: Arc<AtomicBool>,
    /// When the last reading began that came to the end; what happened before is here.
    pub read_at: Arc<AtomicI64>,
    /// The time.
    pub clock: SharedClock,
    /// True while the feed ends before what was read of it: its database was restored from a backup.
    pub went_back: Arc<AtomicBool>,
    /// Times that this was noticed.
    pub feeds_restored: Counter,
    /// Events that were kept no longer when they were asked for.
    pub missed: Counter,
}

/// How far the feeds were read, by the time of day.
#[derive(Debug, Clone, Default)]
pub struct Readings(Vec<(String, Arc<AtomicI64>)>);

impl Readings {
    /// Adds a feed and gives what its reader writes to.
    pub fn of(&mut self, source: &str) -> Arc<AtomicI64> {
        let read_at = Arc::new(AtomicI64::new(i64::MIN));
        self.0.push((source.to_owned(), Arc::clone(&read_at)));
        read_at
    }

    /// A producer whose feed was not read to its end since `moment`: something that happened before may be missing.
    #[must_use]
    pub fn behind(&self, moment: Timestamp) -> Option<&str> {
        let late = self.0.iter().find(|(_, read_at)| read_at.load(Ordering::Relaxed) < moment.as_micros());
        late.map(|(source, _)| source.as_str())
    }
}

/// Why a reading did not come to the end of the feed.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the producer does not answer: {0}")]
    Feed(#[from] tonic::Status),
    #[error("the own database does not answer: {0}")]
    Storage(#[from] lictor_storage::StorageError),
    #[error(transparent)]
    NotTaken(#[from] crate::engine::NotTaken),
    #[error("the feed gave {0} events after number {1} and none of them counts on from there")]
    NoWayOn(usize, u64),
    #[error(
        "the feed ends before number {0}, which was read already: its database was restored from a backup, and until its \
         numbers are above that, only what the broker brings is delivered"
    )]
    WentBack(u64),
}

/// Reads until `stop`.
pub async fn pull(
    puller: Puller,
    db: Database,
    engine: EngineHandle,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut pause = FIRST_PAUSE;
    while !stop.is_cancelled() {
        let began = puller.clock.now();
        let read = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            read = read_to_end(&puller, &db, &engine) => read,
        };
        let wait = match read {
            Ok(()) => {
                pause = FIRST_PAUSE;
                puller.went_back.store(false, Ordering::Relaxed);
                puller.reached.store(true, Ordering::Relaxed);
                puller.read_at.store(began.as_micros(), Ordering::Relaxed);
                puller.every
            }
            Err(broken) => {
                if matches!(broken, Broken::WentBack(_)) && !puller.went_back.swap(true, Ordering::Relaxed) {
                    puller.feeds_restored.inc();
                    tracing::error!(source = puller.source, reason = %broken, "a producer knows less than it announced");
                }
                // Said once per outage; it is tried again and again.
                if puller.reached.swap(false, Ordering::Relaxed) || pause == FIRST_PAUSE {
                    tracing::warn!(source = puller.source, reason = %broken, "the feed cannot be read to its end");
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                pause.min(puller.every.max(FIRST_PAUSE))
            }
        };
        let next = Instant::now() + wait;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(next) => {}
            () = puller.gap.notified() => tokio::time::sleep(GAP_PATIENCE).await,
        }
    }
    Ok(())
}

async fn read_to_end(puller: &Puller, db: &Database, engine: &EngineHandle) -> Result<(), Broken> {
    loop {
        let after = inbox::cursor(db, CONSUMER, &puller.source).await?;
        let answer = puller.feed.page(after, PAGE).await?;
        if answer.gone_through > after {
            step_over(puller, db, after, answer.gone_through).await?;
        }
        let page = answer.events;
        if page.is_empty() {
            // What is kept is never taken out of a feed, so the last event that was read must still be there.
            let kept = after > answer.gone_through;
            if kept && puller.feed.page(after - 1, 1).await?.events.is_empty() {
                return Err(Broken::WentBack(after));
            }
            return Ok(());
        }
        let count = page.len();
        let mut intake = Intake::default();
        for event in page {
            match checked(event, &puller.source) {
                Ok(event) => intake.events.push(event),
                Err(quarantined) => intake.quarantined.push(quarantined),
            }
        }
        engine.take(intake).await?;
        if inbox::cursor(db, CONSUMER, &puller.source).await? <= after {
            return Err(Broken::NoWayOn(count, after));
        }
    }
}

/// Goes on where the feed begins today. What lies before is gone; who was away for longer than events are kept has missed
/// some, and standing still would miss the rest too. A dispatcher that never read it begins there.
async fn step_over(puller: &Puller, db: &Database, after: u64, gone_through: u64) -> Result<(), Broken> {
    if after > 0 {
        let missed = gone_through - after;
        puller.missed.inc_by(missed);
        tracing::error!(
            source = puller.source,
            after,
            missed,
            "events were missed: their producer keeps them no longer"
        );
    }
    let mut tx = db.begin().await?;
    inbox::advance(&mut tx, CONSUMER, &puller.source, gone_through).await?;
    tx.commit().await?;
    Ok(())
}

/// Checks an event that came from the service `source`.
pub(crate) fn checked(event: wire::Event, source: &str) -> Result<Event, Quarantined> {
    let size = event.encoded_len();
    // Nothing that a table cannot hold may come through: it would be brought again for ever.
    let sequence = i64::try_from(event.sequence).map_or(0, |_| event.sequence);
    let plain = (1..=NAME_BYTES).contains(&source.len()) && source.bytes().all(|byte| byte.is_ascii_graphic());
    let source = if plain { source } else { "unknown" };
    let foreign = event.source != source;
    let payload = event.encode_to_vec();
    let reason = if size > EVENT_BYTES {
        EventError::TooLarge
    } else if foreign {
        EventError::Foreign
    } else {
        match Event::try_from(event) {
            Ok(event) => return Ok(event),
            Err(reason) => reason,
        }
    };
    tracing::error!(source, sequence, %reason, "an event was put into quarantine");
    Err(Quarantined { source: source.to_owned(), sequence, reason, payload })
}
