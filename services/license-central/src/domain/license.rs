//! A license and its state, which follows from its allocations alone.

use std::{fmt, str::FromStr, time::Duration};

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode, ProductCode,
    id::{ActivationId, AllocationId, CustomerId, LicenseId, OrderId, TicketId, TransferId},
};

use super::{
    allocation::{AllocationState, Intent},
    policy::Policy,
};

/// Where a license stands, seen over all of its allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LicenseState {
    /// In no container; can be activated.
    Available,
    /// An update that carries it was issued; no proof of arrival yet.
    Collected,
    /// A container proved that it arrived.
    Confirmed,
    /// Something is on its way out, or between two containers; the proof is still out.
    Returning,
    /// Taken back by the vendor for good, and in no container.
    Withdrawn,
    /// A subscription whose days were added to another one, and in no container.
    Merged,
    /// In a container that was lost and blocked; its seats wait for a replacement.
    Lost,
}

impl LicenseState {
    /// All states.
    pub const ALL: &'static [Self] = &[
        Self::Available,
        Self::Collected,
        Self::Confirmed,
        Self::Returning,
        Self::Withdrawn,
        Self::Merged,
        Self::Lost,
    ];

    /// The one rule: what a license's state is; `over` says how it was taken out of trade for good. A reservation is no
    /// state of the license, because nothing has happened yet; of several allocations the least certain one counts.
    #[must_use]
    pub fn of(over: Option<Over>, allocations: impl IntoIterator<Item = AllocationState>) -> Self {
        let mut least = None;
        for allocation in allocations {
            let state = match allocation {
                AllocationState::Reserved | AllocationState::Ended | AllocationState::WrittenOff => continue,
                AllocationState::Collected => Self::Collected,
                AllocationState::Confirmed => Self::Confirmed,
                AllocationState::Awaited | AllocationState::Returning => Self::Returning,
                AllocationState::Lost => Self::Lost,
            };
            least = match (least, state) {
                (Some(Self::Lost), _) | (_, Self::Lost) => Some(Self::Lost),
                (Some(Self::Returning), _) | (_, Self::Returning) => Some(Self::Returning),
                (Some(Self::Collected), _) | (_, Self::Collected) => Some(Self::Collected),
                (_, other) => Some(other),
            };
        }
        match (least, over) {
            (None, None) => Self::Available,
            (None, Some(Over::Withdrawn)) => Self::Withdrawn,
            (None, Some(Over::Merged)) => Self::Merged,
            // Taken back while a container may still hold a part of it: not over until that is proven.
            (Some(_), Some(_)) => Self::Returning,
            (Some(state), None) => state,
        }
    }

    /// The name in tables and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Collected => "collected",
            Self::Confirmed => "confirmed",
            Self::Returning => "returning",
            Self::Withdrawn => "withdrawn",
            Self::Merged => "merged",
            Self::Lost => "lost",
        }
    }
}

/// How a license was taken out of trade for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The vendor took it back.
    Withdrawn,
    /// Its days were added to another license.
    Merged,
}

impl fmt::Display for LicenseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no state of a license")]
pub struct UnknownLicenseState;

impl FromStr for LicenseState {
    type Err = UnknownLicenseState;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|state| state.name() == name).ok_or(UnknownLicenseState)
    }
}

/// What a plan that has issued nothing yet is about to do with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The activation.
    pub by: ActivationId,
    /// What it does.
    pub intent: Intent,
    /// With how many seats of the part; 0 when it is not counted.
    pub seats: u32,
    /// When the entry ends by date after it.
    pub end: Option<Timestamp>,
}

/// Seats that were lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loan {
    /// When they go back.
    pub until: Timestamp,
    /// Serial of the container that lent them.
    pub lender: String,
}

/// A part of a license in one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Its id.
    pub id: AllocationId,
    /// The license that it is a part of.
    pub license: LicenseId,
    /// The activation that puts it in.
    pub activation: ActivationId,
    /// The activation that takes it out, and how.
    pub withdrawn: Option<(ActivationId, Intent)>,
    /// What an activation is about to do with it.
    pub planned: Option<Planned>,
    /// SHA-256 of the container's device key, hex.
    pub container: String,
    /// Display serial of the container.
    pub serial: String,
    /// Seats in this container; 0 when the license is not counted.
    pub quantity: u32,
    /// Where it stands.
    pub state: AllocationState,
    /// When the entry ends by date.
    pub expires_at: Option<Timestamp>,
    /// Display name of the subscription that it is.
    pub subscription: Option<String>,
    /// The transfer by which it came.
    pub transfer: Option<TransferId>,
    /// On what terms, when it was lent.
    pub loan: Option<Loan>,
    /// How many times in a row its seats were moved.
    pub moves: u32,
    /// The part in a lost container in whose place it is put.
    pub replaces: Option<AllocationId>,
    /// The license that its days go to when it is merged.
    pub merges_into: Option<LicenseId>,
}

impl Allocation {
    /// What it takes of its license: its seats, or 1 when that is not counted.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        match self.state {
            AllocationState::Ended | AllocationState::WrittenOff => 0,
            // Counted with the part that it replaces until that is written off.
            AllocationState::Reserved if self.replaces.is_some() => 0,
            _ if self.quantity == 0 => 1,
            _ => self.quantity,
        }
    }

    /// Whether the seats in `other` could lie in one entry with these: lent or not, on the same terms.
    #[must_use]
    pub fn same_terms(&self, loan: Option<&Loan>) -> bool {
        self.loan.as_ref() == loan
    }
}

/// One thing that was sold, with its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    /// Its id.
    pub id: LicenseId,
    /// The vendor.
    pub firm: FirmCode,
    /// The ticket it lies on.
    pub ticket: TicketId,
    /// First group of the ticket's code.
    pub ticket_masked: String,
    /// The order that made it.
    pub order: OrderId,
    /// Who bought it, by id …
    pub customer: CustomerId,
    /// … and by name.
    pub customer_name: String,
    /// Name of the item that it was made from.
    pub item: String,
    /// Id of that item.
    pub item_id: String,
    /// The item's version at the time of the order.
    pub item_version: u64,
    /// Product code of the item.
    pub product_code: ProductCode,
    /// Its line in the order, 1 and up.
    pub line: u32,
    /// Seats in all; 0 when it is not counted.
    pub quantity: u32,
    /// When it expires by date.
    pub expires_at: Option<Timestamp>,
    /// When the vendor took it back.
    pub withdrawn_at: Option<Timestamp>,
    /// The license that its days of subscription were added to.
    pub merged_into: Option<LicenseId>,
    /// Display name of the subscription that it is.
    pub subscription: Option<String>,
    /// What is left of a subscription that was in a container and is in none.
    pub remaining: Option<Duration>,
    /// When its automatic renewal was cancelled.
    pub renewal_cancelled_at: Option<Timestamp>,
    /// When it was last put into a new container in place of a lost one.
    pub replaced_at: Option<Timestamp>,
    /// The lost container of that time, by its id.
    pub replaced_for: Option<String>,
    /// What the vendor settles beside the product item.
    pub policy: Policy,
    /// Number of its last event.
    pub version: u64,
    /// When it was sold.
    pub created_at: Timestamp,
    /// Its parts that have not ended; oldest first.
    pub allocations: Vec<Allocation>,
}

impl License {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> LicenseState {
        LicenseState::of(self.over(), self.allocations.iter().map(|allocation| allocation.state))
    }

    /// How it was taken out of trade for good.
    #[must_use]
    pub const fn over(&self) -> Option<Over> {
        match (self.withdrawn_at, self.merged_into) {
            (Some(_), _) => Some(Over::Withdrawn),
            (None, Some(_)) => Some(Over::Merged),
            (None, None) => None,
        }
    }

    /// The most that its parts may take together: its seats, or 1 when it is not counted.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        if self.quantity == 0 { 1 } else { self.quantity }
    }

    /// What no part takes, reserved ones included.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.limit().saturating_sub(self.allocations.iter().map(Allocation::weight).fold(0, u32::saturating_add))
    }

    /// Seats that lie in no container and can be activated, once plans that have issued nothing are over; 1 or 0 when it
    /// is not counted.
    #[must_use]
    pub fn available(&self) -> u32 {
        if self.over().is_some() || self.remaining == Some(Duration::ZERO) {
            return 0;
        }
        let lasting = self.allocations.iter().filter(|part| part.state != AllocationState::Reserved);
        self.limit().saturating_sub(lasting.map(Allocation::weight).fold(0, u32::saturating_add))
    }
}

#[cfg(test)]
mod tests {
    use super::{AllocationState as A, LicenseState as L, Over};

    #[test]
    fn a_reserved_license_is_still_available() {
        assert_eq!(L::of(None, [A::Reserved]), L::Available);
        assert_eq!(L::of(None, [A::Ended, A::Reserved]), L::Available);
    }

    #[test]
    fn a_withdrawn_license_is_returning_until_every_container_proved_it() {
        for state in [A::Collected, A::Confirmed, A::Returning] {
            assert_eq!(L::of(Some(Over::Withdrawn), [A::Ended, state]), L::Returning, "{state}");
        }
        assert_eq!(L::of(Some(Over::Withdrawn), [A::Ended, A::Ended]), L::Withdrawn);
        assert_eq!(L::of(Some(Over::Withdrawn), []), L::Withdrawn);
        assert_eq!(L::of(Some(Over::Merged), [A::Returning]), L::Returning);
        assert_eq!(L::of(Some(Over::Merged), [A::Ended]), L::Merged);
    }

    #[test]
    fn the_least_certain_part_decides_in_any_order() {
        let rank = |state: A| match state {
            A::Returning | A::Awaited => Some(L::Returning),
            A::Collected => Some(L::Collected),
            A::Confirmed => Some(L::Confirmed),
            A::Lost => Some(L::Lost),
            A::Reserved | A::Ended | A::WrittenOff => None,
        };
        let order = [L::Lost, L::Returning, L::Collected, L::Confirmed];
        for a in A::ALL {
            for b in A::ALL {
                for c in A::ALL {
                    let parts = [*a, *b, *c];
                    let wanted = order
                        .into_iter()
                        .find(|state| parts.iter().any(|part| rank(*part) == Some(*state)))
                        .unwrap_or(L::Available);
                    assert_eq!(L::of(None, parts), wanted, "{parts:?}");
                }
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for state in L::ALL {
            assert_eq!(state.name().parse(), Ok(*state));
        }
    }
}
