//! How long a batch waits for more. A crowd that shares a batch shares its sync, its signature, and the switches between
//! threads; a client that is alone never waits.

use std::time::{Duration, Instant};

/// Most commands of one batch: the clock and what is due must have their turn.
pub(super) const BATCH_COMMANDS: usize = 1_024;
/// How long a batch waits for more when clients come in crowds.
const GATHER: Duration = Duration::from_millis(2);
/// How often the gathering looks at what came.
const GATHER_STEP: Duration = Duration::from_micros(500);
/// A batch of this size says that clients come in crowds.
const CROWD: usize = 8;

/// What is expected of the next batch, going by the ones before.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    expected: usize,
    /// Whether this batch has waited once.
    waited: bool,
}

impl Crowd {
    /// Waits for a moment when more are worth waiting for; false when the batch is to go on its way.
    pub(super) fn waits(&mut self, taken: usize, begun: Instant) -> bool {
        // Once in any case: else two halves of a crowd would take turns for ever, each with a sync of its own.
        let worth = self.expected >= CROWD && (!self.waited || taken < self.expected) && begun.elapsed() < GATHER;
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
}
