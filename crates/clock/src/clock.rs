//! Where the present comes from.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::Timestamp;

/// Gives the time of day and the time since boot.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time of day; may jump both ways. Read it once per operation.
    fn now(&self) -> Timestamp;

    /// Time since boot, sleep of the machine included; never goes back. For deadlines inside one process or between
    /// processes of one machine.
    fn boottime(&self) -> Duration;
}

/// A clock that many owners read.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks, read from the kernel; the only place in the workspace that does so.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// A shared handle to the machine's clocks.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let time = clock_gettime(ClockId::Realtime);
        Timestamp::from_micros(time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000))
    }

    fn boottime(&self) -> Duration {
        since_zero(clock_gettime(ClockId::Boottime))
    }
}

fn since_zero(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// A clock that stands still until it is moved by hand. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Reading>>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    now: Timestamp,
    boottime: Duration,
}

impl ManualClock {
    /// Starts at `now`, with a machine that booted an hour earlier.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Reading { now, boottime: Duration::from_secs(3_600) })))
    }

    /// A shared handle to this same clock.
    #[must_use]
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }

    /// Lets `span` pass on both clocks.
    pub fn advance(&self, span: Duration) {
        self.change(|reading| {
            reading.now = reading.now.saturating_add(span);
            reading.boottime = reading.boottime.saturating_add(span);
        });
    }

    /// Sets the time of day alone, as an administrator or an attacker would.
    pub fn set_now(&self, now: Timestamp) {
        self.change(|reading| reading.now = now);
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn read(&self) -> Reading {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.read().now
    }

    fn boottime(&self) -> Duration {
        self.read().boottime
    }
}
