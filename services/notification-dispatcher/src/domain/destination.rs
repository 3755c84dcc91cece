//! A receiver of notifications: what it wants, how it fares, when it is given up.

use std::{sync::Arc, time::Duration};

use lictor_api::notification::v1::Transmission;
use lictor_clock::Timestamp;
use lictor_licensing::id::DestinationId;

use super::{
    options::Options,
    outcome::{Attempt, AttemptResult},
    schedule::Schedule,
};

/// Most bytes of a note or a reason.
pub const NOTE_BYTES: usize = 512;

/// A receiver as the service keeps it. Its secrets are kept apart.
#[derive(Debug, Clone)]
pub struct Destination {
    /// `dst_…`
    pub id: DestinationId,
    /// How it is reached, credentials included: never shown as it is.
    pub transmission: Arc<Transmission>,
    /// What it gets, and how it is treated.
    pub options: Arc<Options>,
    /// Grows with every change by an administrator.
    pub revision: u64,
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
    /// Nothing is sent before this: the receiver asked for it, or the breaker is open.
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

/// Failures in a row that open the breaker: nothing is sent for a while, then one call at a time until one is taken.
pub const PROBE_AFTER_FAILURES: u32 = 5;
/// Longest time for which an open breaker keeps calls back.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How calls to a failing destination are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// All is well, or failures are few.
    Closed,
    /// Nothing is sent.
    Open,
    /// One call at a time.
    HalfOpen,
}

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
    /// Takes one attempt into account. The schedule bounds what a receiver may ask for, and how long the breaker is open:
    /// its shortest wait at first, twice as long after each call that fails, [`LONGEST_PAUSE`] at most.
    pub fn observe(&mut self, attempt: &Attempt, now: Timestamp, give_up: GiveUp, schedule: &Schedule) -> Verdict {
        if attempt.result == AttemptResult::Taken {
            let recovered = self.failures >= PROBE_AFTER_FAILURES;
            *self = Self::default();
            return if recovered { Verdict::Recovered } else { Verdict::GoOn };
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(attempt.at);
        let asked = attempt.is_overload().then(|| {
            attempt.retry_after.map_or(schedule.shortest(), |rest| rest.clamp(schedule.shortest(), schedule.longest()))
        });
        let open = self.failures.checked_sub(PROBE_AFTER_FAILURES).map(|beyond| {
            let pause = schedule.shortest().saturating_mul(1 << beyond.min(16));
            pause.min(LONGEST_PAUSE).min(schedule.longest())
        });
        if let Some(rest) = asked.max(open) {
            let until = now.saturating_add(rest);
            self.rests_until = Some(self.rests_until.map_or(until, |known| known.max(until)));
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

    /// The breaker at `now`.
    pub fn breaker(&self, now: Timestamp) -> Breaker {
        match (self.failures >= PROBE_AFTER_FAILURES, self.rests_at(now)) {
            (false, _) => Breaker::Closed,
            (true, true) => Breaker::Open,
            (true, false) => Breaker::HalfOpen,
        }
    }

    /// True while nothing may be sent: the receiver wants to be left alone, or the breaker is open.
    pub fn rests_at(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const LONGEST: Duration = Duration::from_secs(28_800);

    fn observe(health: &mut Health, attempt: &Attempt, now: Timestamp) -> Verdict {
        health.observe(attempt, now, GiveUp::default(), &Schedule::default())
    }

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
        let verdict = observe(&mut Health::default(), &attempt(START, 410, None), START);
        assert!(matches!(verdict, Verdict::Disable(_)));
    }

    #[test]
    fn five_days_of_failures_disable_and_a_success_starts_anew() {
        let mut health = Health::default();
        let mut now = START;
        for _ in 0..20 {
            let verdict = observe(&mut health, &attempt(now, 500, None), now);
            assert_eq!(verdict, Verdict::GoOn);
            now = now.saturating_add(lictor_clock::duration::hours(5));
        }
        assert_eq!(observe(&mut health, &attempt(now, 200, None), now), Verdict::Recovered);
        assert_eq!(health, Health::default());
        for _ in 0..24 {
            let _ = observe(&mut health, &attempt(now, 500, None), now);
            now = now.saturating_add(lictor_clock::duration::hours(5));
        }
        let verdict = observe(&mut health, &attempt(now, 500, None), now);
        assert!(matches!(verdict, Verdict::Disable(_)), "{verdict:?}");
    }

    #[test]
    fn few_failures_never_disable() {
        let mut health = Health::default();
        let late = START.saturating_add(lictor_clock::duration::days(30));
        let _ = observe(&mut health, &attempt(START, 500, None), START);
        assert_eq!(observe(&mut health, &attempt(late, 500, None), late), Verdict::GoOn);
    }

    #[test]
    fn overloaded_receiver_is_left_alone_for_a_bounded_time() {
        let mut health = Health::default();
        let _ = observe(&mut health, &attempt(START, 503, Some(60)), START);
        assert!(health.rests_at(START.saturating_add(Duration::from_secs(59))));
        assert!(!health.rests_at(START.saturating_add(Duration::from_secs(60))));
        let _ = observe(&mut health, &attempt(START, 429, Some(9_999_999)), START);
        assert!(!health.rests_at(START.saturating_add(LONGEST)));
        let mut other = Health::default();
        let _ = observe(&mut other, &attempt(START, 500, Some(60)), START);
        assert!(!other.rests_at(START), "500 concerns one delivery");
    }

    #[test]
    fn failing_destination_is_probed_with_one_call() {
        let mut health = Health::default();
        for _ in 0..PROBE_AFTER_FAILURES {
            assert_eq!(health.in_flight_limit(16), 16);
            let _ = observe(&mut health, &attempt(START, 500, None), START);
        }
        assert_eq!(health.in_flight_limit(16), 1);
    }

    #[test]
    fn breaker_opens_longer_each_time_and_closes_with_the_first_success() {
        let mut health = Health::default();
        let mut now = START;
        for _ in 1..PROBE_AFTER_FAILURES {
            let _ = observe(&mut health, &attempt(now, 500, None), now);
            assert_eq!(health.breaker(now), Breaker::Closed);
        }
        for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
            let _ = observe(&mut health, &attempt(now, 500, None), now);
            assert_eq!(health.breaker(now), Breaker::Open);
            now = now.saturating_add(Duration::from_secs(pause - 1));
            assert_eq!(health.breaker(now), Breaker::Open, "{pause}");
            now = now.saturating_add(Duration::from_secs(1));
            assert_eq!(health.breaker(now), Breaker::HalfOpen, "{pause}");
        }
        assert_eq!(observe(&mut health, &attempt(now, 204, None), now), Verdict::Recovered);
        assert_eq!(health.breaker(now), Breaker::Closed);
    }

    #[test]
    fn overload_without_a_time_slows_the_destination_too() {
        for status in [429, 502, 503, 504] {
            let mut health = Health::default();
            let _ = observe(&mut health, &attempt(START, status, None), START);
            assert!(health.rests_at(START.saturating_add(Duration::from_secs(4))), "{status}");
            assert!(!health.rests_at(START.saturating_add(Duration::from_secs(5))), "{status}");
        }
    }
}
