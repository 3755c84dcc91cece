//! The table of options: the one list from which the options, their kinds and the documents of items are made.

use lictor_clock::Timestamp;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    BorrowRule, DataEntries, HiddenData, LingerTime, MaintenancePeriod, MinimumVersion, NamedUsers, Quantity, Release,
    SecretData, Status, Subscription, TransferRule, UnitCounter, UsagePeriod,
};
use crate::binding::Bindings;
use crate::feature::FeatureMap;
use crate::id::ProductCode;
use crate::set::named_enum;
use crate::text::Text;

macro_rules! option_table {
    ($($(#[$doc:meta])* $kind:ident, $name:literal, $field:ident: $type:ty;)*) => {
        named_enum! {
            /// One option of an item, by name.
            enum OptionKind, unknown UnknownOptionKind;
            /// A set of options, such as those that an entry sets by itself.
            set OptionKinds;
            $($(#[$doc])* $kind = $name,)*
        }

        /// The options that an item sets by itself; what it leaves out it may inherit.
        #[derive(Clone, Debug, PartialEq, Eq, Default)]
        pub struct Options {
            $($(#[$doc])* pub $field: Option<$type>,)*
        }

        impl Options {
            /// Which options are set.
            #[must_use]
            pub fn kinds(&self) -> OptionKinds {
                let mut kinds = OptionKinds::NONE;
                $(if self.$field.is_some() {
                    kinds = kinds.with(OptionKind::$kind);
                })*
                kinds
            }

            /// These options, and `parent`'s where none is set here.
            #[must_use]
            pub fn inheriting(&self, parent: &Self) -> Self {
                Self { $($field: self.$field.clone().or_else(|| parent.$field.clone()),)* }
            }
        }

        /// A product item as documents write it.
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename = "product item")]
        pub(crate) struct ItemDocument {
            $(#[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
            $field: Option<Option<$type>>,)*
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub(crate) modules: Vec<ModuleDocument>,
        }

        /// A module item as documents write it. It knows the key `modules` in order to refuse it in words.
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename = "module item")]
        pub(crate) struct ModuleDocument {
            $(#[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
            $field: Option<Option<$type>>,)*
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub(crate) requires_parent: bool,
            #[serde(default, deserialize_with = "nested", skip_serializing)]
            #[expect(dead_code, reason = "exists to be refused")]
            modules: (),
        }

        impl ItemDocument {
            pub(crate) fn new(options: Options, modules: Vec<ModuleDocument>) -> Self {
                Self { $($field: options.$field.map(Some),)* modules }
            }

            pub(crate) fn take_options(&mut self) -> Result<Options, NothingGiven> {
                Ok(Options { $($field: there($name, self.$field.take())?,)* })
            }
        }

        impl ModuleDocument {
            pub(crate) fn new(options: Options, requires_parent: bool) -> Self {
                Self { $($field: options.$field.map(Some),)* requires_parent, modules: () }
            }

            pub(crate) fn take_options(&mut self) -> Result<Options, NothingGiven> {
                Ok(Options { $($field: there($name, self.$field.take())?,)* })
            }
        }
    };
}

option_table! {
    /// Names the product; a product item must have one.
    ProductCode, "product_code", product_code: ProductCode;
    /// The features that are open; none when left out.
    FeatureMap, "feature_map", feature_map: FeatureMap;
    /// What people read in lists.
    Text, "text", text: Text;
    /// Seats; without it the license is for local programs and is not counted.
    LicenseQuantity, "license_quantity", license_quantity: Quantity;
    /// Not valid before this time.
    ActivationTime, "activation_time", activation_time: Timestamp;
    /// Not valid from this time on.
    ExpirationTime, "expiration_time", expiration_time: Timestamp;
    /// How long it may be used, from the first access.
    UsagePeriod, "usage_period", usage_period: UsagePeriod;
    /// Which releases may be used.
    MaintenancePeriod, "maintenance_period", maintenance_period: MaintenancePeriod;
    /// Units granted for pay-per-use.
    UnitCounter, "unit_counter", unit_counter: UnitCounter;
    /// How long a released seat stays taken for others.
    LingerTime, "linger_time", linger_time: LingerTime;
    /// The oldest licence server that may serve it.
    MinimumVersion, "minimum_version", minimum_version: MinimumVersion;
    /// How seats may be borrowed.
    Borrow, "borrow", borrow: BorrowRule;
    /// What customers may do between containers.
    Transfer, "transfer", transfer: TransferRule;
    /// What the program finds there first; it may write its own.
    UserData, "user_data", user_data: DataEntries;
    /// What the customer finds there first; he may write his own.
    CustomerInfo, "customer_info", customer_info: DataEntries;
    /// Readable by all, written by the vendor alone.
    ProtectedData, "protected_data", protected_data: DataEntries;
    /// Readable with an access code.
    HiddenData, "hidden_data", hidden_data: HiddenData;
    /// Never readable, for keys.
    SecretData, "secret_data", secret_data: SecretData;
    /// Who may use it, counted.
    NamedUsers, "named_users", named_users: NamedUsers;
    /// Days that further tickets extend.
    Subscription, "subscription", subscription: Subscription;
    /// Where it may live.
    Bindings, "bindings", bindings: Bindings;
    /// Whether the vendor lets it be used.
    Status, "status", status: Status;
    /// The edition and version it is for.
    Release, "release", release: Release;
}

/// A key with nothing behind it. An expiry that was forgotten must not become a license without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is given for {0}: write a value or leave the key out")]
pub(crate) struct NothingGiven(&'static str);

fn there<T>(name: &'static str, value: Option<Option<T>>) -> Result<Option<T>, NothingGiven> {
    value.map(|value| value.ok_or(NothingGiven(name))).transpose()
}

/// Tells a key with nothing behind it from a key that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn nested<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    IgnoredAny::deserialize(deserializer)?;
    Err(D::Error::custom("a module item cannot have modules of its own: only a product item has modules"))
}
