//! Technical ends of licenses that renew themselves.
//!
//! An entry gets an end close ahead, `period + grace` after its activation, and a renewal moves it by one period. A container
//! that no update reaches any more, because it was lost or stolen, runs out by itself. Nothing is renewed a second time
//! before the first renewal is proven.

use lictor_clock::Timestamp;
use lictor_licensing::error::{ErrorCode, Problem};

use super::policy::Policy;

/// The technical end of an entry that goes in now; none when the item has no technical end. A cancelled license gets one
/// period, as any other, and is not renewed after it.
#[must_use]
pub fn first_end(policy: &Policy, _cancelled_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    policy.renewal.map(|rule| now.saturating_add(rule.period).saturating_add(rule.grace))
}

/// From when on an entry with this technical end is to be renewed; none when it is not renewed.
#[must_use]
pub fn due_from(policy: &Policy, cancelled_at: Option<Timestamp>, current: Timestamp) -> Option<Timestamp> {
    policy.renewal.filter(|_| cancelled_at.is_none()).map(|rule| current.saturating_sub(rule.lead))
}

/// The technical end after `current`: one period later, and for an entry that has ended already as if it were new.
///
/// # Errors
/// A [`Problem`] when it does not renew, was cancelled, or it is not time yet.
pub fn next_end(
    policy: &Policy,
    cancelled_at: Option<Timestamp>,
    current: Timestamp,
    now: Timestamp,
) -> Result<Timestamp, Problem> {
    let refused = |message: &str, next: &str| Err(Problem::new(ErrorCode::WrongState, message, next));
    let Some(rule) = policy.renewal else {
        return refused("the license has no technical end that could be renewed", "activate another license");
    };
    let Some(from) = due_from(policy, cancelled_at, current) else {
        return refused("the renewal of the license was cancelled", "take the cancelling back first");
    };
    if now < from {
        return refused("it is too early to renew the license", "wait: it is renewed by itself before its end");
    }
    if now < current {
        return Ok(current.saturating_add(rule.period));
    }
    Ok(now.saturating_add(rule.period).saturating_add(rule.grace))
}

/// Whether cancelling may be taken back: only while the entry still runs, or before it was ever activated.
///
/// # Errors
/// A [`Problem`] once the license has ended.
pub fn resume(ends_at: Option<Timestamp>, now: Timestamp) -> Result<(), Problem> {
    match ends_at {
        Some(end) if end <= now => Err(Problem::new(
            ErrorCode::WrongState,
            "the license has run out after its renewal was cancelled",
            "order it anew",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use lictor_clock::duration::days;

    use super::*;
    use crate::domain::policy::Renewal;

    const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

    fn policy() -> Policy {
        let rule = Renewal { period: days(30), lead: days(7), grace: days(3) };
        Policy { renewal: Some(rule), ..Policy::default() }
    }

    fn day(number: u64) -> Timestamp {
        START.saturating_add(days(number))
    }

    #[test]
    fn a_license_without_the_rule_has_no_technical_end() {
        assert_eq!(first_end(&Policy::default(), None, START), None);
        assert!(next_end(&Policy::default(), None, START, day(100)).is_err());
        assert_eq!(due_from(&Policy::default(), None, START), None);
    }

    #[test]
    fn the_end_moves_by_one_period_and_only_near_the_end() {
        assert_eq!(first_end(&policy(), None, START), Some(day(33)));
        assert_eq!(due_from(&policy(), None, day(33)), Some(day(26)));
        let early = Timestamp::from_micros(day(26).as_micros() - 1);
        assert!(next_end(&policy(), None, day(33), early).is_err());
        assert_eq!(next_end(&policy(), None, day(33), day(26)), Ok(day(63)));
        let last = Timestamp::from_micros(day(33).as_micros() - 1);
        assert_eq!(next_end(&policy(), None, day(33), last), Ok(day(63)));
    }

    #[test]
    fn an_entry_that_ended_begins_anew_without_its_gap() {
        assert_eq!(next_end(&policy(), None, day(33), day(33)), Ok(day(66)));
        assert_eq!(next_end(&policy(), None, day(33), day(1_000)), Ok(day(1_033)));
    }

    #[test]
    fn a_renewal_is_never_due_again_at_once() {
        for (period, lead, grace) in [(2, 1, 0), (30, 29, 0), (30, 7, 3), (30, 1, 400), (3_650, 3_649, 3_650)] {
            let rule = Renewal { period: days(period), lead: days(lead), grace: days(grace) };
            let policy = Policy { renewal: Some(rule), ..Policy::default() };
            let mut end = first_end(&policy, None, START).expect("an end");
            for late in [0, 1, lead, lead + 1, 5_000] {
                let now = due_from(&policy, None, end).expect("a date").saturating_add(days(late));
                end = next_end(&policy, None, end, now).expect("due");
                assert!(now < due_from(&policy, None, end).expect("a date"), "{rule:?} renewed {late} days late");
            }
        }
    }

    #[test]
    fn a_cancelled_license_is_not_renewed_and_resumes_only_before_its_end() {
        assert_eq!(first_end(&policy(), Some(START), START), Some(day(33)), "it still gets its one period");
        assert!(next_end(&policy(), Some(START), day(33), day(30)).is_err());
        assert!(resume(Some(day(33)), day(32)).is_ok());
        assert!(resume(Some(day(33)), day(33)).is_err());
        assert!(resume(None, day(33)).is_ok(), "it was never activated");
    }
}
