//! What the licence server counts.

use std::sync::atomic::AtomicU64;

use lictor_licensing::error::Problem;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::domain::ask::Answer;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    code: u32,
}

/// Counters of one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    granted: Counter,
    refused: Family<Reason, Counter>,
    failed: Counter,
    released: Counter,
    expired: Counter,
    signatures: Counter,
    block_questions: Counter,
    sessions: Gauge,
    syncs: Gauge<i64>,
    connections: Gauge,
    turned_away: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// Adds the counters to a registry.
    #[must_use]
    pub fn new(registry: &lictor_telemetry::Metrics) -> Self {
        Self {
            granted: registry.register(
                "seats_granted",
                "seats handed out, repeated answers included",
                Counter::default(),
            ),
            refused: registry.register(
                "seats_refused",
                "wishes refused, by the code of the nearest reason",
                Family::default(),
            ),
            failed: registry.register("seats_failed", "wishes that could not be dealt with", Counter::default()),
            released: registry.register("seats_released", "seats given back by their client", Counter::default()),
            expired: registry.register("seats_expired", "seats freed because their time was over", Counter::default()),
            signatures: registry.register(
                "grant_signatures",
                "signatures over grants; one for all grants of a commit",
                Counter::default(),
            ),
            block_questions: registry.register(
                "block_questions",
                "questions to network servers about blocks of seats",
                Counter::default(),
            ),
            sessions: registry.register("sessions", "live sessions", Gauge::default()),
            syncs: registry.register("journal_syncs", "syncs of the journal since the start", Gauge::default()),
            connections: registry.register("seat_connections", "open connections of programs", Gauge::default()),
            turned_away: registry.register(
                "seat_connections_refused",
                "connections that were closed because of a limit or a failed handshake",
                Counter::default(),
            ),
        }
    }

    pub(crate) fn answered(&self, answer: &Result<Answer, Problem>) {
        match answer {
            Ok(Answer::Granted(_)) => self.granted.inc(),
            Ok(Answer::Refused(refusal)) => {
                self.refused.get_or_create(&Reason { code: u32::from(refusal.code()) }).inc()
            }
            Err(_) => self.failed.inc(),
        };
    }

    pub(crate) fn released(&self) {
        self.released.inc();
    }

    pub(crate) fn expired(&self) {
        self.expired.inc();
    }

    pub(crate) fn block_asked(&self) {
        self.block_questions.inc();
    }

    pub(crate) fn signed(&self) {
        self.signatures.inc();
    }

    pub(crate) fn state(&self, sessions: usize, syncs: u64) {
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        self.syncs.set(i64::try_from(syncs).unwrap_or(i64::MAX));
    }

    pub(crate) fn connected(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
