//! The life of a transfer: seats leave one container, provably, and only then come into another.
//!
//! `departing -> departed -> arriving -> arrived`; `arriving -> departed` when the second leg was given up before anything
//! was issued; `called-off` when nothing left, or nothing is to arrive any more.

use std::{fmt, str::FromStr, time::Duration};

use lictor_clock::Timestamp;
use lictor_licensing::{
    ContainerKind, FirmCode,
    id::{ActivationId, LicenseId, TransferId},
};

/// How long after the end of a loan its seats are taken to be gone from the borrower: its clock may be behind by so much.
pub const CLOCK_TOLERANCE: Duration = Duration::from_hours(24);

/// Where a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransferState {
    /// The segment that takes the seats out is planned or issued.
    Departing,
    /// They left the old container.
    Departed,
    /// The segment that puts them in is planned or issued.
    Arriving,
    /// The new container proved that it holds them.
    Arrived,
    /// It ended without an arrival.
    CalledOff,
}

impl TransferState {
    /// All states.
    pub const ALL: &'static [Self] = &[Self::Departing, Self::Departed, Self::Arriving, Self::Arrived, Self::CalledOff];

    /// The name in tables and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Departing => "departing",
            Self::Departed => "departed",
            Self::Arriving => "arriving",
            Self::Arrived => "arrived",
            Self::CalledOff => "called-off",
        }
    }

    /// Whether seats are, or will be, on their way.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Departing | Self::Departed | Self::Arriving)
    }
}

impl fmt::Display for TransferState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no state of a transfer")]
pub struct UnknownTransferState;

impl FromStr for TransferState {
    type Err = UnknownTransferState;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|state| state.name() == name).ok_or(UnknownTransferState)
    }
}

/// Seats that go from one container to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// The vendor.
    pub firm: FirmCode,
    /// Whose seats.
    pub license: LicenseId,
    /// How many; 0 when it is not counted.
    pub quantity: u32,
    /// SHA-256 of the old container's device key, hex.
    pub from_container: String,
    /// Its serial.
    pub from_serial: String,
    /// SHA-256 of the new container's device key, hex.
    pub to_container: String,
    /// Its serial.
    pub to_serial: String,
    /// What the new container is bound to; unknown when seats go back to their lender.
    pub to_kind: Option<ContainerKind>,
    /// When a loan ends; none for a move for good.
    pub lend_until: Option<Timestamp>,
    /// The loan that it gives back.
    pub returns: Option<TransferId>,
    /// From then on the seats have left the old container by date alone.
    pub gone_by: Option<Timestamp>,
    /// Where it stands.
    pub state: TransferState,
    /// The activation that takes the seats out.
    pub depart_by: ActivationId,
    /// The activation that puts them in.
    pub arrive_by: Option<ActivationId>,
    /// When it was planned.
    pub created_at: Timestamp,
}

impl Transfer {
    /// Whether the old container need not prove that the seats left, because they were lent to it and that is over.
    #[must_use]
    pub fn is_gone_by_date(&self, now: Timestamp) -> bool {
        self.state == TransferState::Departing && self.gone_by.is_some_and(|date| now >= date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for state in TransferState::ALL {
            assert_eq!(state.name().parse(), Ok(*state));
        }
    }
}
