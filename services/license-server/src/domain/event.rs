//! What happens at the server, as the log keeps it and watchers hear it. Nothing about people beside what their programs
//! said and everybody may list among the sessions.

use std::borrow::Cow;

use lictor_clock::Timestamp;
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode};
use lictor_licensing::refusal::Refusal;
use serde::{Deserialize, Serialize};

use super::ask::Ask;
use super::session::Session;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// A seat was given.
    SeatGranted,
    /// A seat was given back.
    SeatReleased,
    /// A seat came free because its time was over, its client is gone or its licence ended.
    SeatExpired,
    /// A wish was refused.
    SeatDenied,
    /// Somebody waits for a seat.
    SeatQueued,
    /// Somebody who waited left without a seat.
    SeatLeft,
    /// A licence came into the container.
    LicenseAdded,
    /// A licence left the container.
    LicenseRemoved,
    /// A licence says something else than before.
    LicenseModified,
    /// A tenth, a hundredth or none of the units are left.
    UnitsLow,
    /// A licence ends within 30, 7 or 1 days, or has ended.
    LicenseExpiring,
    /// Other access rules are in force.
    RulesLoaded,
    /// The file with access rules was not taken.
    RulesRefused,
    /// The reader was too slow for some events.
    EventsMissed,
}

impl EventType {
    /// Its name: a noun and what became of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeatGranted => "seat.granted",
            Self::SeatReleased => "seat.released",
            Self::SeatExpired => "seat.expired",
            Self::SeatDenied => "seat.denied",
            Self::SeatQueued => "seat.queued",
            Self::SeatLeft => "seat.left",
            Self::LicenseAdded => "license.added",
            Self::LicenseRemoved => "license.removed",
            Self::LicenseModified => "license.modified",
            Self::UnitsLow => "units.low",
            Self::LicenseExpiring => "license.expiring",
            Self::RulesLoaded => "rules.loaded",
            Self::RulesRefused => "rules.refused",
            Self::EventsMissed => "events.missed",
        }
    }
}

/// One event. What does not apply is empty or 0, and left out of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What, by [`EventType::name`].
    #[serde(rename = "type")]
    pub name: Cow<'static, str>,
    /// Rises by one with each event of a life of the server; 0 for one of an earlier life.
    #[serde(skip)]
    pub sequence: u64,
    /// The vendor.
    #[serde(skip_serializing_if = "is_zero")]
    pub firm_code: u32,
    /// The product.
    #[serde(skip_serializing_if = "is_zero")]
    pub product_code: u32,
    /// The licence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub license_id: String,
    /// The session.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_id: String,
    /// Program, user and host as the client gave them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// The station.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub station: String,
    /// Seats of the access.
    #[serde(skip_serializing_if = "is_zero")]
    pub units: u32,
    /// Number of a refusal.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u32,
    /// Sentence of a refusal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Units or days that are left, or events that were missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Event {
    /// An event of the server itself.
    #[must_use]
    pub fn new(kind: EventType, at: Timestamp) -> Self {
        Self { at, name: Cow::Borrowed(kind.name()), ..Self::default() }
    }

    /// An event of a session.
    #[must_use]
    pub fn of_session(kind: EventType, session: &Session, at: Timestamp) -> Self {
        Self {
            firm_code: session.firm_code.get(),
            product_code: session.product_code.0,
            license_id: session.license.to_string(),
            session_id: session.id.to_string(),
            client: session.names.to_string(),
            station: session.station.to_string(),
            units: session.units(),
            ..Self::new(kind, at)
        }
    }

    /// An event of somebody who has no seat.
    #[must_use]
    pub fn of_ask(kind: EventType, ask: &Ask, at: Timestamp) -> Self {
        Self {
            firm_code: ask.firm_code.get(),
            product_code: ask.product_code.0,
            client: ask.names.to_string(),
            station: ask.station.to_string(),
            units: ask.seats.get(),
            ..Self::new(kind, at)
        }
    }

    /// A refusal.
    #[must_use]
    pub fn denied(ask: &Ask, refusal: &Refusal, at: Timestamp) -> Self {
        let nearest = &refusal.nearest().reason;
        Self {
            code: u32::from(nearest.code()),
            reason: nearest.to_string(),
            ..Self::of_ask(EventType::SeatDenied, ask, at)
        }
    }

    /// An event of a licence.
    #[must_use]
    pub fn of_license(kind: EventType, firm: FirmCode, license: LicenseId, at: Timestamp) -> Self {
        Self { firm_code: firm.get(), license_id: license.to_string(), ..Self::new(kind, at) }
    }

    /// The same with a product and a number.
    #[must_use]
    pub fn with(self, product: ProductCode, count: Option<u64>) -> Self {
        Self { product_code: product.0, count, ..self }
    }
}

/// Which events somebody wants; 0 and nothing stand for all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this firm.
    pub firm_code: u32,
    /// Of this product.
    pub product_code: u32,
    /// Of this type, or of all that begin with it and a dot.
    pub name: String,
}

impl EventFilter {
    /// Whether an event is wanted.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let rest = event.name.strip_prefix(self.name.as_str());
        (self.firm_code == 0 || self.firm_code == event.firm_code)
            && (self.product_code == 0 || self.product_code == event.product_code)
            && (self.name.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }
}
