//! The life of an allocation: the part of a license that lies, or is about to lie, in one container.
//!
//! `reserved -> collected -> confirmed -> returning -> ended`; `reserved -> ended` when nothing was issued; `awaited` instead
//! of `reserved` for seats that left another container. A container may have taken an update without anybody having proof of
//! it, so from `collected` on only proof ends a part, or the vendor writes it off with its lost container.

use std::{fmt, str::FromStr};

/// Where an allocation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AllocationState {
    /// Its seats left another container and lie nowhere until an activation carries them in.
    Awaited,
    /// Held for an activation that has issued nothing yet.
    Reserved,
    /// The update that carries it was issued; the container may have it.
    Collected,
    /// The container proved that it has it.
    Confirmed,
    /// An update that takes it out was issued; the container may still have it.
    Returning,
    /// The container has it no more, or never got it.
    Ended,
    /// Its container was lost and blocked, and nothing was put in its place yet: its seats wait for a replacement, and no
    /// proof from there counts any more.
    Lost,
    /// Its container is lost, and its seats count no more: they went into another one, or the vendor took them back.
    WrittenOff,
}

/// A step that an allocation cannot make from where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an allocation that is {0} cannot be {1}")]
pub struct WrongStep(AllocationState, &'static str);

impl AllocationState {
    /// All states.
    pub const ALL: &'static [Self] = &[
        Self::Awaited,
        Self::Reserved,
        Self::Collected,
        Self::Confirmed,
        Self::Returning,
        Self::Lost,
        Self::Ended,
        Self::WrittenOff,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Reserved => "reserved",
            Self::Collected => "collected",
            Self::Confirmed => "confirmed",
            Self::Returning => "returning",
            Self::Lost => "lost",
            Self::Ended => "ended",
            Self::WrittenOff => "written-off",
        }
    }

    /// Whether the container may hold it now.
    #[must_use]
    pub const fn may_be_in_container(self) -> bool {
        matches!(self, Self::Collected | Self::Confirmed | Self::Returning | Self::Lost)
    }

    /// Whether it is in what the container holds once everything issued has arrived.
    #[must_use]
    pub const fn is_issued(self) -> bool {
        matches!(self, Self::Collected | Self::Confirmed)
    }

    /// Whether it is over for good and holds no seats.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::WrittenOff)
    }

    /// The update that carries it was issued.
    ///
    /// # Errors
    /// [`WrongStep`] when it had ended: then nothing may be issued for it.
    pub const fn commit(self) -> Result<Self, WrongStep> {
        match self {
            Self::Reserved | Self::Awaited => Ok(Self::Collected),
            Self::Collected | Self::Confirmed | Self::Returning | Self::Lost => Ok(self),
            Self::Ended | Self::WrittenOff => Err(WrongStep(self, "collected")),
        }
    }

    /// Proof of arrival. It may come late, after the part was taken out or written off, and then says nothing new.
    ///
    /// # Errors
    /// [`WrongStep`] when nothing was issued yet.
    pub const fn confirm(self) -> Result<Self, WrongStep> {
        match self {
            Self::Awaited | Self::Reserved => Err(WrongStep(self, "confirmed")),
            Self::Collected => Ok(Self::Confirmed),
            Self::Confirmed | Self::Returning | Self::Lost | Self::Ended | Self::WrittenOff => Ok(self),
        }
    }

    /// An update that takes it out was issued.
    ///
    /// # Errors
    /// [`WrongStep`] when the container was not to hold it.
    pub const fn leave(self) -> Result<Self, WrongStep> {
        match self {
            Self::Collected | Self::Confirmed => Ok(Self::Returning),
            _ => Err(WrongStep(self, "returned")),
        }
    }

    /// The container has it no more: proven by itself, or by the date on which the entry ended.
    ///
    /// # Errors
    /// [`WrongStep`] when nothing was issued that takes it out.
    pub const fn end(self) -> Result<Self, WrongStep> {
        match self {
            Self::Returning | Self::Ended => Ok(Self::Ended),
            Self::WrittenOff => Ok(Self::WrittenOff),
            _ => Err(WrongStep(self, "ended")),
        }
    }

    /// Its container was lost and blocked with something else that lay in it; also before it got there.
    ///
    /// # Errors
    /// [`WrongStep`] when it is over.
    pub const fn lose(self) -> Result<Self, WrongStep> {
        match self {
            Self::Ended | Self::WrittenOff => Err(WrongStep(self, "lost")),
            _ => Ok(Self::Lost),
        }
    }

    /// Its container is lost, and its seats are no longer there for anybody.
    ///
    /// # Errors
    /// [`WrongStep`] when no container may hold it.
    pub const fn write_off(self) -> Result<Self, WrongStep> {
        match self {
            Self::Collected | Self::Confirmed | Self::Returning | Self::Lost | Self::WrittenOff => Ok(Self::WrittenOff),
            _ => Err(WrongStep(self, "written off")),
        }
    }

    /// The plan that put it in ended with nothing issued.
    ///
    /// # Errors
    /// [`WrongStep`] when an update may carry it, or its seats left another container for it.
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

/// What a plan does with a part that lies in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// The vendor takes it back for good.
    Withdrawn,
    /// The customer gives it back.
    Returned,
    /// It leaves for another container.
    Departed,
    /// Its days go to another license of the same subscription.
    Merged,
    /// It ran out and is cleared away.
    Cleared,
    /// It goes into a new container in place of this lost one.
    WrittenOff,
    /// It stays and gets a later end.
    Renewed,
    /// Its seats left another container and come in.
    Arrived,
}

impl Intent {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Withdrawn,
        Self::Returned,
        Self::Departed,
        Self::Merged,
        Self::Cleared,
        Self::WrittenOff,
        Self::Renewed,
        Self::Arrived,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Withdrawn => "withdrawn",
            Self::Returned => "returned",
            Self::Departed => "departed",
            Self::Merged => "merged",
            Self::Cleared => "cleared",
            Self::WrittenOff => "written-off",
            Self::Renewed => "renewed",
            Self::Arrived => "arrived",
        }
    }

    /// Whether the segment of the plan takes the part out of the container that the plan changes.
    #[must_use]
    pub const fn takes_out(self) -> bool {
        !matches!(self, Self::WrittenOff | Self::Renewed | Self::Arrived)
    }
}

impl FromStr for Intent {
    type Err = UnknownAllocationState;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|intent| intent.name() == name).ok_or(UnknownAllocationState)
    }
}

#[cfg(test)]
mod tests {
    use super::{AllocationState as S, Intent};

    #[test]
    fn late_proof_of_arrival_does_not_undo_a_withdrawal() {
        assert_eq!(S::Returning.confirm(), Ok(S::Returning));
        assert_eq!(S::Ended.confirm(), Ok(S::Ended));
    }

    #[test]
    fn no_proof_from_a_lost_container_counts() {
        assert_eq!(S::WrittenOff.confirm(), Ok(S::WrittenOff));
        assert_eq!(S::WrittenOff.end(), Ok(S::WrittenOff));
        assert!(S::WrittenOff.leave().is_err());
        assert_eq!(S::Lost.confirm(), Ok(S::Lost));
        assert!(S::Lost.leave().is_err() && S::Lost.end().is_err());
    }

    #[test]
    fn what_a_container_may_hold_cannot_be_released() {
        for state in S::ALL.iter().filter(|state| state.may_be_in_container()) {
            assert!(state.release().is_err(), "{state}");
        }
    }

    #[test]
    fn seats_that_left_another_container_are_never_set_free() {
        assert!(S::Awaited.release().is_err() && S::Awaited.end().is_err());
        assert_eq!(S::Awaited.commit(), Ok(S::Collected));
    }

    #[test]
    fn nothing_is_proven_before_it_is_issued() {
        for state in [S::Awaited, S::Reserved] {
            assert!(state.confirm().is_err() && state.end().is_err() && state.leave().is_err());
        }
        assert!(S::Confirmed.end().is_err(), "without an update that takes it out nothing ends");
    }

    #[test]
    fn what_is_over_never_comes_back() {
        for over in [S::Ended, S::WrittenOff] {
            for step in [S::commit, S::confirm, S::leave, S::end, S::lose, S::write_off] {
                assert!(step(over).is_err() || step(over) == Ok(over));
            }
            assert!(over.release().is_err() || over.release() == Ok(over), "{over}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for state in S::ALL {
            assert_eq!(state.name().parse(), Ok(*state));
        }
        for intent in Intent::ALL {
            assert_eq!(intent.name().parse(), Ok(*intent));
        }
    }
}
