//! What this service counts.

use lictor_telemetry::{
    Metrics,
    prometheus_client::{
        encoding::EncodeLabelSet,
        metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    },
};

use crate::domain::verdict::Verdict;

/// Label of contexts: what was said to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerdictLabel {
    verdict: &'static str,
}

/// The counters; clones count together.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Segments that left the house.
    pub segments_issued: Counter,
    /// Reserved segments that another run than their own finished.
    pub segments_resumed: Counter,
    /// Time from the request to the signed segment, in seconds.
    pub issue_seconds: Histogram,
    /// Contexts and receipts by verdict; refused files are not among them.
    contexts: Family<VerdictLabel, Counter>,
    /// Files that were refused before anything was believed.
    pub contexts_refused: Counter,
    /// Chains there are.
    pub containers: Gauge,
    /// Chains under suspicion.
    pub containers_suspected: Gauge,
    /// Segments whose signature is still missing; stays above 0 only while the key store does not answer.
    pub segments_reserved: Gauge,
}

impl Counters {
    /// Registers all of them.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let histogram = Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]);
        Self {
            segments_issued: metrics.register("segments_issued", "segments that were issued", Counter::default()),
            segments_resumed: metrics.register(
                "segments_resumed",
                "reserved segments that were finished after an interruption",
                Counter::default(),
            ),
            issue_seconds: metrics.register("segment_issue_seconds", "time to issue a segment", histogram),
            contexts: metrics.register("contexts_taken", "contexts and receipts by verdict", Family::default()),
            contexts_refused: metrics.register(
                "contexts_refused",
                "files that were refused as damaged, forged or foreign",
                Counter::default(),
            ),
            containers: metrics.register("containers", "containers known, one per firm", Gauge::default()),
            containers_suspected: metrics.register(
                "containers_suspected",
                "containers that support has to look at",
                Gauge::default(),
            ),
            segments_reserved: metrics.register(
                "segments_reserved",
                "segments that wait for their signature",
                Gauge::default(),
            ),
        }
    }

    /// Counts a context.
    pub fn context_taken(&self, verdict: Verdict) {
        self.contexts.get_or_create(&VerdictLabel { verdict: verdict.name() }).inc();
    }
}
