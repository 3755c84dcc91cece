//! The options of product items and module items, each valid by construction.

mod data;
mod period;
mod quantity;
mod rule;
mod table;
mod version;

pub use data::{AccessCode, DataEntries, DataError, HiddenData, SecretData};
pub use period::{LingerTime, MaintenancePeriod, PeriodError, UsagePeriod};
pub use quantity::{Quantity, QuantityError};
pub use rule::{BorrowRule, NamedUsers, RuleError, Status, Statuses, Subscription, TransferRule, UnknownStatus};
pub(crate) use table::{ItemDocument, ModuleDocument, NothingGiven};
pub use table::{OptionKind, OptionKinds, Options, UnknownOptionKind};
pub use version::{
    Edition, Editions, MinimumVersion, Release, ReleaseVersion, ReleaseVersionError, UnitCounter, UnknownEdition,
};
