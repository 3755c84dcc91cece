//! What a destination gets and how it is treated, checked once.

use std::time::Duration;

use lictor_api::notification::v1 as wire;
use lictor_clock::{Timestamp, duration};

use super::{
    filter::{FilterError, TypeFilter},
    limits::{Limits, LimitsError, span},
    modules::{Modules, ModulesError},
    scope::{Scope, ScopeError},
    template::{Template, TemplateError},
};

/// Options of a destination.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Which event types.
    pub types: TypeFilter,
    /// Of which items and customers.
    pub scope: Scope,
    /// Records instead of events.
    pub modules: Option<Modules>,
    /// Another body.
    pub template: Option<Template>,
    /// Whether events about one subject need not come in order.
    pub unordered: bool,
    /// Its own limits.
    pub limits: Limits,
    /// Collects, and sends at every multiple of this.
    pub every: Option<Duration>,
    wire: wire::DestinationOptions,
}

/// Why options cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The event types.
    #[error(transparent)]
    Types(#[from] FilterError),
    /// Items and customers.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// Modules.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Limits.
    #[error(transparent)]
    Limits(#[from] LimitsError),
}

impl TryFrom<wire::DestinationOptions> for Options {
    type Error = OptionsError;

    fn try_from(wanted: wire::DestinationOptions) -> Result<Self, OptionsError> {
        let shortest = Duration::from_secs(1);
        Ok(Self {
            types: TypeFilter::new(wanted.types.iter().map(String::as_str))?,
            scope: Scope::new(&wanted.items, &wanted.customers)?,
            modules: wanted.modules.clone().map(Modules::try_from).transpose()?,
            template: Some(wanted.template.as_str()).filter(|text| !text.is_empty()).map(Template::new).transpose()?,
            unordered: wanted.unordered,
            limits: Limits::try_from(&wanted.limits.clone().unwrap_or_default())?,
            every: span(wanted.every.as_ref(), shortest..=duration::days(7), LimitsError::Every)?,
            wire: wanted,
        })
    }
}

impl Options {
    /// As they were given.
    pub fn wire(&self) -> &wire::DestinationOptions {
        &self.wire
    }

    /// True when every event goes out as it is.
    pub fn is_plain(&self) -> bool {
        self.scope.is_everything() && self.modules.is_none() && self.template.is_none()
    }

    /// True when earlier events must be known to make its records.
    pub fn needs_knowledge(&self) -> bool {
        let properties = |modules: &Modules| {
            modules.activations.as_ref().is_some_and(|activations| !activations.properties.is_empty())
        };
        !self.scope.is_everything() || self.modules.as_ref().is_some_and(properties)
    }

    /// When something that is ready at `now` leaves.
    pub fn leaves_at(&self, now: Timestamp) -> Timestamp {
        let Some(every) = self.every else {
            return now;
        };
        let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(1);
        let past = now.as_micros().rem_euclid(every);
        Timestamp::from_micros(if past == 0 { now.as_micros() } else { now.as_micros().saturating_add(every - past) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collected_deliveries_leave_at_the_next_multiple() {
        let quarter = prost_types::Duration { seconds: 900, nanos: 0 };
        let options = Options::try_from(wire::DestinationOptions { every: Some(quarter), ..Default::default() })
            .expect("options");
        let at = |seconds| options.leaves_at(Timestamp::from_seconds(seconds)).as_seconds();
        assert_eq!((at(900), at(901), at(1_799), at(1_800)), (900, 1_800, 1_800, 1_800));
        let now = Timestamp::from_micros(1_234_567);
        assert_eq!(Options::default().leaves_at(now), now);
    }
}
