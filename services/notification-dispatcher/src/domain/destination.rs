//! A receiver of notifications: what it wants, how it fares, when it is given up.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::id::DestinationId;

use super::{
    filter::TypeFilter,
    outcome::{Attempt, AttemptResult},
    target::Target,
};

/// Most bytes of a note or a reason.
pub const NOTE_BYTES: usize = 512;

/// A receiver as the service keeps it. Its secrets are kept apart.
#[derive(Debug, Clone)]
pub struct Destination {
    /// `dst_…`
    pub id: DestinationId,
    /// Where it is.
    pub target: Target,
    /// Which events it wants.
    pub filter: TypeFilter,
    /// Whether it gets anything.
    pub state: DestinationState,
    /// When it was added.
    pub created_at: Timestamp,
    /// Why it is disabled, or what the last failed attempt said; empty when all is well.
    pub note: String,
    /// How it fares.
    pub health: Health,
}

/// Whether a destination gets anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationState {
    /// It gets what it wants.
    Enabled,
    /// Deliveries wait, their clocks stand still.
    Disabled {
        /// Since when.
        since: Timestamp,
    },
}

impl DestinationState {
    /// The word in tables and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled { .. } => "disabled",
        }
    }

    /// True when deliveries go out.
    pub const fn is_enabled(self) -> bool {
        matches!(self, Self::Enabled)
    }
}

/// What is known from attempts since the last one that was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// When the first of the failures was seen; nothing after a success.
    pub failing_since: Option<Timestamp>,
    /// Failures without a success between them.
    pub failures: u32,
    /// The receiver asked to be left alone until then.
    pub rests_until: Option<Timestamp>,
}

/// When a destination that only fails is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GiveUp {
    /// Only failures for this long; default 5 days …
    pub after: Duration,
    /// … and at least so many of them; default 10. Time during which nothing was sent says little.
    pub failures: u32,
}

impl Default for GiveUp {
    fn default() -> Self {
        Self { after: lictor_clock::duration::days(5), failures: 10 }
    }
}

/// Failures in a row after which a destination gets one call at a time, until one is taken.
pub const PROBE_AFTER_FAILURES: u32 = 5;

/// What an attempt means for its destination as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing changes but the health.
    GoOn,
    /// It took something after a row of failures: what waits may be tried at once.
    Recovered,
    /// It must be disabled, for this reason.
    Disable(String),
}

impl Health {
    /// Takes one attempt into account. `longest_rest` bounds what a receiver may ask for.
    pub fn observe(&mut self, attempt: &Attempt, now: Timestamp, give_up: GiveUp, longest_rest: Duration) -> Verdict {
        if attempt.result == AttemptResult::Taken {
            let recovered = self.failures >= PROBE_AFTER_FAILURES;
            *self = Self::default();
            return if recovered { Verdict::Recovered } else { Verdict::GoOn };
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(attempt.at);
        if let Some(rest) = attempt.asks_for_rest() {
            self.rests_until = Some(now.saturating_add(rest.min(longest_rest)));
        }
        if attempt.result == AttemptResult::Gone {
            return Verdict::Disable("the receiver answered that it is gone (status 410)".to_owned());
        }
        if now.since(since) >= give_up.after && self.failures >= give_up.failures {
            let days = now.since(since).as_secs() / 86_400;
            return Verdict::Disable(format!(
                "nothing was taken for {days} days; the last attempt was {}",
                attempt.summary()
            ));
        }
        Verdict::GoOn
    }

    /// How many calls may run at once, out of the `limit` of a healthy destination.
    pub fn in_flight_limit(&self, limit: usize) -> usize {
        if self.failures >= PROBE_AFTER_FAILURES { limit.min(1) } else { limit }
    }

    /// True while the receiver wants to be left alone.
    pub fn rests_at(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const LONGEST: Duration = Duration::from_secs(28_800);

    fn attempt(at: Timestamp, status: u16, retry_after: Option<u64>) -> Attempt {
        Attempt {
            at,
            status,
            latency: Duration::from_millis(1),
            result: Attempt::result_of_status(status),
            answer: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn gone_disables_at_once() {
        let verdict = Health::default().observe(&attempt(START, 410, None), START, GiveUp::default(), LONGEST);
        assert!(matches!(verdict, Verdict::Disable(_)));
    }

    #[test]
    fn five_days_of_failures_disable_and_a_success_starts_anew() {
        let mut health = Health::default();
        let mut now = START;
        for _ in 0..20 {
            let verdict = health.observe(&attempt(now, 500, None), now, GiveUp::default(), LONGEST);
            assert_eq!(verdict, Verdict::GoOn);
            now = now.saturating_add(lictor_clock::duration::hours(5));
        }
        assert_eq!(health.observe(&attempt(now, 200, None), now, GiveUp::default(), LONGEST), Verdict::Recovered);
        assert_eq!(health, Health::default());
        for _ in 0..24 {
            let _ = health.observe(&attempt(now, 500, None), now, GiveUp::default(), LONGEST);
            now = now.saturating_add(lictor_clock::duration::hours(5));
        }
        let verdict = health.observe(&attempt(now, 500, None), now, GiveUp::default(), LONGEST);
        assert!(matches!(verdict, Verdict::Disable(_)), "{verdict:?}");
    }

    #[test]
    fn few_failures_never_disable() {
        let mut health = Health::default();
        let late = START.saturating_add(lictor_clock::duration::days(30));
        let _ = health.observe(&attempt(START, 500, None), START, GiveUp::default(), LONGEST);
        assert_eq!(health.observe(&attempt(late, 500, None), late, GiveUp::default(), LONGEST), Verdict::GoOn);
    }

    #[test]
    fn overloaded_receiver_is_left_alone_for_a_bounded_time() {
        let mut health = Health::default();
        let _ = health.observe(&attempt(START, 503, Some(60)), START, GiveUp::default(), LONGEST);
        assert!(health.rests_at(START.saturating_add(Duration::from_secs(59))));
        assert!(!health.rests_at(START.saturating_add(Duration::from_secs(60))));
        let _ = health.observe(&attempt(START, 429, Some(9_999_999)), START, GiveUp::default(), LONGEST);
        assert!(!health.rests_at(START.saturating_add(LONGEST)));
        let mut other = Health::default();
        let _ = other.observe(&attempt(START, 500, Some(60)), START, GiveUp::default(), LONGEST);
        assert!(!other.rests_at(START), "500 concerns one delivery");
    }

    #[test]
    fn failing_destination_is_probed_with_one_call() {
        let mut health = Health::default();
        for _ in 0..PROBE_AFTER_FAILURES {
            assert_eq!(health.in_flight_limit(16), 16);
            let _ = health.observe(&attempt(START, 500, None), START, GiveUp::default(), LONGEST);
        }
        assert_eq!(health.in_flight_limit(16), 1);
    }
}
