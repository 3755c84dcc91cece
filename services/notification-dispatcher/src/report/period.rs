//! Days, weeks and months of a calendar whose time zone is a fixed difference from UTC.

use std::{fmt, str::FromStr};

use lictor_clock::Timestamp;
use time::{Date, Duration, OffsetDateTime, UtcOffset, Weekday};

/// How long a report's period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// Midnight to midnight.
    Daily,
    /// Monday to Sunday.
    Weekly,
    /// A month of the calendar.
    Monthly,
}

impl Period {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Daily, Self::Weekly, Self::Monthly];

    /// The word in tables, settings and names of reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no period; next: daily, weekly or monthly")]
pub struct UnknownPeriod(String);

impl FromStr for Period {
    type Err = UnknownPeriod;

    fn from_str(text: &str) -> Result<Self, UnknownPeriod> {
        Self::ALL.into_iter().find(|period| period.name() == text).ok_or_else(|| UnknownPeriod(text.to_owned()))
    }
}

/// Periods with commas between, as in settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Periods(pub Vec<Period>);

impl FromStr for Periods {
    type Err = UnknownPeriod;

    fn from_str(text: &str) -> Result<Self, UnknownPeriod> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut periods = words.map(str::parse).collect::<Result<Vec<Period>, _>>()?;
        periods.sort();
        periods.dedup();
        Ok(Self(periods))
    }
}

/// The calendar's difference from UTC, -14:00 to +14:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset(UtcOffset);

impl Default for Offset {
    fn default() -> Self {
        Self(UtcOffset::UTC)
    }
}

/// A text that is no difference from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a difference from UTC is Z or looks like +01:00, between -14:00 and +14:00")]
pub struct OffsetError;

impl FromStr for Offset {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        if text == "Z" {
            return Ok(Self::default());
        }
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(OffsetError),
        };
        let (hours, minutes) = rest.split_once(':').ok_or(OffsetError)?;
        let two = |digits: &str| {
            let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<i8>().ok()).flatten().ok_or(OffsetError)
        };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        if hours > 14 || minutes > 59 || hours == 14 && minutes > 0 {
            return Err(OffsetError);
        }
        UtcOffset::from_hms(sign * hours, sign * minutes, 0).map(Self).map_err(|_| OffsetError)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, _) = self.0.as_hms();
        let sign = if hours < 0 || minutes < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", hours.abs(), minutes.abs())
    }
}

/// One period with its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// How long it is.
    pub period: Period,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
    offset: Offset,
    first: Date,
    after: Date,
}

/// A part of a period, as charts show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its first moment.
    pub from: Timestamp,
    /// What stands below it: an hour, a weekday, a day.
    pub label: String,
}

impl Span {
    /// The period that holds `at`.
    pub fn containing(period: Period, at: Timestamp, offset: Offset) -> Self {
        let date = local(at, offset).date();
        let first = match period {
            Period::Daily => date,
            Period::Weekly => date.saturating_sub(Duration::days(i64::from(date.weekday().number_days_from_monday()))),
            Period::Monthly => date.replace_day(1).unwrap_or(date),
        };
        Self::of(period, first, offset)
    }

    /// The last period that was over at `now`.
    pub fn last_over(period: Period, now: Timestamp, offset: Offset) -> Self {
        let current = Self::containing(period, now, offset);
        Self::containing(period, current.from.saturating_sub(std::time::Duration::from_secs(1)), offset)
    }

    /// The period after this one.
    pub fn next(&self) -> Self {
        Self::of(self.period, self.after, self.offset)
    }

    fn of(period: Period, first: Date, offset: Offset) -> Self {
        let after = match period {
            Period::Daily => first.saturating_add(Duration::days(1)),
            Period::Weekly => first.saturating_add(Duration::days(7)),
            Period::Monthly => first.saturating_add(Duration::days(i64::from(first.month().length(first.year())))),
        };
        Self { period, from: midnight(first, offset), until: midnight(after, offset), offset, first, after }
    }

    /// The same name for the same period for ever: `daily-2026-11-22`, `weekly-2026-11-16`, `monthly-2026-11`.
    pub fn name(&self) -> String {
        let date = self.first.to_string();
        match self.period {
            Period::Monthly => format!("monthly-{}", &date[..date.len() - 3]),
            period => format!("{period}-{date}"),
        }
    }

    /// For people: `22 November 2026`, `16 to 22 November 2026`, `November 2026`.
    pub fn title(&self) -> String {
        let last = self.after.saturating_sub(Duration::days(1));
        let (first, year) = (self.first, last.year());
        match self.period {
            Period::Daily => format!("{} {} {year}", first.day(), first.month()),
            Period::Monthly => format!("{} {year}", first.month()),
            Period::Weekly if first.year() != year => {
                format!("{} {} {} to {} {} {year}", first.day(), first.month(), first.year(), last.day(), last.month())
            }
            Period::Weekly if first.month() != last.month() => {
                format!("{} {} to {} {} {year}", first.day(), first.month(), last.day(), last.month())
            }
            Period::Weekly => format!("{} to {} {} {year}", first.day(), last.day(), last.month()),
        }
    }

    /// Its hours, or its days.
    pub fn parts(&self) -> Vec<Part> {
        if self.period == Period::Daily {
            let hours = (0..24_u64).map(|hour| Part {
                from: self.from.saturating_add(lictor_clock::duration::hours(hour)),
                label: format!("{hour:02}"),
            });
            return hours.collect();
        }
        let mut parts = Vec::new();
        let mut date = self.first;
        while date < self.after {
            let label = match self.period {
                Period::Weekly => format!("{} {}", short(date.weekday()), date.day()),
                _ => date.day().to_string(),
            };
            parts.push(Part { from: midnight(date, self.offset), label });
            date = date.saturating_add(Duration::days(1));
        }
        parts
    }

    /// Its calendar's difference from UTC.
    pub fn offset(&self) -> Offset {
        self.offset
    }
}

fn short(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Mon",
        Weekday::Tuesday => "Tue",
        Weekday::Wednesday => "Wed",
        Weekday::Thursday => "Thu",
        Weekday::Friday => "Fri",
        Weekday::Saturday => "Sat",
        Weekday::Sunday => "Sun",
    }
}

fn local(at: Timestamp, offset: Offset) -> OffsetDateTime {
    // Timestamps cover the years 1 to 9999, as the calendar does; only its very ends can leave it.
    let utc = OffsetDateTime::from_unix_timestamp(at.as_seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    utc.checked_to_offset(offset.0).unwrap_or(utc)
}

fn midnight(date: Date, offset: Offset) -> Timestamp {
    Timestamp::from_seconds(date.midnight().assume_offset(offset.0).unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn offset(text: &str) -> Offset {
        text.parse().expect("a difference")
    }

    #[test]
    fn a_period_begins_at_the_midnight_of_its_own_calendar() {
        let span = Span::last_over(Period::Daily, at("2026-11-22T22:59:59Z"), offset("+01:00"));
        assert_eq!((span.name(), span.from), ("daily-2026-11-21".to_owned(), at("2026-11-20T23:00:00Z")));
        let span = Span::last_over(Period::Daily, at("2026-11-22T23:00:00Z"), offset("+01:00"));
        assert_eq!((span.name(), span.until), ("daily-2026-11-22".to_owned(), at("2026-11-22T23:00:00Z")));
        let span = Span::containing(Period::Daily, at("2026-11-22T01:00:00Z"), offset("-05:30"));
        assert_eq!(span.from, at("2026-11-21T05:30:00Z"));
    }

    #[test]
    fn weeks_begin_on_monday_and_months_have_their_own_length() {
        let week = Span::containing(Period::Weekly, at("2026-11-22T12:00:00Z"), Offset::default());
        assert_eq!((week.name(), week.title()), ("weekly-2026-11-16".to_owned(), "16 to 22 November 2026".to_owned()));
        assert_eq!(week.parts().len(), 7);
        assert_eq!(week.next().title(), "23 to 29 November 2026");
        assert_eq!(week.next().next().title(), "30 November to 6 December 2026");
        let february = Span::containing(Period::Monthly, at("2028-02-10T00:00:00Z"), Offset::default());
        assert_eq!((february.name(), february.parts().len()), ("monthly-2028-02".to_owned(), 29));
        assert_eq!(february.next().name(), "monthly-2028-03");
        let december = Span::containing(Period::Monthly, at("2026-12-31T23:59:59Z"), Offset::default());
        assert_eq!(december.next().name(), "monthly-2027-01");
    }

    #[test]
    fn periods_follow_each_other_without_a_gap() {
        for period in Period::ALL {
            let mut span = Span::containing(period, at("2024-01-31T10:00:00Z"), offset("+05:45"));
            for _ in 0..500 {
                let next = span.next();
                assert_eq!(span.until, next.from);
                assert_eq!(Span::containing(period, next.from, offset("+05:45")), next);
                span = next;
            }
        }
    }

    #[test]
    fn differences_from_utc_are_read_back_and_slips_refused() {
        for text in ["+01:00", "-05:30", "+14:00", "-00:30"] {
            assert_eq!(offset(text).to_string(), text);
        }
        for bad in ["", "1", "+1:00", "+15:00", "+14:01", "+01:60", "UTC", "+0100", "ä"] {
            assert!(bad.parse::<Offset>().is_err(), "{bad}");
        }
    }
}
