//! How long a batch waits for more. A crowd that shares a batch shares its sync, its signature, and the switches between
//! threads; a client that is alone never waits.

use std::time::{Duration, Instant};

use lictor_signing::PublicKey;

/// Most commands of one batch: the clock and what is due must have their turn.
pub(super) const BATCH_COMMANDS: usize = 1_024;
/// How long a batch waits for more when clients come in crowds.
const GATHER: Duration = Duration::from_millis(2);
/// How often the gathering looks at what came.
const GATHER_STEP: Duration = Duration::from_micros(500);
/// A batch of this size says that clients come in crowds.
const CROWD: usize = 8;
/// So many clients in a row, each another than the one before and soon after it, say so too, however small the batches are.
const STRANGERS: u8 = 4;

/// What is expected of the next batch, going by the ones before.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    expected: usize,
    /// Whether this batch has waited once.
    waited: bool,
    /// Who asked for a seat last, and when.
    last: Option<(PublicKey, Duration)>,
    strangers: u8,
}

impl Crowd {
    /// Somebody asks for a seat, at this time since boot.
    pub(super) fn came(&mut self, client: &PublicKey, at: Duration) {
        let soon = |(last, then): &(PublicKey, Duration)| last != client && at.saturating_sub(*then) < GATHER;
        let stranger = self.last.as_ref().is_some_and(soon);
        self.strangers =
            if stranger { self.strangers.saturating_add(1).min(2 * STRANGERS) } else { self.strangers / 2 };
        self.last = Some((*client, at));
    }

    /// Waits for a moment when more are worth waiting for; false when the batch is to go on its way.
    pub(super) fn waits(&mut self, taken: usize, begun: Instant) -> bool {
        // Once in any case: else two halves of a crowd would take turns for ever, each with a sync of its own.
        let crowd = self.expected >= CROWD || self.strangers >= STRANGERS;
        let worth = crowd && (!self.waited || taken < self.expected) && begun.elapsed() < GATHER;
        if worth {
            self.waited = true;
            let_them_come();
        }
        worth
    }

    /// A batch of this size has gone. The next one may be smaller, but is not expected to be at once.
    pub(super) fn went(&mut self, taken: usize) {
        self.expected = taken.max(self.expected - self.expected.div_ceil(4));
        self.waited = false;
    }
}

/// Lets a crowd gather for a moment. Asleep and not at the channel: there each of its commands would wake this thread.
#[expect(clippy::disallowed_methods, reason = "the point is to not be woken by what comes meanwhile")]
fn let_them_come() {
    std::thread::sleep(GATHER_STEP);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_alone_never_waits_and_a_crowd_that_left_is_forgotten() {
        let mut crowd = Crowd::default();
        assert!(!crowd.waits(1, Instant::now()));
        crowd.went(64);
        assert!(crowd.waits(1, Instant::now()), "the others are on their way");
        assert!(!crowd.waits(64, Instant::now()), "all are there");
        crowd.went(64);
        assert!(crowd.waits(64, Instant::now()), "once, for a crowd may be two halves");
        assert!(!crowd.waits(64, Instant::now()));
        for _ in 0..10 {
            crowd.went(1);
        }
        assert!(!crowd.waits(1, Instant::now()));
    }

    #[test]
    fn strangers_in_a_row_are_a_crowd_and_one_client_in_a_hurry_is_none() {
        let key = |seed| lictor_signing::Signer::public_key(&lictor_key_store::MemorySigner::from_seed(&[seed; 32]));
        let at = |number: u64| Duration::from_micros(100 * number);
        let mut crowd = Crowd::default();
        for number in 0..20 {
            crowd.came(&key(1), at(number));
            assert!(!crowd.waits(1, Instant::now()), "alone");
            crowd.went(1);
        }
        for number in 20..26 {
            crowd.came(&key(u8::try_from(number).expect("small")), at(number));
            crowd.went(1);
        }
        assert!(crowd.waits(1, Instant::now()), "each is another one");
        for number in 0..4 {
            crowd.came(&key(1), at(1_000 + number));
            crowd.went(1);
        }
        assert!(!crowd.waits(1, Instant::now()), "alone again");
    }
}
