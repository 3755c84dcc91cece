//! What license-central counts, beside what every service counts.

use lictor_telemetry::prometheus_client::metrics::counter::Counter;

/// The counters; clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Orders made; repeats do not count.
    pub orders: Counter,
    /// Licenses sold by them.
    pub licenses: Counter,
    /// Ends of licenses announced, ahead or when they came.
    pub ends_announced: Counter,
    /// Times that another service carried out a plan that is not here.
    pub plans_missing: Counter,
}

impl Metrics {
    /// Registers the counters.
    #[must_use]
    pub fn new(registry: &lictor_telemetry::Metrics) -> Self {
        Self {
            orders: registry.register("orders_created", "orders made", Counter::default()),
            licenses: registry.register("licenses_created", "licenses sold by orders", Counter::default()),
            ends_announced: registry.register(
                "license_ends_announced",
                "ends of licenses announced, ahead or when they came",
                Counter::default(),
            ),
            plans_missing: registry.register(
                "plans_missing",
                "times that another service had carried out a plan that is not here: the database was restored",
                Counter::default(),
            ),
        }
    }
}
