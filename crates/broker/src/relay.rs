//! The relay: numbers committed events and hands them to the broker, in the order of their numbers.
//!
//! It wakes at once after a commit of this process, and looks by itself every second for commits of other replicas. While
//! the broker is away, events wait in the outbox; nothing that is committed is ever lost here.

use std::{convert::Infallible, time::Duration};

use lictor_api::event::v1::Event;
use lictor_clock::SharedClock;
use lictor_storage::{Database, Dialect, StorageError, lease, outbox};
use lictor_telemetry::Metrics;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Broker, event::decode};

/// Events handed over together.
const BATCH: u32 = 200;
/// Pause when there is nothing to do and nobody wakes.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long one replica relays before another may take over.
const LEASE_TIME: Duration = Duration::from_secs(45);
/// How often the backlog is counted.
const BACKLOG_PAUSE: Duration = Duration::from_secs(10);

struct Relay {
    db: Database,
    broker: Broker,
    holder: String,
    clock: SharedClock,
    published: Counter,
    failures: Counter,
    backlog: Gauge,
    oldest: Gauge,
    counted: Option<Instant>,
}

enum Round {
    /// The outbox is empty.
    Idle,
    /// There may be more.
    More,
    /// Another replica relays.
    Elsewhere,
}

/// Relays until `stop`. `service` names the log lines; errors are logged and tried again, so it only returns at the end.
pub async fn relay(
    db: Database,
    broker: Broker,
    service: &'static str,
    clock: SharedClock,
    metrics: &Metrics,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut relay = Relay {
        holder: holder(service, &clock),
        db,
        broker,
        clock,
        published: metrics.register("events_published", "events that the broker confirmed", Counter::default()),
        failures: metrics.register("event_publish_failures", "rounds in which the broker failed", Counter::default()),
        backlog: metrics.register("outbox_events", "committed events not yet with the broker", Gauge::default()),
        oldest: metrics.register("outbox_oldest_seconds", "age of the oldest of them", Gauge::default()),
        counted: None,
    };
    relay.run(service, &stop).await;
    Ok(())
}

impl Relay {
    async fn run(&mut self, service: &'static str, stop: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let wait = match self.round().await {
                Ok(Round::More) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Ok(Round::Idle | Round::Elsewhere) => {
                    pause = FIRST_PAUSE;
                    IDLE_PAUSE
                }
                Err(reason) => {
                    tracing::warn!(service, reason, "events cannot be relayed at the moment");
                    self.failures.inc();
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause
                }
            };
            self.count_backlog().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.db.outbox_filled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if self.shares_the_database() {
            // Another replica need not wait for the end of the lease.
            let _ = lease::release(&self.db, LEASE, &self.holder).await;
        }
    }

    async fn round(&self) -> Result<Round, String> {
        outbox::sequence(&self.db).await.map_err(sentence)?;
        let waiting = outbox::unpublished(&self.db, BATCH).await.map_err(sentence)?;
        let Some(last) = waiting.last().map(|stored| stored.sequence) else {
            return Ok(Round::Idle);
        };
        if self.shares_the_database() {
            let now = self.clock.now();
            if !lease::hold(&self.db, LEASE, &self.holder, LEASE_TIME, now).await.map_err(sentence)? {
                return Ok(Round::Elsewhere);
            }
        }
        let events: Vec<Event> = waiting.iter().map(decode).collect::<Result<_, _>>().map_err(sentence)?;
        let (through, failure) = match self.broker.publish(&events).await {
            Ok(()) => (Some(last), None),
            Err(error) => {
                let confirmed = error.published.checked_sub(1).and_then(|index| events.get(index));
                (confirmed.map(|event| event.sequence), Some(error.to_string()))
            }
        };
        if let Some(through) = through {
            outbox::mark_published_through(&self.db, through, self.clock.now()).await.map_err(sentence)?;
            let count = waiting.iter().filter(|stored| stored.sequence <= through).count();
            self.published.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        failure.map_or(Ok(Round::More), Err)
    }

    async fn count_backlog(&mut self) {
        if self.counted.is_some_and(|at| at.elapsed() < BACKLOG_PAUSE) {
            return;
        }
        self.counted = Some(Instant::now());
        if let Ok((count, oldest)) = outbox::backlog(&self.db).await {
            self.backlog.set(i64::try_from(count).unwrap_or(i64::MAX));
            let age = oldest.map_or(Duration::ZERO, |at| self.clock.now().since(at));
            self.oldest.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        }
    }

    /// A SQLite file has one process; a PostgreSQL schema may have several replicas.
    fn shares_the_database(&self) -> bool {
        self.db.dialect() == Dialect::Postgres
    }
}

/// Name of the lease row.
const LEASE: &str = "relay";

/// Tells replicas apart; a clash of names would only cost repeated deliveries.
fn holder(service: &str, clock: &SharedClock) -> String {
    format!("{service}/{}/{}", std::process::id(), clock.now().as_micros())
}

fn sentence(error: StorageError) -> String {
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
