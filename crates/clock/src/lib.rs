//! Time as an argument.
//!
//! Rules take a [`Timestamp`] and never ask the system what time it is. Only [`SystemClock`] does that, so a test moves
//! time by hand with a [`ManualClock`] and one operation judges everything by a single reading.

mod clock;
pub mod duration;
mod rfc3339;
mod timestamp;

pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use duration::DurationParseError;
pub use rfc3339::TimestampParseError;
pub use timestamp::{Timestamp, TimestampOutOfRange};
