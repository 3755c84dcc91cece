//! The figures of this service, all under `lictor_`.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lictor_clock::Timestamp;
use lictor_telemetry::{
    Metrics,
    prometheus_client::{
        encoding::EncodeLabelSet,
        metrics::{
            counter::Counter,
            family::Family,
            gauge::Gauge,
            histogram::{Histogram, exponential_buckets},
        },
    },
};

use crate::{
    domain::outcome::AttemptResult,
    store::measure::{Backlog, Standing},
};

/// Destinations that get a label of their own; the rest is counted together.
const LABELLED: usize = 100;
const OTHERS: &str = "others";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabels {
    destination: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: String,
}

/// Counters and gauges. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DispatcherMetrics {
    taken: Counter,
    repeated: Counter,
    quarantined: Counter,
    attempts: Family<ResultLabels, Counter>,
    attempt_seconds: Histogram,
    lag_seconds: Histogram,
    backlog: Family<DestinationLabels, Gauge>,
    oldest: Gauge,
    destinations: Family<StateLabels, Gauge>,
    parked: Gauge,
    kept_aside: Gauge,
    labelled: Arc<Mutex<HashSet<String>>>,
}

impl DispatcherMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        let made = Self::registered(metrics);
        // A family without members shows nothing at all, and an alert on it would never be able to tell "none" from "gone".
        made.attempts.get_or_create(&ResultLabels { result: AttemptResult::Taken.name().to_owned() }).inc_by(0);
        made.of(OTHERS).set(0);
        made
    }

    fn registered(metrics: &Metrics) -> Self {
        Self {
            taken: metrics.register("events_taken", "events stored for the first time", Counter::default()),
            repeated: metrics.register(
                "events_repeated",
                "events that came again and changed nothing",
                Counter::default(),
            ),
            quarantined: metrics.register(
                "events_quarantined",
                "events that could not be understood and were kept aside",
                Counter::default(),
            ),
            attempts: metrics.register("delivery_attempts", "calls made, by result", Family::default()),
            attempt_seconds: metrics.register(
                "delivery_attempt_seconds",
                "time from the name look-up to the last byte of the answer",
                Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            ),
            lag_seconds: metrics.register(
                "delivery_lag_seconds",
                "time from the change to a receiver that took it at the first chance",
                Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            ),
            backlog: metrics.register("delivery_backlog", "open deliveries, by destination", Family::default()),
            oldest: metrics.register(
                "delivery_oldest_seconds",
                "age of the oldest delivery that no receiver has taken",
                Gauge::default(),
            ),
            destinations: metrics.register(
                "destinations",
                "destinations that are sent to, that rest behind an open circuit breaker, that are disabled",
                Family::default(),
            ),
            parked: metrics.register("deliveries_parked", "deliveries that wait for a replay", Gauge::default()),
            kept_aside: metrics.register(
                "quarantine_events",
                "events that are kept aside and not yet understood",
                Gauge::default(),
            ),
            labelled: Arc::default(),
        }
    }

    /// Counts events of one turn.
    pub fn taken(&self, fresh: usize, repeated: usize, quarantined: usize) {
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        self.taken.inc_by(count(fresh));
        self.repeated.inc_by(count(repeated));
        self.quarantined.inc_by(count(quarantined));
    }

    /// Counts one call; `lag` when its event was taken at the first chance.
    pub fn attempt(&self, result: AttemptResult, latency: Duration, lag: Option<Duration>) {
        self.attempts.get_or_create(&ResultLabels { result: result.name().to_owned() }).inc();
        self.attempt_seconds.observe(latency.as_secs_f64());
        if let Some(lag) = lag {
            self.lag_seconds.observe(lag.as_secs_f64());
        }
    }

    /// Shows what is still to be delivered.
    pub fn show_backlog(&self, backlog: &Backlog, now: Timestamp) {
        let mut labelled = self.labelled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = 0;
        for id in labelled.iter().filter(|id| !backlog.per_destination.contains_key(*id)) {
            self.of(id).set(0);
        }
        for (id, count) in &backlog.per_destination {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            if labelled.contains(id) || labelled.len() < LABELLED {
                labelled.insert(id.clone());
                self.of(id).set(count);
            } else {
                others += count;
            }
        }
        if others > 0 || labelled.len() >= LABELLED {
            self.of(OTHERS).set(others);
        }
        let age = backlog.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        self.oldest.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    /// Shows how destinations stand, and what waits for a person.
    pub fn show_standing(&self, standing: &Standing) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let states = [("enabled", standing.enabled), ("resting", standing.resting), ("disabled", standing.disabled)];
        for (state, count) in states {
            self.destinations.get_or_create_owned(&StateLabels { state: state.to_owned() }).set(gauge(count));
        }
        self.parked.set(gauge(standing.parked));
        self.kept_aside.set(gauge(standing.quarantined));
    }

    fn of(&self, destination: &str) -> Gauge {
        self.backlog.get_or_create_owned(&DestinationLabels { destination: destination.to_owned() })
    }
}
