//! Spans of time as people write them: `30d`, `12h`, `1d12h`, `250ms`.
//!
//! Use `#[serde(with = "lictor_clock::duration")]` on a field, or [`parse`] and [`format`] directly.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// The longest span that can be written: 1000 years of 365 days.
pub const MAX: Duration = days(365_000);

/// Largest unit first; a text names each unit at most once and in this order.
const UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Why a text is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationParseError {
    /// The text does not consist of numbers with units.
    #[error("a span of time is written like 30d, 12h or 1d12h with the units d, h, m, s, ms, us in this order")]
    Shape,
    /// The span is longer than [`MAX`](crate::duration::MAX).
    #[error("a span of time may not be longer than 365000d")]
    TooLong,
}

/// `count` days of 24 hours.
#[must_use]
pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(86_400))
}

/// `count` hours.
#[must_use]
pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(3_600))
}

/// `count` minutes.
#[must_use]
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(60))
}

/// Reads a span such as `30d` or `1d12h`.
///
/// # Errors
/// [`DurationParseError`] when the text has another shape or the span is longer than [`MAX`](crate::duration::MAX).
pub fn parse(text: &str) -> Result<Duration, DurationParseError> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        // Taking from the iterator is what enforces the order and forbids a unit twice.
        let (_, micros) = units.find(|(name, _)| *name == unit).ok_or(DurationParseError::Shape)?;
        if number.is_empty() {
            return Err(DurationParseError::Shape);
        }
        let number: u64 = number.parse().map_err(|_| DurationParseError::TooLong)?;
        total =
            number.checked_mul(*micros).and_then(|part| total.checked_add(part)).ok_or(DurationParseError::TooLong)?;
        rest = tail;
    }
    if text.is_empty() {
        return Err(DurationParseError::Shape);
    }
    let span = Duration::from_micros(total);
    if span > MAX { Err(DurationParseError::TooLong) } else { Ok(span) }
}

/// Writes a span with the largest units that fit, rounded down to microseconds; the inverse of [`parse`].
#[must_use]
pub fn format(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, micros) in UNITS {
        let number = rest / micros;
        rest %= micros;
        if number != 0 {
            text.push_str(&number.to_string());
            text.push_str(name);
        }
    }
    text
}

/// Serialises a span as text.
///
/// # Errors
/// Only those of the serialiser.
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*span))
}

/// Deserialises a span from text.
///
/// # Errors
/// A text that [`parse`] refuses.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}
