//! The metrics of one service and their text form.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    encoding::{EncodeMetric, text::encode},
    registry::Registry,
};

/// A registry whose metrics all start with `lictor_`. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("lictor"))))
    }

    /// Adds `metric` and gives it back for counting. `name` has no `_total`: counters get it by themselves. `help` is
    /// one phrase, lower case, without a full stop.
    pub fn register<M>(&self, name: &str, help: &str, metric: M) -> M
    where
        M: Clone + EncodeMetric + Send + Sync + std::fmt::Debug + 'static,
    {
        self.lock().register(name, help, metric.clone());
        metric
    }

    /// All metrics in the OpenMetrics text form.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.lock()) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        // A panic while registering leaves the registry readable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
