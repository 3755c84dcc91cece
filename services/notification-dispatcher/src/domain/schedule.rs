//! When a failed delivery is tried again, and when it is given up.

use std::{str::FromStr, time::Duration};

use lictor_clock::{Timestamp, duration};

/// Waits after the first, second … failure; the last one repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    waits: Vec<Duration>,
    /// A delivery is parked by the first failure at or after this time since its first attempt.
    pub give_up_after: Duration,
    /// Random share by which each wait is made longer or shorter, in percent; default 20.
    pub jitter_percent: u8,
}

/// Why a text is no list of waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("waits are written like 5s,5m,30m with 1 to 32 entries between 1ms and 7d")]
pub struct ScheduleError;

/// What a failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again at this time.
    At(Timestamp),
    /// No more tries.
    GiveUp,
}

/// What is known about a delivery that just failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Failures so far, this one included; 1 and up.
    pub failures: u32,
    /// When it was tried first; moved by the time that its destination was disabled.
    pub first_attempt_at: Timestamp,
    /// When this failure was seen.
    pub now: Timestamp,
    /// What the receiver asked for.
    pub retry_after: Option<Duration>,
    /// Random number for the jitter.
    pub random: u16,
}

impl Default for Schedule {
    fn default() -> Self {
        use duration::{days, hours, minutes};
        Self {
            waits: vec![Duration::from_secs(5), minutes(5), minutes(30), hours(2), hours(5), hours(8)],
            give_up_after: days(7),
            jitter_percent: 20,
        }
    }
}

impl Schedule {
    /// What follows a failure. A delivery is only given up when its time is over and every wait of the list was used
    /// once: time during which this service itself was down gives up nothing.
    pub fn after(&self, failure: &Failure) -> Next {
        let tried_long = failure.now.since(failure.first_attempt_at) >= self.give_up_after;
        let used = usize::try_from(failure.failures.saturating_sub(1)).unwrap_or(usize::MAX);
        if tried_long && used >= self.waits.len() {
            return Next::GiveUp;
        }
        let wait = self.jittered(self.wait(used), failure.random);
        // A receiver may slow us down or hurry us within the bounds of the schedule, never stop us or make us hammer it.
        let wait = failure.retry_after.map_or(wait, |asked| asked.clamp(self.shortest(), self.longest()));
        Next::At(failure.now.saturating_add(wait))
    }

    /// The first wait: the shortest that a receiver can ask for.
    pub fn shortest(&self) -> Duration {
        self.waits.iter().copied().min().unwrap_or_default()
    }

    /// The longest wait of the list.
    pub fn longest(&self) -> Duration {
        self.waits.iter().copied().max().unwrap_or_default()
    }

    fn wait(&self, used: usize) -> Duration {
        self.waits.get(used).or(self.waits.last()).copied().unwrap_or_default()
    }

    fn jittered(&self, wait: Duration, random: u16) -> Duration {
        let share = f64::from(self.jitter_percent.min(100)) / 100.0;
        let place = f64::from(random) / f64::from(u16::MAX) * 2.0 - 1.0;
        wait.mul_f64(1.0 + share * place)
    }

    /// The same schedule with other waits; they were checked before.
    #[must_use]
    pub fn with_spans(self, waits: Vec<Duration>) -> Self {
        Self { waits, ..self }
    }

    /// The same schedule with other waits.
    pub fn with_waits(self, text: &str) -> Result<Self, ScheduleError> {
        let waits = text
            .split(',')
            .map(|wait| duration::parse(wait.trim()).map_err(|_| ScheduleError))
            .collect::<Result<Vec<_>, _>>()?;
        let bounds = Duration::from_millis(1)..=duration::days(7);
        if !(1..=32).contains(&waits.len()) || !waits.iter().all(|wait| bounds.contains(wait)) {
            return Err(ScheduleError);
        }
        Ok(Self { waits, ..self })
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Self::default().with_waits(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
    /// No jitter: the middle of the random range, give or take.
    const MIDDLE: u16 = u16::MAX / 2;

    fn failure(failures: u32, now: Timestamp) -> Failure {
        Failure { failures, first_attempt_at: START, now, retry_after: None, random: MIDDLE }
    }

    #[test]
    fn waits_grow_to_eight_hours_and_stop_after_seven_days() {
        let schedule = Schedule { jitter_percent: 0, ..Schedule::default() };
        let mut now = START;
        let mut waits = Vec::new();
        for failures in 1.. {
            match schedule.after(&failure(failures, now)) {
                Next::At(next) => {
                    waits.push(next.since(now).as_secs());
                    now = next;
                }
                Next::GiveUp => break,
            }
        }
        assert_eq!(waits[..7], [5, 300, 1_800, 7_200, 18_000, 28_800, 28_800]);
        assert!(waits[6..].iter().all(|wait| *wait == 28_800));
        assert!(now.since(START) >= duration::days(7), "given up after {:?}", now.since(START));
        assert!(now.since(START) <= duration::days(7) + duration::hours(8));
    }

    #[test]
    fn downtime_of_our_own_gives_up_nothing() {
        let late = START.saturating_add(duration::days(30));
        assert!(matches!(Schedule::default().after(&failure(2, late)), Next::At(_)));
        assert_eq!(Schedule::default().after(&failure(7, late)), Next::GiveUp);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let schedule = Schedule::default();
        for random in [0, 1, MIDDLE, u16::MAX] {
            let Next::At(next) = schedule.after(&Failure { random, ..failure(1, START) }) else {
                panic!("the first failure gave up");
            };
            let millis = next.since(START).as_millis();
            assert!((4_000..=6_000).contains(&millis), "{millis}");
        }
    }

    #[test]
    fn retry_after_is_kept_within_the_bounds_of_the_schedule() {
        let schedule = Schedule::default();
        for (asked, given) in [(0, 5), (60, 60), (3_600, 3_600), (10_000_000, 28_800)] {
            let asked = Failure { retry_after: Some(Duration::from_secs(asked)), ..failure(1, START) };
            assert_eq!(schedule.after(&asked), Next::At(START.saturating_add(Duration::from_secs(given))));
        }
    }

    #[test]
    fn malformed_waits_are_refused() {
        for bad in ["", "5", "5s,", "0s", "8d", "5s;6s"] {
            assert_eq!(bad.parse::<Schedule>(), Err(ScheduleError), "{bad:?}");
        }
        assert_eq!("20ms,40ms".parse::<Schedule>().map(|schedule| schedule.longest()), Ok(Duration::from_millis(40)));
    }
}
