//! How far a segment is on its way: reserved, issued, confirmed, and never back.

use std::fmt;

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Changes of what the container holds.
    Update,
    /// Takes everything out of a container that was blocked.
    Block,
    /// Begins a new epoch.
    Rebase,
}

impl Purpose {
    /// The word in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Block => "block",
            Self::Rebase => "rebase",
        }
    }

    /// Reads the word; nothing for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Update, Self::Block, Self::Rebase].into_iter().find(|purpose| purpose.name() == text)
    }

    /// How many events tell of such a segment when it leaves the house.
    #[must_use]
    pub const fn events(self) -> u64 {
        match self {
            Self::Update => 1,
            Self::Block | Self::Rebase => 2,
        }
    }
}

/// Where a segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Counter and bytes are fixed; the signature may be missing. Nobody outside has seen it.
    Reserved,
    /// Signed, stored for ever and announced.
    Issued,
    /// The container proved that it took it.
    Confirmed,
}

/// A step that the order of states does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a segment that is {from} cannot become {to}")]
pub struct StepRefused {
    /// The state it is in.
    pub from: SegmentState,
    /// The state that was asked for.
    pub to: SegmentState,
}

impl SegmentState {
    /// The word in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Issued => "issued",
            Self::Confirmed => "confirmed",
        }
    }

    /// Reads the word; nothing for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Reserved, Self::Issued, Self::Confirmed].into_iter().find(|state| state.name() == text)
    }

    /// The state after its signature was stored.
    ///
    /// # Errors
    /// From every state but reserved.
    pub fn issue(self) -> Result<Self, StepRefused> {
        self.step(Self::Reserved, Self::Issued)
    }

    /// The state after the container's proof.
    ///
    /// # Errors
    /// From every state but issued: what nobody got cannot be proven.
    pub fn confirm(self) -> Result<Self, StepRefused> {
        self.step(Self::Issued, Self::Confirmed)
    }

    fn step(self, from: Self, to: Self) -> Result<Self, StepRefused> {
        if self == from { Ok(to) } else { Err(StepRefused { from: self, to }) }
    }
}

impl fmt::Display for SegmentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentState::{Confirmed, Issued, Reserved};

    #[test]
    fn a_segment_only_goes_forward() {
        assert_eq!(Reserved.issue(), Ok(Issued));
        assert_eq!(Issued.confirm(), Ok(Confirmed));
        for state in [Issued, Confirmed] {
            assert!(state.issue().is_err());
        }
        for state in [Reserved, Confirmed] {
            assert!(state.confirm().is_err());
        }
    }
}
