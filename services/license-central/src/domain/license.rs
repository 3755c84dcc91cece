//! A license and its state, which follows from its allocations alone.

use std::{fmt, str::FromStr};

use lictor_clock::Timestamp;
use lictor_licensing::{
    FirmCode, ProductCode,
    id::{ActivationId, AllocationId, CustomerId, LicenseId, OrderId, TicketId},
};

use super::allocation::AllocationState;

/// Where a license stands, seen over all of its allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LicenseState {
    /// In no container; can be activated.
    Available,
    /// An update that carries it was issued; no proof of arrival yet.
    Collected,
    /// A container proved that it arrived.
    Confirmed,
    /// A withdrawal was begun; the proof that it is gone is still out.
    Returning,
    /// Taken back by the vendor for good, and in no container.
    Withdrawn,
}

impl LicenseState {
    /// All states.
    pub const ALL: &'static [Self] =
        &[Self::Available, Self::Collected, Self::Confirmed, Self::Returning, Self::Withdrawn];

    /// The one rule: what a license's state is. A reservation is no state of the license, because nothing has happened
    /// yet; of several allocations the least certain one counts.
    #[must_use]
    pub fn of(withdrawn: bool, allocations: impl IntoIterator<Item = AllocationState>) -> Self {
        let mut least = None;
        for allocation in allocations {
            let state = match allocation {
                AllocationState::Reserved | AllocationState::Ended => continue,
                AllocationState::Collected => Self::Collected,
                AllocationState::Confirmed => Self::Confirmed,
                AllocationState::Returning => Self::Returning,
            };
            least = match (least, state) {
                (Some(Self::Returning), _) | (_, Self::Returning) => Some(Self::Returning),
                (Some(Self::Collected), _) | (_, Self::Collected) => Some(Self::Collected),
                (_, other) => Some(other),
            };
        }
        match (least, withdrawn) {
            (None, false) => Self::Available,
            (None, true) => Self::Withdrawn,
            // Withdrawn while a container may still hold a part of it: not over until that is proven.
            (Some(_), true) => Self::Returning,
            (Some(state), false) => state,
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
        }
    }
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

/// A part of a license in one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Its id.
    pub id: AllocationId,
    /// The license that it is a part of.
    pub license: LicenseId,
    /// The activation that puts it in.
    pub activation: ActivationId,
    /// The activation that takes it out.
    pub withdrawn_by: Option<ActivationId>,
    /// SHA-256 of the container's device key, hex.
    pub container: String,
    /// Display serial of the container.
    pub serial: String,
    /// Seats in this container; 0 when the license is not counted.
    pub quantity: u32,
    /// Where it stands.
    pub state: AllocationState,
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
        LicenseState::of(self.withdrawn_at.is_some(), self.allocations.iter().map(|allocation| allocation.state))
    }
}

#[cfg(test)]
mod tests {
    use super::{AllocationState as A, LicenseState as L};

    #[test]
    fn a_reserved_license_is_still_available() {
        assert_eq!(L::of(false, [A::Reserved]), L::Available);
        assert_eq!(L::of(false, [A::Ended, A::Reserved]), L::Available);
    }

    #[test]
    fn a_withdrawn_license_is_returning_until_every_container_proved_it() {
        for state in [A::Collected, A::Confirmed, A::Returning] {
            assert_eq!(L::of(true, [A::Ended, state]), L::Returning, "{state}");
        }
        assert_eq!(L::of(true, [A::Ended, A::Ended]), L::Withdrawn);
        assert_eq!(L::of(true, []), L::Withdrawn);
    }

    #[test]
    fn the_least_certain_part_decides_in_any_order() {
        let rank = |state: A| match state {
            A::Returning => Some(L::Returning),
            A::Collected => Some(L::Collected),
            A::Confirmed => Some(L::Confirmed),
            A::Reserved | A::Ended => None,
        };
        let order = [L::Returning, L::Collected, L::Confirmed];
        for a in A::ALL {
            for b in A::ALL {
                for c in A::ALL {
                    let parts = [*a, *b, *c];
                    let wanted = order
                        .into_iter()
                        .find(|state| parts.iter().any(|part| rank(*part) == Some(*state)))
                        .unwrap_or(L::Available);
                    assert_eq!(L::of(false, parts), wanted, "{parts:?}");
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
