//! Limits on guessing tickets, shared by all replicas in Redis, or in this process alone. One behaviour for both.
//!
//! A try is taken before the ticket is looked up and given back when the ticket was right, so that parallel guesses
//! cannot slip through between a look and a count.

mod memory;
mod shared;

use std::{net::IpAddr, time::Duration};

use lictor_clock::SharedClock;
use lictor_runtime::StartError;

pub use memory::Memory;
pub use shared::Shared;

use crate::domain::guess::{Limits, peer_key};

/// How long a caller waits for others from its address whose tickets prove right a moment later.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Counts tries.
#[derive(Debug, Clone)]
pub struct Guesses {
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
    peer: String,
}

/// Too many wrong tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong tickets were tried; the next try is possible in {} s", .0.as_secs() + 1)]
pub struct TooMany(pub Duration);

impl Guesses {
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

    /// Takes a try for an address.
    ///
    /// # Errors
    /// [`TooMany`] when this address, or all together, have tried too many wrong ones.
    pub async fn take(&self, address: IpAddr) -> Result<Try, TooMany> {
        let peer = peer_key(address);
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.attempt(&peer).await {
                Ok(()) => return Ok(Try { peer }),
                Err(wait) if tokio::time::Instant::now() + LOOK_AGAIN >= end => return Err(TooMany(wait)),
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn attempt(&self, peer: &str) -> Result<(), Duration> {
        let now = self.clock.now();
        let outcome = match &self.counter {
            Counter::Memory(memory) => memory.take(peer, &self.limits, now),
            Counter::Shared(shared, alone) => match shared.take(peer, &self.limits, now).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(%error, "Redis does not answer, tickets are limited per process");
                    alone.take(peer, &self.limits, now)
                }
            },
        };
        outcome.map_err(|wait_ms| Duration::from_millis(u64::try_from(wait_ms).unwrap_or(1)))
    }

    /// Gives a try back: the ticket was right, or was never looked up.
    pub async fn refund(&self, taken: Try) {
        match &self.counter {
            Counter::Memory(memory) => memory.refund(&taken.peer, &self.limits),
            Counter::Shared(shared, alone) => {
                if shared.refund(&taken.peer, &self.limits).await.is_err() {
                    alone.refund(&taken.peer, &self.limits);
                }
            }
        }
    }
}
