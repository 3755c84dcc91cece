//! A destination's own limits, where it has any.

use std::time::Duration;

use lictor_api::notification::v1 as wire;
use lictor_clock::duration;

use super::schedule::Schedule;

/// Own limits; nothing means what the settings say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once.
    pub in_flight: Option<usize>,
    /// Calls per second.
    pub per_second: Option<u32>,
    /// Longest time of one call.
    pub timeout: Option<Duration>,
    /// When failed deliveries are tried again.
    pub waits: Option<Vec<Duration>>,
    /// When they are given up.
    pub retry_for: Option<Duration>,
}

/// Why limits cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Calls at once.
    #[error("1 to 256 calls at once are possible")]
    InFlight,
    /// Calls per second.
    #[error("1 to 10000 calls per second are possible")]
    PerSecond,
    /// The time of one call.
    #[error("a call may take 100ms to 60s")]
    Timeout,
    /// The waits.
    #[error("1 to 32 waits of 1ms to 7d are possible")]
    Waits,
    /// The time of a delivery.
    #[error("a delivery may be tried for up to 30d")]
    RetryFor,
    /// The interval.
    #[error("deliveries may be collected for 1s to 7d")]
    Every,
}

/// Reads a span of the contract between two bounds.
pub(super) fn span(
    wanted: Option<&prost_types::Duration>,
    bounds: std::ops::RangeInclusive<Duration>,
    error: LimitsError,
) -> Result<Option<Duration>, LimitsError> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let span = Duration::try_from(*wanted).map_err(|_| error)?;
    if bounds.contains(&span) { Ok(Some(span)) } else { Err(error) }
}

impl TryFrom<&wire::Limits> for Limits {
    type Error = LimitsError;

    fn try_from(wanted: &wire::Limits) -> Result<Self, LimitsError> {
        let in_flight = match wanted.in_flight {
            0 => None,
            calls @ 1..=256 => Some(usize::try_from(calls).map_err(|_| LimitsError::InFlight)?),
            _ => return Err(LimitsError::InFlight),
        };
        let per_second = match wanted.per_second {
            0 => None,
            calls @ 1..=10_000 => Some(calls),
            _ => return Err(LimitsError::PerSecond),
        };
        let (milli, second) = (Duration::from_millis(1), Duration::from_secs(1));
        let mut waits = Vec::new();
        for wait in &wanted.retry_waits {
            waits.extend(span(Some(wait), milli..=duration::days(7), LimitsError::Waits)?);
        }
        if waits.len() > 32 {
            return Err(LimitsError::Waits);
        }
        Ok(Self {
            in_flight,
            per_second,
            timeout: span(wanted.timeout.as_ref(), milli * 100..=second * 60, LimitsError::Timeout)?,
            waits: Some(waits).filter(|waits| !waits.is_empty()),
            retry_for: span(wanted.retry_for.as_ref(), milli..=duration::days(30), LimitsError::RetryFor)?,
        })
    }
}

impl Limits {
    /// The schedule of this destination, where `usual` is that of the settings.
    pub fn schedule(&self, usual: &Schedule) -> Schedule {
        let mut schedule = match &self.waits {
            Some(waits) => usual.clone().with_spans(waits.clone()),
            None => usual.clone(),
        };
        if let Some(retry_for) = self.retry_for {
            schedule.give_up_after = retry_for;
        }
        schedule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_bounds_is_refused() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        for (bad, why) in [
            (wire::Limits { in_flight: 257, ..Default::default() }, LimitsError::InFlight),
            (wire::Limits { per_second: 10_001, ..Default::default() }, LimitsError::PerSecond),
            (wire::Limits { timeout: seconds(61), ..Default::default() }, LimitsError::Timeout),
            (wire::Limits { timeout: seconds(-1), ..Default::default() }, LimitsError::Timeout),
            (wire::Limits { retry_for: seconds(31 * 86_400), ..Default::default() }, LimitsError::RetryFor),
            (
                wire::Limits {
                    retry_waits: vec![prost_types::Duration { seconds: 1, nanos: 0 }; 33],
                    ..Default::default()
                },
                LimitsError::Waits,
            ),
        ] {
            assert_eq!(Limits::try_from(&bad), Err(why), "{bad:?}");
        }
        assert_eq!(Limits::try_from(&wire::Limits::default()), Ok(Limits::default()));
    }
}
