//! The states of a saga and the steps between them.
//!
//! `requested -> reserved -> issued -> completed -> confirmed`. Before anything was issued it may end:
//! `requested -> refused`, `reserved -> refusing -> refused`. From `issued` on there is only forward. A saga that can
//! neither go on nor end stays where it is and is *stalled*: somebody must look.

use std::{fmt, str::FromStr};

/// What a saga does to its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A customer puts licenses of a ticket in.
    Activate,
    /// The vendor puts licenses in, takes licenses out, or both.
    Push,
    /// The vendor takes licenses back for good.
    Withdraw,
    /// A customer gives licenses back.
    Return,
    /// Seats leave for another container: the first leg of a transfer.
    Depart,
    /// Seats that left another container come in: the second leg.
    Arrive,
    /// The technical end of licenses is moved.
    Renew,
    /// Licenses of a lost container go into a new one.
    Replace,
    /// The container's chain begins anew.
    Rebase,
}

/// Where a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Asked for; nothing is set aside.
    Requested,
    /// License-central has set everything aside.
    Reserved,
    /// The update was issued.
    Issued,
    /// License-central has noted it and it was announced.
    Completed,
    /// The container proved that it took the update, or there was nothing to prove.
    Confirmed,
    /// It ends without an update; what was set aside is being given back.
    Refusing,
    /// Ended without an update; the reason is kept.
    Refused,
}

/// A step that cannot be made from where a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a saga that is {from} cannot become {to}")]
pub struct WrongStep {
    /// Where it stands.
    pub from: State,
    /// Where it should go.
    pub to: State,
}

impl Kind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::Activate,
        Self::Push,
        Self::Withdraw,
        Self::Return,
        Self::Depart,
        Self::Arrive,
        Self::Renew,
        Self::Replace,
        Self::Rebase,
    ];

    /// The name in tables and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Push => "push",
            Self::Withdraw => "withdraw",
            Self::Return => "return",
            Self::Depart => "depart",
            Self::Arrive => "arrive",
            Self::Renew => "renew",
            Self::Replace => "replace",
            Self::Rebase => "rebase",
        }
    }
}

impl State {
    /// All states.
    pub const ALL: &'static [Self] = &[
        Self::Requested,
        Self::Reserved,
        Self::Issued,
        Self::Completed,
        Self::Confirmed,
        Self::Refusing,
        Self::Refused,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Reserved => "reserved",
            Self::Issued => "issued",
            Self::Completed => "completed",
            Self::Confirmed => "confirmed",
            Self::Refusing => "refusing",
            Self::Refused => "refused",
        }
    }

    /// Goes to another state.
    ///
    /// # Errors
    /// [`WrongStep`] when no step leads there.
    pub const fn to(self, to: Self) -> Result<Self, WrongStep> {
        let leads = matches!(
            (self, to),
            (Self::Requested, Self::Reserved | Self::Refusing | Self::Refused | Self::Confirmed)
                | (Self::Reserved, Self::Issued | Self::Refusing)
                | (Self::Issued, Self::Completed)
                | (Self::Completed, Self::Confirmed)
                | (Self::Refusing, Self::Refused)
        );
        if leads { Ok(to) } else { Err(WrongStep { from: self, to }) }
    }

    /// Whether the caller who asked for it can be answered.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Completed | Self::Confirmed | Self::Refused)
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Confirmed | Self::Refused)
    }
}

macro_rules! named {
    ($type:ty, $unknown:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        #[doc = concat!("A name that is no ", $what, ".")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("this is no {}", $what)]
        pub struct $unknown;

        impl FromStr for $type {
            type Err = $unknown;

            fn from_str(name: &str) -> Result<Self, $unknown> {
                Self::ALL.iter().copied().find(|value| value.name() == name).ok_or($unknown)
            }
        }
    };
}

named!(Kind, UnknownKind, "kind of a saga");
named!(State, UnknownState, "state of a saga");

#[cfg(test)]
mod tests {
    use super::{State as S, *};

    #[test]
    fn once_issued_there_is_only_forward() {
        for to in S::ALL {
            assert_eq!(S::Issued.to(*to).is_ok(), *to == S::Completed, "issued -> {to}");
            assert_eq!(S::Completed.to(*to).is_ok(), *to == S::Confirmed, "completed -> {to}");
        }
    }

    #[test]
    fn what_is_set_aside_is_given_back_before_the_end() {
        assert!(S::Reserved.to(S::Refused).is_err());
        assert_eq!(S::Reserved.to(S::Refusing), Ok(S::Refusing));
        for to in S::ALL {
            assert_eq!(S::Refusing.to(*to).is_ok(), *to == S::Refused, "refusing -> {to}");
        }
    }

    #[test]
    fn nothing_leads_out_of_an_end() {
        for to in S::ALL {
            assert!(S::Confirmed.to(*to).is_err());
            assert!(S::Refused.to(*to).is_err());
        }
    }

    #[test]
    fn no_state_leads_to_itself_or_back_to_the_start() {
        for state in S::ALL {
            assert!(state.to(*state).is_err());
            assert!(state.to(S::Requested).is_err());
        }
    }

    #[test]
    fn names_are_read_back() {
        for state in S::ALL {
            assert_eq!(state.name().parse(), Ok(*state));
        }
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
    }
}
