//! Calls per second: a bucket of tokens that fills evenly. After a pause a tenth of a second's calls may go at once, so
//! that a backlog leaves at the receiver's pace and not as a burst.

use std::time::Duration;

use lictor_clock::Timestamp;

const MICROS: u128 = 1_000_000;

/// How fast calls may follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    per_second: u32,
    /// Before this moment every token is spent; each token costs a step of time.
    spent_until: Timestamp,
}

impl Pace {
    /// At most `per_second` calls in a second.
    pub fn new(per_second: u32) -> Self {
        Self { per_second: per_second.max(1), spent_until: Timestamp::from_micros(0) }
    }

    /// The pace that it was made with.
    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    /// How many calls may begin at `now`.
    pub fn room(&self, now: Timestamp) -> usize {
        let saved = now.since(self.from(now)).as_micros();
        usize::try_from(saved * u128::from(self.per_second) / MICROS).unwrap_or(usize::MAX)
    }

    /// `calls` begin at `now`.
    pub fn spend(&mut self, calls: usize, now: Timestamp) {
        let micros = u128::try_from(calls).unwrap_or(u128::MAX).saturating_mul(MICROS).div_ceil(self.per_second.into());
        let cost = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.spent_until = self.from(now).saturating_add(cost);
    }

    /// When the next call may begin.
    pub fn next(&self, now: Timestamp) -> Timestamp {
        let step = Duration::from_micros(1_000_000_u64.div_ceil(self.per_second.into()));
        self.from(now).saturating_add(step)
    }

    fn from(&self, now: Timestamp) -> Timestamp {
        let burst = u64::from(1 + self.per_second / 10);
        let back = (burst * 1_000_000).div_ceil(self.per_second.into());
        let earliest = now.as_micros().saturating_sub(i64::try_from(back).unwrap_or(i64::MAX));
        Timestamp::from_micros(self.spent_until.as_micros().max(earliest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_its_pace_and_a_small_burst() {
        for per_second in [1, 7, 100, 10_000] {
            let mut pace = Pace::new(per_second);
            let start = 1_800_000_000_000_000;
            let mut sent = 0;
            let mut now = start;
            while now < start + 10_000_000 {
                let room = pace.room(Timestamp::from_micros(now));
                pace.spend(room, Timestamp::from_micros(now));
                sent += room;
                now += 777;
            }
            let (least, most) = (per_second as usize * 10 - 2, per_second as usize * 10 + 1 + per_second as usize / 10);
            assert!((least..=most).contains(&sent), "{per_second}: {sent}");
        }
    }

    #[test]
    fn next_call_is_possible_when_it_says_so() {
        let mut pace = Pace::new(3);
        let now = Timestamp::from_seconds(1_800_000_000);
        pace.spend(pace.room(now), now);
        assert_eq!(pace.room(now), 0);
        let next = pace.next(now);
        assert!(next > now && pace.room(next) >= 1);
    }
}
