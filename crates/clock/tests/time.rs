//! Timestamps, spans and clocks.

use std::time::Duration;

use lictor_clock::{Clock, ManualClock, SystemClock, Timestamp, TimestampParseError, duration};
use proptest::prelude::*;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a valid time")
}

#[test]
fn known_times_have_known_micros() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2000-02-29T12:00:00Z", 951_825_600_000_000),
        ("2026-11-22T01:54:18.000007Z", 1_795_312_458_000_007),
        ("0000-01-01T00:00:00Z", Timestamp::MIN.as_micros()),
        ("9999-12-31T23:59:59.999999Z", Timestamp::MAX.as_micros()),
    ] {
        assert_eq!(time(text).as_micros(), micros, "{text}");
        assert_eq!(Timestamp::from_micros(micros).to_string(), text);
    }
}

#[test]
fn offsets_and_fractions_become_utc_micros() {
    assert_eq!(time("2026-01-01T01:30:00+01:30"), time("2026-01-01T00:00:00Z"));
    assert_eq!(time("2025-12-31t19:00:00-05:00"), time("2026-01-01T00:00:00z"));
    assert_eq!(time("2026-01-01T00:00:00.5Z").as_micros() % 1_000_000, 500_000);
    assert_eq!(time("2026-01-01T00:00:00.123456789Z").as_micros() % 1_000_000, 123_456);
}

#[test]
fn hostile_times_are_refused() {
    for text in [
        "",
        "2026",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-1-01T00:00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.0000000001Z",
        "2026-01-01T00:00:00Z ",
        "２026-01-01T00:00:00Z",
        "+026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+0100",
    ] {
        assert_eq!(text.parse::<Timestamp>(), Err(TimestampParseError::Shape), "{text}");
    }
    for text in [
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z",
        "2026-01-01T00:00:00+24:00",
    ] {
        assert_eq!(text.parse::<Timestamp>(), Err(TimestampParseError::NoSuchTime), "{text}");
    }
    for text in ["0000-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"] {
        assert_eq!(text.parse::<Timestamp>(), Err(TimestampParseError::OutOfRange), "{text}");
    }
}

#[test]
fn arithmetic_stops_at_the_ends() {
    assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
    assert_eq!(Timestamp::UNIX_EPOCH.since(Timestamp::from_seconds(1)), Duration::ZERO);
    assert_eq!(Timestamp::from_seconds(3).since(Timestamp::from_seconds(1)), Duration::from_secs(2));
    assert!(Timestamp::try_from_micros(i64::MAX).is_err());
    assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp::MIN);
}

#[test]
fn json_shows_times_as_text() {
    let json = serde_json::to_string(&time("2026-01-01T00:00:00Z")).expect("serialises");
    assert_eq!(json, "\"2026-01-01T00:00:00Z\"");
    assert!(serde_json::from_str::<Timestamp>("12").is_err());
}

#[test]
fn spans_read_as_people_write_them() {
    for (text, span) in [
        ("30d", duration::days(30)),
        ("12h", duration::hours(12)),
        ("1d12h", duration::hours(36)),
        ("90m", duration::minutes(90)),
        ("1s250ms3us", Duration::from_micros(1_250_003)),
        ("0s", Duration::ZERO),
        ("365000d", duration::MAX),
    ] {
        assert_eq!(duration::parse(text), Ok(span), "{text}");
    }
    assert_eq!(duration::format(duration::minutes(90)), "1h30m");
}

#[test]
fn hostile_spans_are_refused() {
    for text in [
        "",
        "d",
        "30",
        "30 d",
        "-1d",
        "1h1d",
        "1d1d",
        "1y",
        "1.5h",
        "365001d",
        "99999999999999999999d",
        "1d99999999999999h",
    ] {
        assert!(duration::parse(text).is_err(), "{text}");
    }
}

#[test]
fn manual_clock_moves_only_by_hand() {
    let clock = ManualClock::new(time("2026-01-01T00:00:00Z"));
    let shared = clock.shared();
    let booted = shared.boottime();
    clock.advance(duration::hours(1));
    assert_eq!(shared.now(), time("2026-01-01T01:00:00Z"));
    clock.set_now(time("2020-01-01T00:00:00Z"));
    assert_eq!(shared.now(), time("2020-01-01T00:00:00Z"));
    assert_eq!(shared.boottime(), booted + duration::hours(1));
}

#[test]
fn system_clock_is_in_this_era_and_boottime_does_not_go_back() {
    let clock = SystemClock;
    assert!(clock.now() > time("2024-01-01T00:00:00Z"));
    let first = clock.boottime();
    assert!(clock.boottime() >= first);
}

proptest! {
    #[test]
    fn every_timestamp_survives_its_text(micros in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()) {
        let stamp = Timestamp::from_micros(micros);
        prop_assert_eq!(stamp.to_string().parse::<Timestamp>(), Ok(stamp));
    }

    #[test]
    fn every_span_survives_its_text(micros in 0..=31_536_000_000_000_000_u64) {
        let span = Duration::from_micros(micros);
        prop_assert_eq!(duration::parse(&duration::format(span)), Ok(span));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Timestamp>();
        let _ = duration::parse(&text);
    }
}
