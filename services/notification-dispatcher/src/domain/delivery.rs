//! One event on its way to one destination.
//!
//! ```text
//! due ──claimed──> leased ──taken────> done
//!  ^ │               │ └────given up─> parked
//!  │ └──overtaken──> collapsed
//!  └──failed, or the lease ran out──┘
//! ```
//! `done`, `parked` and `collapsed` are the ends; a replay makes each of them due again.

use std::{fmt, str::FromStr};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Waits for its time.
    Due,
    /// Under a lease: its call runs or is about to.
    Leased,
    /// The receiver took it.
    Done,
    /// Tried for as long as the schedule says; kept for replay.
    Parked,
    /// A later record about the same license took its place before it was sent.
    Collapsed,
}

/// A step that a delivery cannot take from where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a delivery that is {from} cannot become {to}")]
pub struct InvalidTransition {
    from: DeliveryState,
    to: DeliveryState,
}

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state of a delivery")]
pub struct UnknownState(String);

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Due, Self::Leased, Self::Done, Self::Parked, Self::Collapsed];

    /// The word in tables and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Parked => "parked",
            Self::Collapsed => "collapsed",
        }
    }

    /// True while the delivery holds back later ones of its order key.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Due | Self::Leased)
    }

    /// The step to `to`, if it exists.
    pub const fn step(self, to: Self) -> Result<Self, InvalidTransition> {
        match (self, to) {
            (Self::Due, Self::Leased | Self::Collapsed)
            | (Self::Leased, Self::Due | Self::Done | Self::Parked)
            | (Self::Done | Self::Parked | Self::Collapsed, Self::Due) => Ok(to),
            (from, to) => Err(InvalidTransition { from, to }),
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeliveryState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_left_by_a_replay_only() {
        use DeliveryState::{Collapsed, Done, Due, Parked};
        for from in [Done, Parked, Collapsed] {
            for to in DeliveryState::ALL {
                assert_eq!(from.step(to).is_ok(), to == Due, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn only_a_leased_delivery_can_end() {
        use DeliveryState::{Done, Due, Leased, Parked};
        assert!(Due.step(Done).is_err());
        assert!(Due.step(Parked).is_err());
        assert_eq!(Leased.step(Done), Ok(Done));
        assert_eq!(Leased.step(Parked), Ok(Parked));
    }
}
