//! What activation counts, beside what every service counts.

use lictor_telemetry::prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::domain::{saga::Saga, state::State};

/// A kind and an end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    kind: &'static str,
    state: &'static str,
}

/// The counters; clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    activations: Family<Outcome, Counter>,
    /// Runs that could not go on and will be continued.
    pub attempts_failed: Counter,
    /// Sagas that are due now or later.
    pub unfinished: Gauge,
    /// Sagas that can neither go on nor end.
    pub stalled: Gauge,
    /// Calls that were refused because their address asks too much.
    pub calls_limited: Counter,
    /// Tickets that were tried and are none.
    pub tickets_wrong: Counter,
    /// Tries that were refused because of too many wrong ones.
    pub tickets_limited: Counter,
}

impl Metrics {
    /// Registers the counters.
    #[must_use]
    pub fn new(registry: &lictor_telemetry::Metrics) -> Self {
        Self {
            activations: registry.register(
                "activations",
                "activations that were completed, confirmed or refused",
                Family::default(),
            ),
            attempts_failed: registry.register(
                "activation_attempts_failed",
                "runs of activations that could not go on and will be continued",
                Counter::default(),
            ),
            unfinished: registry.register(
                "activations_unfinished",
                "activations that have still to be carried on",
                Gauge::default(),
            ),
            stalled: registry.register(
                "activations_stalled",
                "activations that can neither go on nor end: somebody must look",
                Gauge::default(),
            ),
            calls_limited: registry.register(
                "calls_limited",
                "calls refused because their address asks too much",
                Counter::default(),
            ),
            tickets_wrong: registry.register("tickets_wrong", "tickets tried that are none", Counter::default()),
            tickets_limited: registry.register(
                "tickets_limited",
                "tries refused because too many tickets were wrong",
                Counter::default(),
            ),
        }
    }

    /// Counts a saga that has come to an end or half of it.
    pub fn stepped(&self, saga: &Saga) {
        if matches!(saga.state, State::Completed | State::Confirmed | State::Refused) {
            self.activations.get_or_create(&Outcome { kind: saga.kind().name(), state: saga.state.name() }).inc();
        }
    }
}
