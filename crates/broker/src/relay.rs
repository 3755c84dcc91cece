//! The relay: numbers committed events and hands them to the broker, in the order of their numbers.
//!
//! It wakes at once after a commit of this process, and looks by itself every second for commits of other replicas. Under
//! load it gathers for a moment, so that one transaction and one hand-over serve many events. While the broker is away,
//! events wait in the outbox; nothing that is committed is ever lost here.

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
/// How long the next batch may gather after one was handed over; an event that finds the relay at rest leaves at once.
const GATHER: Duration = Duration::from_millis(2);
/// Pause when there is nothing to do and nobody wakes.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long one replica relays before another may take over.
const LEASE_TIME: Duration = Duration::from_secs(45);
/// Age at which the lease is renewed.
const LEASE_RENEWAL: Duration = Duration::from_secs(15);
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
    /// Last number that the broker confirmed and the database may not know of yet; 0 for none.
    confirmed: u64,
    /// When the lease was taken or renewed, while it is held.
    leased: Option<Instant>,
}

enum Round {
    /// The outbox is empty.
    Idle,
    /// Some were handed over and there may be more, surely so after a full batch.
    More { full: bool },
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
        confirmed: 0,
        leased: None,
    };
    relay.run(service, &stop).await;
    Ok(())
}

impl Relay {
    async fn run(&mut self, service: &'static str, stop: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let wait = match self.round().await {
                Ok(Round::More { full }) => {
                    pause = FIRST_PAUSE;
                    if !full {
                        tokio::time::sleep(GATHER).await;
                    }
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
        if self.confirmed > 0 {
            // Otherwise the next start publishes the last batch once more.
            let _ = outbox::advance(&self.db, self.confirmed, 1).await;
        }
        if self.shares_the_database() {
            // Another replica need not wait for the end of the lease.
            let _ = lease::release(&self.db, LEASE, &self.holder).await;
        }
    }

    async fn round(&mut self) -> Result<Round, String> {
        if self.confirmed == 0 && !outbox::has_unpublished(&self.db).await.map_err(sentence)? {
            return Ok(Round::Idle);
        }
        if !self.may_relay().await? {
            return Ok(Round::Elsewhere);
        }
        let waiting = outbox::advance(&self.db, self.confirmed, BATCH).await.map_err(sentence)?;
        self.confirmed = 0;
        if waiting.is_empty() {
            return Ok(Round::Idle);
        }
        let events: Vec<Event> = waiting.iter().map(decode).collect::<Result<_, _>>().map_err(sentence)?;
        let (count, failure) = match self.broker.publish(&events).await {
            Ok(()) => (events.len(), None),
            Err(error) => (error.published, Some(error.to_string())),
        };
        if let Some(last) = count.checked_sub(1).and_then(|index| events.get(index)) {
            self.confirmed = last.sequence;
            self.published.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        let full = events.len() == BATCH as usize;
        failure.map_or(Ok(Round::More { full }), Err)
    }

    /// Whether this replica is the one that relays. The lease saves work only, so it is not asked for on every round.
    async fn may_relay(&mut self) -> Result<bool, String> {
        if !self.shares_the_database() || self.leased.is_some_and(|at| at.elapsed() < LEASE_RENEWAL) {
            return Ok(true);
        }
        let asked = Instant::now();
        let held = lease::hold(&self.db, LEASE, &self.holder, LEASE_TIME, self.clock.now()).await.map_err(sentence)?;
        self.leased = held.then_some(asked);
        Ok(held)
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
