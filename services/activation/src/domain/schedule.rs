//! What the time brings, and the names under which each of it is begun once, whoever sees it first.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::id::TransferId;

/// How long a refused attempt is left alone before the next one is begun.
const AGAIN_AFTER: Duration = Duration::from_hours(24);

/// How long after the end of a loan its seats are taken to be gone from the borrower, whose clock may be behind: as long as
/// license-central waits.
const CLOCK_TOLERANCE: Duration = Duration::from_hours(24);

/// Whether lent seats have gone from their borrower by date alone: the entry there has ended by any clock.
#[must_use]
pub fn is_gone_by_date(lend_until: Timestamp, now: Timestamp) -> bool {
    now >= lend_until.saturating_add(CLOCK_TOLERANCE)
}

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
    fn a_loan_is_gone_a_day_after_its_end_and_not_before() {
        let end = Timestamp::from_seconds(1_000_000);
        assert!(!is_gone_by_date(end, end));
        assert!(!is_gone_by_date(end, end.saturating_add(Duration::from_hours(23))));
        assert!(is_gone_by_date(end, end.saturating_add(Duration::from_hours(24))));
    }

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
