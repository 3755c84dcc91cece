//! RFC 3339 text for timestamps, written out here so that the pure crates need no calendar library.

use std::fmt;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Why a text is no timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampParseError {
    /// The text does not have the RFC 3339 shape.
    #[error("a time is written like 2027-01-31T00:00:00Z")]
    Shape,
    /// The digits name a day or a time of day that does not exist.
    #[error("this day or time of day does not exist in the calendar")]
    NoSuchTime,
    /// With its offset applied the time leaves the years 0000 to 9999.
    #[error("the time lies outside the years 0000 to 9999")]
    OutOfRange,
}

/// Writes `micros` (inside the years 0000 to 9999) in UTC, with six fraction digits or none.
pub(crate) fn format(micros: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
    if fraction != 0 {
        write!(f, ".{fraction:06}")?;
    }
    f.write_str("Z")
}

/// Reads an RFC 3339 time with any offset. Digits finer than a microsecond are dropped; leap seconds are refused.
pub(crate) fn parse(text: &str) -> Result<i64, TimestampParseError> {
    let mut rest = Cursor(text.as_bytes());
    let year = rest.digits(4)?;
    rest.one_of(b"-")?;
    let month = rest.digits(2)?;
    rest.one_of(b"-")?;
    let day = rest.digits(2)?;
    rest.one_of(b"Tt")?;
    let hour = rest.digits(2)?;
    rest.one_of(b":")?;
    let minute = rest.digits(2)?;
    rest.one_of(b":")?;
    let second = rest.digits(2)?;
    let fraction = if rest.peek() == Some(b'.') { rest.fraction()? } else { 0 };
    let offset_minutes = match rest.one_of(b"Zz+-")? {
        sign @ (b'+' | b'-') => {
            let hours = rest.digits(2)?;
            rest.one_of(b":")?;
            let minutes = rest.digits(2)?;
            if hours > 23 || minutes > 59 {
                return Err(TimestampParseError::NoSuchTime);
            }
            let total = hours * 60 + minutes;
            if sign == b'-' { -total } else { total }
        }
        _ => 0,
    };
    if !rest.0.is_empty() {
        return Err(TimestampParseError::Shape);
    }
    let days = days_from_civil(year, month, day);
    if hour > 23 || minute > 59 || second > 59 || civil_from_days(days) != (year, month, day) {
        return Err(TimestampParseError::NoSuchTime);
    }
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset_minutes * 60;
    Ok(seconds * MICROS_PER_SECOND + fraction)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. A month or day that does not exist gives the number of some
/// other day, which the caller notices by converting back.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that the leap day is the last one of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn one_of(&mut self, wanted: &[u8]) -> Result<u8, TimestampParseError> {
        let byte = self.peek().filter(|byte| wanted.contains(byte)).ok_or(TimestampParseError::Shape)?;
        self.0 = &self.0[1..];
        Ok(byte)
    }

    fn digits(&mut self, count: usize) -> Result<i64, TimestampParseError> {
        (0..count).try_fold(0, |value, _| Ok(value * 10 + i64::from(self.one_of(b"0123456789")? - b'0')))
    }

    /// A point and one to nine digits, as microseconds.
    fn fraction(&mut self) -> Result<i64, TimestampParseError> {
        self.one_of(b".")?;
        let mut micros = 0;
        let mut read = 0;
        while read < 9 && self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            let digit = self.digits(1)?;
            if read < 6 {
                micros = micros * 10 + digit;
            }
            read += 1;
        }
        if read == 0 {
            return Err(TimestampParseError::Shape);
        }
        Ok((read..6).fold(micros, |micros, _| micros * 10))
    }
}
