//! Checked conversions between wire types and those of the domain that more than one service needs.

use lictor_clock::Timestamp;

const MICROS: i64 = 1_000_000;

/// A point in time as protobuf writes it.
#[must_use]
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(MICROS),
        nanos: i32::try_from(micros.rem_euclid(MICROS) * 1_000).expect("below a billion"),
    }
}

/// A span of time as protobuf writes it.
#[must_use]
pub fn duration(span: std::time::Duration) -> prost_types::Duration {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(span.subsec_nanos()).expect("below a billion") }
}

/// Reads a protobuf time, rounded down to microseconds. `None` when it lies outside of what a [`Timestamp`] holds.
#[must_use]
pub fn from_timestamp(at: &prost_types::Timestamp) -> Option<Timestamp> {
    if !(0..1_000_000_000).contains(&at.nanos) {
        return None;
    }
    let micros = at.seconds.checked_mul(MICROS)?.checked_add(i64::from(at.nanos) / 1_000)?;
    Timestamp::try_from_micros(micros).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire_also_before_1970() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, -1_700_000_000_123_456] {
            let at = Timestamp::from_micros(micros);
            assert_eq!(from_timestamp(&timestamp(at)), Some(at));
        }
    }

    #[test]
    fn a_time_out_of_range_is_refused() {
        let far = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert_eq!(from_timestamp(&far), None);
        let odd = prost_types::Timestamp { seconds: 0, nanos: -1 };
        assert_eq!(from_timestamp(&odd), None);
    }
}
