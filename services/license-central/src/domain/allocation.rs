//! The life of an allocation: the part of a license that lies, or is about to lie, in one container.
//!
//! `reserved -> collected -> confirmed -> returning -> ended`, and `reserved -> ended` when nothing was issued. A
//! container may have taken an update without anybody having proof of it, so from `collected` on only proof ends one.

use std::{fmt, str::FromStr};

/// Where an allocation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AllocationState {
    /// Held for an activation that has issued nothing yet.
    Reserved,
    /// The update that carries it was issued; the container may have it.
    Collected,
    /// The container proved that it has it.
    Confirmed,
    /// A withdrawal was begun; the container may still have it.
    Returning,
    /// The container has it no more, or never got it.
    Ended,
}

/// A step that an allocation cannot make from where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an allocation that is {0} cannot be {1}")]
pub struct WrongStep(AllocationState, &'static str);

impl AllocationState {
    /// All states.
    pub const ALL: &'static [Self] = &[Self::Reserved, Self::Collected, Self::Confirmed, Self::Returning, Self::Ended];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Collected => "collected",
            Self::Confirmed => "confirmed",
            Self::Returning => "returning",
            Self::Ended => "ended",
        }
    }

    /// Whether the container may hold it now.
    #[must_use]
    pub const fn may_be_in_container(self) -> bool {
        matches!(self, Self::Collected | Self::Confirmed | Self::Returning)
    }

    /// The update that carries it was issued.
    ///
    /// # Errors
    /// [`WrongStep`] when it had ended: then nothing may be issued for it.
    pub const fn commit(self) -> Result<Self, WrongStep> {
        match self {
            Self::Reserved => Ok(Self::Collected),
            Self::Collected | Self::Confirmed | Self::Returning => Ok(self),
            Self::Ended => Err(WrongStep(self, "collected")),
        }
    }

    /// Proof of arrival. It may come late, after a withdrawal was begun or even proven, and then says nothing new.
    ///
    /// # Errors
    /// [`WrongStep`] when nothing was issued yet.
    pub const fn confirm(self) -> Result<Self, WrongStep> {
        match self {
            Self::Reserved => Err(WrongStep(self, "confirmed")),
            Self::Collected => Ok(Self::Confirmed),
            Self::Confirmed | Self::Returning | Self::Ended => Ok(self),
        }
    }

    /// A withdrawal begins.
    ///
    /// # Errors
    /// [`WrongStep`] while it is only reserved (the reservation has to end first) and when it is gone already.
    pub const fn begin_return(self) -> Result<Self, WrongStep> {
        match self {
            Self::Collected | Self::Confirmed => Ok(Self::Returning),
            Self::Reserved | Self::Returning | Self::Ended => Err(WrongStep(self, "returned")),
        }
    }

    /// The begun withdrawal is called off because nothing was issued for it; `arrived` says whether there is proof that
    /// the container has it.
    ///
    /// # Errors
    /// [`WrongStep`] when no withdrawal was begun.
    pub const fn call_return_off(self, arrived: bool) -> Result<Self, WrongStep> {
        match self {
            Self::Returning if arrived => Ok(Self::Confirmed),
            Self::Returning => Ok(Self::Collected),
            _ => Err(WrongStep(self, "kept")),
        }
    }

    /// Proof that the container has it no more.
    ///
    /// # Errors
    /// [`WrongStep`] when no withdrawal was begun.
    pub const fn end(self) -> Result<Self, WrongStep> {
        match self {
            Self::Returning | Self::Ended => Ok(Self::Ended),
            _ => Err(WrongStep(self, "ended")),
        }
    }

    /// The reservation ended with nothing issued.
    ///
    /// # Errors
    /// [`WrongStep`] when an update may carry it.
    pub const fn release(self) -> Result<Self, WrongStep> {
        match self {
            Self::Reserved | Self::Ended => Ok(Self::Ended),
            _ => Err(WrongStep(self, "released")),
        }
    }
}

impl fmt::Display for AllocationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no state of an allocation")]
pub struct UnknownAllocationState;

impl FromStr for AllocationState {
    type Err = UnknownAllocationState;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|state| state.name() == name).ok_or(UnknownAllocationState)
    }
}

#[cfg(test)]
mod tests {
    use super::AllocationState as S;

    #[test]
    fn late_proof_of_arrival_does_not_undo_a_withdrawal() {
        assert_eq!(S::Returning.confirm(), Ok(S::Returning));
        assert_eq!(S::Ended.confirm(), Ok(S::Ended));
    }

    #[test]
    fn what_a_container_may_hold_cannot_be_released() {
        for state in S::ALL {
            assert_eq!(state.release().is_err(), state.may_be_in_container(), "{state}");
        }
    }

    #[test]
    fn nothing_is_proven_before_it_is_issued() {
        assert!(S::Reserved.confirm().is_err());
        assert!(S::Reserved.end().is_err());
        assert!(S::Confirmed.end().is_err(), "without a withdrawal nothing ends");
    }

    #[test]
    fn an_ended_allocation_never_comes_back() {
        for step in [S::commit, S::confirm, S::begin_return, S::end, S::release] {
            assert!(matches!(step(S::Ended), Err(_) | Ok(S::Ended)));
        }
        assert!(S::Ended.call_return_off(true).is_err());
    }

    #[test]
    fn names_are_read_back() {
        for state in S::ALL {
            assert_eq!(state.name().parse(), Ok(*state));
        }
    }
}
