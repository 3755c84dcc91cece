//! Refusals that explain themselves: one line per candidate, each with its reason and a way out.

use std::fmt;

use lictor_clock::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::access::{AccessModes, Location};
use crate::feature::FeatureMap;
use crate::id::ProductCode;
use crate::pool::Holder;

/// The most lines of one refusal.
pub const MAX_LINES: usize = 32;
/// The most holders named in one line.
pub const MAX_HOLDERS: usize = 8;

/// Why one candidate cannot serve a request. The numbers are those that integrations of the field know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The entry has no unit counter to take from.
    UnitsMissing,
    /// All units are used.
    UnitsZero,
    /// Fewer units are left than wanted.
    UnitsUnderrun {
        /// Units left.
        left: u64,
    },
    /// It has expired.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It is not valid yet.
    NotYetActive {
        /// From when on it will be.
        from: Timestamp,
    },
    /// The certified time is too old.
    CertifiedTimeObsolete,
    /// The update counter does not fit.
    UpdateCounterWrong,
    /// The container is disabled.
    ContainerDisabled,
    /// The vendor's part of the container is disabled.
    FirmDisabled,
    /// The entry is disabled.
    EntryDisabled,
    /// Its usage period is over.
    UsageOver {
        /// Since when.
        since: Timestamp,
    },
    /// Its usage period starts later than now: the clock was wrong once, or is.
    UsageUnderrun {
        /// When it starts.
        start: Timestamp,
    },
    /// It has no maintenance period, and the program wants one.
    MaintenanceMissing,
    /// The program is older than the maintenance period.
    MaintenanceUnderrun {
        /// Where the period starts.
        start: Timestamp,
    },
    /// The program is newer than the maintenance period.
    MaintenanceOverrun {
        /// Where the period ended.
        end: Timestamp,
    },
    /// The program did not say when it was released, and the license wants to know.
    MaintenanceInvalid,
    /// The system's time is behind the time that was proven.
    SystemTimeObsolete,
    /// The upstream server was not found.
    ServerNotFound,
    /// No licence server runs here.
    NoLocalServer,
    /// No licence server of the network answers.
    NoNetworkServer,
    /// The licence server is older than the license wants.
    ServerTooOld {
        /// The oldest that will do.
        minimum: semver::Version,
    },
    /// The program's runtime is too old for this server.
    RuntimeTooOld,
    /// There is no entry for this product.
    EntryNotFound,
    /// There is an entry for this product, but it does not open all wanted features.
    FeaturesMissing {
        /// The features it does not open.
        missing: FeatureMap,
    },
    /// There is an entry for this product, but for another edition or version.
    ReleaseMismatch,
    /// There is an entry for this product, but in a place where the caller does not look.
    LocationNotWanted {
        /// Where it is.
        location: Location,
    },
    /// The container was not found.
    ContainerNotFound,
    /// All seats are taken.
    NoMoreSeats {
        /// Seats that the access would take.
        needed: u32,
        /// Seats that are free.
        free: u32,
        /// Seats there are.
        total: u32,
    },
    /// Seats are free, and others have waited for them longer.
    SeatsAwaited,
    /// Seats are free, and a rule of the administrator keeps them for others.
    SeatsReserved {
        /// Seats that the access would take.
        needed: u32,
        /// Seats that are free.
        free: u32,
        /// How many of them are kept for others.
        kept: u32,
    },
    /// As many users are named as the license allows, and the caller is none of them.
    UsersNamed {
        /// How many that are.
        total: u32,
    },
    /// The user is named, and works on as many devices as the license allows.
    DevicesNamed {
        /// How many that are.
        total: u32,
    },
    /// The license is for named users, and the program did not say who uses it.
    UserUnknown,
    /// The station holds the entry already, in a way that excludes this access.
    ExclusiveConflict,
    /// The license does not allow this access mode.
    WrongMode {
        /// The modes it allows.
        allowed: AccessModes,
    },
    /// Borrowing failed.
    BorrowFailed,
    /// The seat is borrowed.
    BorrowActive,
    /// The update is newer than the container expects.
    UpdateTooNew,
    /// The update is older than the container's state.
    UpdateTooOld,
    /// A rule of the administrator forbids it.
    AccessDenied,
    /// A rule of the administrator with a name forbids it.
    DeniedByRule {
        /// Its name.
        rule: String,
    },
    /// The client does not hold the product item that the module belongs to.
    ParentNotHeld {
        /// The product item.
        parent: ProductCode,
    },
    /// The client instance holds seats of the pool on another station.
    OtherStation,
    /// The request id belongs to another access.
    RequestReused,
    /// The clocks of the two sides differ too much for borrowing.
    BorrowTimeDifference,
    /// Callers outside the network may not use it.
    NoWanLicense,
    /// Callers of the network may not use it.
    RemoteDenied,
    /// The server is overloaded.
    Overloaded,
}

impl Reason {
    /// The number that integrations of the field know.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::UnitsMissing => 31,
            Self::UnitsZero => 32,
            Self::UnitsUnderrun { .. } => 33,
            Self::Expired { .. } => 35,
            Self::NotYetActive { .. } => 37,
            Self::CertifiedTimeObsolete => 39,
            Self::UpdateCounterWrong => 48,
            Self::ContainerDisabled => 52,
            Self::FirmDisabled => 53,
            Self::EntryDisabled => 54,
            Self::UsageOver { .. } => 71,
            Self::UsageUnderrun { .. } => 72,
            Self::MaintenanceMissing => 76,
            Self::MaintenanceUnderrun { .. } => 77,
            Self::MaintenanceOverrun { .. } => 78,
            Self::MaintenanceInvalid => 79,
            Self::SystemTimeObsolete => 88,
            Self::ServerNotFound => 101,
            Self::NoLocalServer => 110,
            Self::NoNetworkServer => 111,
            Self::ServerTooOld { .. } => 125,
            Self::RuntimeTooOld => 129,
            Self::EntryNotFound
            | Self::FeaturesMissing { .. }
            | Self::ReleaseMismatch
            | Self::LocationNotWanted { .. } => 200,
            Self::ContainerNotFound => 201,
            Self::NoMoreSeats { .. } | Self::SeatsAwaited | Self::SeatsReserved { .. } => 212,
            Self::ExclusiveConflict => 213,
            Self::WrongMode { .. } => 223,
            Self::BorrowFailed => 226,
            Self::BorrowActive => 227,
            Self::UpdateTooNew => 228,
            Self::UpdateTooOld => 229,
            Self::AccessDenied
            | Self::DeniedByRule { .. }
            | Self::UsersNamed { .. }
            | Self::DevicesNamed { .. }
            | Self::UserUnknown
            | Self::ParentNotHeld { .. }
            | Self::OtherStation
            | Self::RequestReused => 231,
            Self::BorrowTimeDifference => 232,
            Self::NoWanLicense => 236,
            Self::RemoteDenied => 239,
            Self::Overloaded => 309,
        }
    }

    /// How near the candidate came to serving the request: the higher, the nearer. The reason of the nearest candidate
    /// is what a caller that wants a single number gets.
    const fn nearness(&self) -> u8 {
        match self {
            Self::EntryNotFound | Self::ContainerNotFound => 0,
            Self::LocationNotWanted { .. } | Self::ReleaseMismatch | Self::FeaturesMissing { .. } => 1,
            Self::NoMoreSeats { .. } | Self::SeatsAwaited | Self::SeatsReserved { .. } | Self::ExclusiveConflict => 4,
            Self::WrongMode { .. } | Self::ParentNotHeld { .. } | Self::OtherStation => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnitsMissing => f.write_str("the license has no unit counter"),
            Self::UnitsZero => f.write_str("all units are used"),
            Self::UnitsUnderrun { left } => write!(f, "only {left} units are left"),
            Self::Expired { at } => write!(f, "the license expired at {at}"),
            Self::NotYetActive { from } => write!(f, "the license becomes active at {from}"),
            Self::CertifiedTimeObsolete => f.write_str("the certified time is too old"),
            Self::UpdateCounterWrong => f.write_str("the update counter does not fit"),
            Self::ContainerDisabled => f.write_str("the container is disabled"),
            Self::FirmDisabled => f.write_str("the vendor's part of the container is disabled"),
            Self::EntryDisabled => f.write_str("the license is disabled"),
            Self::UsageOver { since } => write!(f, "the usage period ended at {since}"),
            Self::UsageUnderrun { start } => write!(f, "the usage period starts in the future, at {start}"),
            Self::MaintenanceMissing => f.write_str("the license has no maintenance period"),
            Self::MaintenanceUnderrun { start } => write!(f, "the license covers releases from {start} on"),
            Self::MaintenanceOverrun { end } => write!(f, "the license covers releases before {end}"),
            Self::MaintenanceInvalid => f.write_str("the program did not give its release date"),
            Self::SystemTimeObsolete => f.write_str("the system's time is behind the proven time"),
            Self::ServerNotFound => f.write_str("the licence server was not found"),
            Self::NoLocalServer => f.write_str("no local licence server is running"),
            Self::NoNetworkServer => f.write_str("no licence server of the network answers"),
            Self::ServerTooOld { minimum } => {
                write!(f, "the license needs a licence server of version {minimum} or newer")
            }
            Self::RuntimeTooOld => f.write_str("the program's runtime is too old for this licence server"),
            Self::EntryNotFound => f.write_str("there is no license for this product"),
            Self::FeaturesMissing { missing } => write!(f, "the license does not open the features {missing}"),
            Self::ReleaseMismatch => f.write_str("the license is for another edition or version"),
            Self::LocationNotWanted { location } => {
                write!(f, "the license lies in a place that was not asked for ({location})")
            }
            Self::ContainerNotFound => f.write_str("the container was not found"),
            Self::NoMoreSeats { needed, free, total } => write!(f, "{free} of {total} seats are free, {needed} needed"),
            Self::SeatsAwaited => f.write_str("others wait for the seats that are free"),
            Self::SeatsReserved { needed, free, kept } => {
                write!(f, "{free} seats are free, {kept} of them kept for others by access rules, {needed} needed")
            }
            Self::ExclusiveConflict => {
                f.write_str("this station holds the license already, and one of both is exclusive")
            }
            Self::WrongMode { allowed } => write!(f, "the license allows the access modes: {allowed}"),
            Self::BorrowFailed => f.write_str("borrowing failed"),
            Self::BorrowActive => f.write_str("the seat is borrowed"),
            Self::UpdateTooNew => f.write_str("the update is newer than the container expects"),
            Self::UpdateTooOld => f.write_str("the update is older than the container's state"),
            Self::AccessDenied => f.write_str("a rule of the administrator denies the access"),
            Self::DeniedByRule { rule } => write!(f, "the access rule {rule:?} denies the access"),
            Self::UsersNamed { total } => {
                write!(f, "all {total} users of the license are named, and this is none of them")
            }
            Self::DevicesNamed { total } => write!(f, "this user works on {total} devices already, and may on no more"),
            Self::UserUnknown => {
                f.write_str("the license is for named users, and the program does not say who uses it")
            }
            Self::ParentNotHeld { parent } => {
                write!(f, "the module needs a seat of product {parent} in the same program")
            }
            Self::OtherStation => f.write_str("this program instance holds seats on another station"),
            Self::RequestReused => f.write_str("the request id belongs to another access"),
            Self::BorrowTimeDifference => f.write_str("the clocks differ too much for borrowing"),
            Self::NoWanLicense => f.write_str("the license may not be used from outside the network"),
            Self::RemoteDenied => f.write_str("the license may only be used by local programs"),
            Self::Overloaded => f.write_str("the licence server is overloaded"),
        }
    }
}

/// Why one candidate cannot serve the request, and what would work instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalLine {
    /// The container's serial; none when no container has an entry.
    pub serial: Option<String>,
    /// The product.
    pub product_code: ProductCode,
    /// Why not.
    pub reason: Reason,
    /// Who holds the seats, the longest-holding first, at most [`MAX_HOLDERS`].
    pub holders: Vec<Holder>,
    /// The earliest known time at which it may work.
    pub free_at: Option<Timestamp>,
    /// What would work now or after a step of the reader.
    pub instead: Option<String>,
}

impl Serialize for RefusalLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("RefusalLine", 7)?;
        line.serialize_field("serial", &self.serial)?;
        line.serialize_field("product_code", &self.product_code)?;
        line.serialize_field("code", &self.reason.code())?;
        line.serialize_field("reason", &self.reason.to_string())?;
        line.serialize_field("holders", &self.holders)?;
        line.serialize_field("free_at", &self.free_at)?;
        line.serialize_field("instead", &self.instead)?;
        line.end()
    }
}

/// The answer to a request that no candidate can serve; has at least one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    lines: Vec<RefusalLine>,
}

impl Refusal {
    /// A refusal of one line.
    #[must_use]
    pub fn one(line: RefusalLine) -> Self {
        Self { lines: vec![line] }
    }

    /// The refusal of a product for which there is no entry at all.
    #[must_use]
    pub fn not_found(product_code: ProductCode) -> Self {
        Self::one(RefusalLine {
            serial: None,
            product_code,
            reason: Reason::EntryNotFound,
            holders: Vec::new(),
            free_at: None,
            instead: Some(format!(
                "activate a license for product {product_code} in a container of this licence server"
            )),
        })
    }

    /// A refusal of these lines, at most [`MAX_LINES`] of them; none when there is no line.
    #[must_use]
    pub fn new(mut lines: Vec<RefusalLine>) -> Option<Self> {
        lines.truncate(MAX_LINES);
        if lines.is_empty() { None } else { Some(Self { lines }) }
    }

    /// The lines, in the order in which the candidates were tried.
    #[must_use]
    pub fn lines(&self) -> &[RefusalLine] {
        &self.lines
    }

    /// The line of the candidate that came nearest; the first of them when several did.
    #[must_use]
    pub fn nearest(&self) -> &RefusalLine {
        let nearest = self.lines.iter().rev().max_by_key(|line| line.reason.nearness());
        nearest.unwrap_or(&self.lines[0])
    }

    /// The number for callers that want a single one.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.nearest().reason.code()
    }

    /// The same without names of holders, for callers who may not see them.
    #[must_use]
    pub fn without_holders(mut self) -> Self {
        self.lines.iter_mut().for_each(|line| line.holders.clear());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nearest().reason.fmt(f)
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut refusal = serializer.serialize_struct("Refusal", 2)?;
        refusal.serialize_field("refused", &true)?;
        refusal.serialize_field("reasons", &self.lines)?;
        refusal.end()
    }
}
