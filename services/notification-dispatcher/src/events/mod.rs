//! Events on their way in and out: from the broker for speed, from each producer's feed for truth, and the few that this
//! service announces itself.

pub mod own;
pub mod producer;
pub mod pull;
pub mod speed;

/// The name of this service as a source of events.
pub const SOURCE: &str = "notification-dispatcher";
