//! The `Retry-After` header: seconds, or a date of HTTP.

use std::time::Duration;

use lictor_clock::Timestamp;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What the receiver asks for, counted from `now`. A value that is neither form, or a date in the past, asks for nothing.
pub fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.len() <= 9 && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let at = http_date(value)?;
    (at > now).then(|| at.since(now))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`: the one form that servers must send today.
fn http_date(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: u8 = parts.next()?.parse().ok()?;
    let month = MONTHS.iter().position(|name| Some(*name) == rest.split(' ').nth(1))? + 1;
    let year: u16 = parts.nth(1)?.parse().ok()?;
    let time = parts.next()?;
    if parts.next() != Some("GMT") || parts.next().is_some() || time.len() != 8 {
        return None;
    }
    // The calendar is the clock crate's business.
    format!("{year:04}-{month:02}-{day:02}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().expect("a time");
        assert_eq!(parse("120", now), Some(Duration::from_secs(120)));
        assert_eq!(parse(" 0 ", now), Some(Duration::ZERO));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(30)));
    }

    #[test]
    fn anything_else_asks_for_nothing() {
        let now: Timestamp = "2027-01-01T00:00:00Z".parse().expect("a time");
        for value in [
            "",
            "-1",
            "1.5",
            "soon",
            "99999999999999999999",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 2030 08:49:37 CET",
            "Sun, 31 Feb 2030 08:49:37 GMT",
            "Sun, 06 Foo 2030 08:49:37 GMT",
            "2030-01-01T00:00:00Z",
            "Sun, 06 Nov 2030",
            "Sun, 06 Nov 2030 8:49 GMT",
        ] {
            assert_eq!(parse(value, now), None, "{value:?}");
        }
    }
}
