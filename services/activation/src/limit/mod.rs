//! Limits on what the public may do, shared by all replicas in Redis, or in this process alone. One behaviour for both.
//!
//! - Wrong tickets, per address and over all. A try is taken before the ticket is looked up and given back when the
//!   ticket was right, so that parallel guesses cannot slip through between a look and a count.
//! - Calls that need no ticket, and what they send, per address.

mod memory;
mod shared;

use std::{net::IpAddr, time::Duration};

use lictor_clock::SharedClock;
use lictor_runtime::StartError;

pub use memory::Memory;
pub use shared::Shared;

use crate::domain::limit::{Charge, Limits, peer_key};

/// How long a caller waits for others from its address whose tickets prove right a moment later.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Counts what the public does.
#[derive(Debug, Clone)]
pub struct Limiter {
    counter: Counter,
    limits: Limits,
    clock: SharedClock,
}

#[derive(Debug, Clone)]
enum Counter {
    Memory(Memory),
    /// With a counter of its own for the time in which Redis does not answer.
    Shared(Shared, Memory),
}

/// A try that is under way.
#[derive(Debug)]
#[must_use = "a try that is neither refunded nor wrong counts as wrong"]
pub struct Try {
    charges: Vec<Charge>,
}

/// Too much of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Wrong tickets.
    #[error("too many wrong tickets were tried; the next try is possible in {} s", .0.as_secs() + 1)]
    Guesses(Duration),
    /// Calls, or bytes.
    #[error("this address asks too much; the next call is possible in {} s", .0.as_secs() + 1)]
    Calls(Duration),
}

impl TooMany {
    /// How long to wait.
    #[must_use]
    pub const fn wait(self) -> Duration {
        match self {
            Self::Guesses(wait) | Self::Calls(wait) => wait,
        }
    }
}

impl Limiter {
    /// Counts in this process.
    #[must_use]
    pub fn in_memory(limits: Limits, clock: SharedClock) -> Self {
        Self { counter: Counter::Memory(Memory::default()), limits, clock }
    }

    /// Counts in Redis at `redis://…`, under names that start with `prefix`. Nothing is connected yet.
    ///
    /// # Errors
    /// `Settings` for a malformed address.
    pub fn shared(url: &str, prefix: &str, limits: Limits, clock: SharedClock) -> Result<Self, StartError> {
        let shared = Shared::new(url, prefix)?;
        Ok(Self { counter: Counter::Shared(shared, Memory::default()), limits, clock })
    }

    /// Takes a try of a ticket for an address.
    ///
    /// # Errors
    /// [`TooMany`] when this address, or all together, have tried too many wrong ones.
    pub async fn take(&self, address: IpAddr) -> Result<Try, TooMany> {
        let charges = vec![
            Charge::new("guess", peer_key(address), self.limits.peer, 1),
            Charge::new("guess", "all".to_owned(), self.limits.all, 1),
        ];
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.attempt(&charges).await {
                Ok(()) => return Ok(Try { charges }),
                Err(wait) if tokio::time::Instant::now() + LOOK_AGAIN >= end => return Err(TooMany::Guesses(wait)),
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Gives a try back: the ticket was right, or was never looked up.
    pub async fn refund(&self, taken: Try) {
        match &self.counter {
            Counter::Memory(memory) => memory.refund(&taken.charges),
            Counter::Shared(shared, alone) => {
                if shared.refund(&taken.charges).await.is_err() {
                    alone.refund(&taken.charges);
                }
            }
        }
    }

    /// Counts a call that needs no ticket, and the bytes that it sends.
    ///
    /// # Errors
    /// [`TooMany`] when this address has called too often or sent too much.
    pub async fn visit(&self, address: IpAddr, bytes: usize) -> Result<(), TooMany> {
        let who = peer_key(address);
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let charges = [
            Charge::new("call", who.clone(), self.limits.calls, 1),
            Charge::new("kib", who, self.limits.kibibytes, kibibytes),
        ];
        self.attempt(&charges).await.map_err(TooMany::Calls)
    }

    async fn attempt(&self, charges: &[Charge]) -> Result<(), Duration> {
        let now = self.clock.now();
        let outcome = match &self.counter {
            Counter::Memory(memory) => memory.take(charges, now),
            Counter::Shared(shared, alone) => match shared.take(charges, now).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(%error, "Redis does not answer, limits are counted per process");
                    alone.take(charges, now)
                }
            },
        };
        outcome.map_err(|wait_ms| Duration::from_millis(u64::try_from(wait_ms).unwrap_or(1)))
    }
}
