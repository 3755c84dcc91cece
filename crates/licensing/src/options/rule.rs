//! What a customer may do with a license, and who may use it.

use std::time::Duration;

use lictor_clock::duration;
use serde::{Deserialize, Serialize};

use crate::set::named_enum;
use crate::text::Text;

/// A rule whose numbers are out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A borrowing rule with a span of zero or beyond 10 years, or no seats.
    #[error("a borrow rule needs spans of 1s to 3650d and at least one seat")]
    Borrow,
    /// No user or no device per user.
    #[error("named_users needs 1 to 10000000 users and 1 to 1000 devices for each")]
    NamedUsers,
    /// A subscription of no days or more than 100 years.
    #[error("a subscription lasts 1 to 36500 days")]
    Subscription,
}

/// The option `borrow`: how seats may be taken away for offline use. Without the option nothing may be borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BorrowDocument", into = "BorrowDocument")]
pub struct BorrowRule {
    max_duration: Duration,
    max_ahead: Duration,
    max_seats: Option<u32>,
}

impl BorrowRule {
    /// A borrow lasts at most this long unless the vendor says otherwise.
    pub const DEFAULT_DURATION: Duration = duration::days(7);
    /// A borrow ends at most this far ahead unless the vendor says otherwise.
    pub const DEFAULT_AHEAD: Duration = duration::days(42);

    /// At most `max_duration` long, ending at most `max_ahead` from now, at most `max_seats` of the pool at once.
    ///
    /// # Errors
    /// [`RuleError::Borrow`] when a number is out of range.
    pub fn new(max_duration: Duration, max_ahead: Duration, max_seats: Option<u32>) -> Result<Self, RuleError> {
        let range = Duration::from_secs(1)..=duration::days(3_650);
        if !range.contains(&max_duration) || !range.contains(&max_ahead) || max_seats == Some(0) {
            return Err(RuleError::Borrow);
        }
        Ok(Self { max_duration, max_ahead, max_seats })
    }

    /// The longest borrow.
    #[must_use]
    pub const fn max_duration(self) -> Duration {
        self.max_duration
    }

    /// How far ahead the latest end may lie.
    #[must_use]
    pub const fn max_ahead(self) -> Duration {
        self.max_ahead
    }

    /// How many seats may be borrowed at once; none means as many as the pool has.
    #[must_use]
    pub const fn max_seats(self) -> Option<u32> {
        self.max_seats
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BorrowDocument {
    #[serde(default = "default_duration", with = "duration")]
    max_duration: Duration,
    #[serde(default = "default_ahead", with = "duration")]
    max_ahead: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_seats: Option<u32>,
}

const fn default_duration() -> Duration {
    BorrowRule::DEFAULT_DURATION
}

const fn default_ahead() -> Duration {
    BorrowRule::DEFAULT_AHEAD
}

impl TryFrom<BorrowDocument> for BorrowRule {
    type Error = RuleError;

    fn try_from(document: BorrowDocument) -> Result<Self, RuleError> {
        Self::new(document.max_duration, document.max_ahead, document.max_seats)
    }
}

impl From<BorrowRule> for BorrowDocument {
    fn from(rule: BorrowRule) -> Self {
        Self { max_duration: rule.max_duration, max_ahead: rule.max_ahead, max_seats: rule.max_seats }
    }
}

/// The option `transfer`: what customers may do between containers. Without the option: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferRule {
    /// The license may be moved to another container.
    pub may_move: bool,
    /// The license may be given back to the vendor.
    pub may_return: bool,
    /// A part of the quantity may be moved.
    pub splittable: bool,
    /// How many times in a row it may be moved on; 0 means without limit.
    pub depth: u8,
}

/// The option `named_users`: who may use the license, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NamedUsersDocument", into = "NamedUsersDocument")]
pub struct NamedUsers {
    max_users: u32,
    max_devices_per_user: u32,
}

impl NamedUsers {
    /// So many users with so many devices each.
    ///
    /// # Errors
    /// [`RuleError::NamedUsers`] when a number is out of range.
    pub fn new(max_users: u32, max_devices_per_user: u32) -> Result<Self, RuleError> {
        if !(1..=10_000_000).contains(&max_users) || !(1..=1_000).contains(&max_devices_per_user) {
            return Err(RuleError::NamedUsers);
        }
        Ok(Self { max_users, max_devices_per_user })
    }

    /// How many users may be named.
    #[must_use]
    pub const fn max_users(self) -> u32 {
        self.max_users
    }

    /// On how many devices each of them may work.
    #[must_use]
    pub const fn max_devices_per_user(self) -> u32 {
        self.max_devices_per_user
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedUsersDocument {
    max_users: u32,
    #[serde(default = "three_devices")]
    max_devices_per_user: u32,
}

const fn three_devices() -> u32 {
    3
}

impl TryFrom<NamedUsersDocument> for NamedUsers {
    type Error = RuleError;

    fn try_from(document: NamedUsersDocument) -> Result<Self, RuleError> {
        Self::new(document.max_users, document.max_devices_per_user)
    }
}

impl From<NamedUsers> for NamedUsersDocument {
    fn from(users: NamedUsers) -> Self {
        Self { max_users: users.max_users, max_devices_per_user: users.max_devices_per_user }
    }
}

/// The option `subscription`: running time that tickets of the same display name extend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SubscriptionDocument", into = "SubscriptionDocument")]
pub struct Subscription {
    display_name: Text,
    days: u32,
}

impl Subscription {
    /// `days` of the subscription called `display_name`.
    ///
    /// # Errors
    /// [`RuleError::Subscription`] when `days` is not 1 to 36500.
    pub fn new(display_name: Text, days: u32) -> Result<Self, RuleError> {
        if (1..=36_500).contains(&days) { Ok(Self { display_name, days }) } else { Err(RuleError::Subscription) }
    }

    /// The name under which tickets extend each other.
    #[must_use]
    pub const fn display_name(&self) -> &Text {
        &self.display_name
    }

    /// How many days one ticket gives.
    #[must_use]
    pub const fn days(&self) -> u32 {
        self.days
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionDocument {
    display_name: Text,
    days: u32,
}

impl TryFrom<SubscriptionDocument> for Subscription {
    type Error = RuleError;

    fn try_from(document: SubscriptionDocument) -> Result<Self, RuleError> {
        Self::new(document.display_name, document.days)
    }
}

impl From<Subscription> for SubscriptionDocument {
    fn from(subscription: Subscription) -> Self {
        Self { display_name: subscription.display_name, days: subscription.days }
    }
}

named_enum! {
    /// The option `status`: whether the vendor lets the license be used.
    enum Status, unknown UnknownStatus;
    /// A set of statuses.
    set Statuses;
    /// It may be used.
    Enabled = "enabled",
    /// It stays in its container, but nobody gets a seat.
    Disabled = "disabled",
}
