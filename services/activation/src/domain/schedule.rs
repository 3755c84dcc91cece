//! What the time brings, and the names under which each of it is begun once, whoever sees it first.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::id::TransferId;

/// How long a refused attempt is left alone before the next one is begun.
const AGAIN_AFTER: Duration = Duration::from_hours(24);

/// The arrival of a transfer: begun when its leaving is proven, or when license-central lists it as due.
#[must_use]
pub fn arrival(transfer: TransferId) -> String {
    format!("arrive:{transfer}")
}

/// The giving back of a loan that is over.
#[must_use]
pub fn loan(transfer: TransferId) -> String {
    format!("loan:{transfer}")
}

/// A renewal, by license-central's own name for it.
#[must_use]
pub fn renewal(key: &str) -> String {
    format!("renew:{key}")
}

/// The name of the attempt that follows one that was begun at `before` and refused; nothing while it is too early. All
/// replicas find the same name, for a day at a time.
#[must_use]
pub fn again(key: &str, before: Timestamp, now: Timestamp) -> Option<String> {
    if now.since(before) < AGAIN_AFTER {
        return None;
    }
    let day = now.as_millis().div_euclid(i64::try_from(AGAIN_AFTER.as_millis()).unwrap_or(i64::MAX));
    Some(format!("{key}@{day}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_attempt_is_followed_by_one_a_day() {
        let begun = Timestamp::from_seconds(1_000_000);
        let later = |hours: u64| begun.saturating_add(Duration::from_hours(hours));
        assert_eq!(again("k", begun, later(23)), None);
        let first = again("k", begun, later(24)).expect("a day has passed");
        assert_ne!(first, "k");
        assert_ne!(again("k", begun, later(48)).expect("two days"), first);
    }
}
