//! Options that are spans of time.

use std::time::Duration;

use lictor_clock::{Timestamp, duration};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span outside the range of its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// A usage period outside one second to 100 years.
    #[error("a usage period lasts from 1s to 36500d")]
    Usage,
    /// A linger time outside one second to 31 days.
    #[error("a linger time lasts from 1s to 31d")]
    Linger,
    /// A maintenance period that does not end after its start.
    #[error("a maintenance period must end after its start")]
    Maintenance,
}

macro_rules! span_option {
    ($(#[$doc:meta])* $name:ident, $most:expr, $error:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Duration);

        impl $name {
            /// The longest span.
            pub const MAX: Duration = $most;

            /// Takes a span of at least one second; parts of a microsecond are dropped.
            ///
            /// # Errors
            /// [`PeriodError`] when the span is outside the range.
            pub fn new(span: Duration) -> Result<Self, PeriodError> {
                if span < Duration::from_secs(1) || span > Self::MAX {
                    return Err($error);
                }
                Ok(Self(Duration::from_micros(u64::try_from(span.as_micros()).unwrap_or(0))))
            }

            /// The span.
            #[must_use]
            pub const fn get(self) -> Duration {
                self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                duration::serialize(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(duration::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

span_option! {
    /// The option `usage_period`: how long the license can be used, counted from the first successful access.
    UsagePeriod, duration::days(36_500), PeriodError::Usage
}

span_option! {
    /// The option `linger_time`: how long a released seat stays taken for others, while its holder gets it back at once.
    LingerTime, duration::days(31), PeriodError::Linger
}

/// The option `maintenance_period`: releases of this time may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MaintenanceDocument", into = "MaintenanceDocument")]
pub struct MaintenancePeriod {
    start: Timestamp,
    end: Timestamp,
    required: bool,
}

impl MaintenancePeriod {
    /// Releases from `start` on and before `end`; with `required` a program must say when it was released.
    ///
    /// # Errors
    /// [`PeriodError::Maintenance`] when `end` is not after `start`.
    pub fn new(start: Timestamp, end: Timestamp, required: bool) -> Result<Self, PeriodError> {
        if end <= start { Err(PeriodError::Maintenance) } else { Ok(Self { start, end, required }) }
    }

    /// The first moment of the period.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// The first moment after the period.
    #[must_use]
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// Whether a program that does not tell its release date is refused.
    #[must_use]
    pub const fn is_required(self) -> bool {
        self.required
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaintenanceDocument {
    start: Timestamp,
    end: Timestamp,
    #[serde(default)]
    required: bool,
}

impl TryFrom<MaintenanceDocument> for MaintenancePeriod {
    type Error = PeriodError;

    fn try_from(document: MaintenanceDocument) -> Result<Self, PeriodError> {
        Self::new(document.start, document.end, document.required)
    }
}

impl From<MaintenancePeriod> for MaintenanceDocument {
    fn from(period: MaintenancePeriod) -> Self {
        Self { start: period.start, end: period.end, required: period.required }
    }
}
