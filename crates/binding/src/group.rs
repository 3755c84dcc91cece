//! How much of a group was recognised.

use std::fmt;

use crate::profile::{Group, TraitKind};

/// Result for one group. Holds no value of any trait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMatch {
    /// Which group.
    pub group: Group,
    /// Points of the traits that are as they were.
    pub matched: u32,
    /// Points that are needed.
    pub needed: u32,
    /// Points that were sealed.
    pub total: u32,
    /// Traits with another value than at sealing.
    pub changed: Vec<TraitKind>,
    /// Traits that cannot be read now.
    pub missing: Vec<TraitKind>,
}

impl GroupMatch {
    /// Whether enough is as it was.
    #[must_use]
    pub const fn is_enough(&self) -> bool {
        self.matched >= self.needed
    }
}

/// The results of all groups of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matches(pub Vec<GroupMatch>);

impl Matches {
    /// Whether every group reached its threshold.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.0.iter().all(GroupMatch::is_enough)
    }

    /// All traits with another value than at sealing.
    pub fn changed(&self) -> impl Iterator<Item = TraitKind> {
        self.0.iter().flat_map(|group| group.changed.iter().copied())
    }

    /// All traits that cannot be read now.
    pub fn missing(&self) -> impl Iterator<Item = TraitKind> {
        self.0.iter().flat_map(|group| group.missing.iter().copied())
    }
}

impl fmt::Display for Matches {
    /// For instance `host 6 of 7 points (5 needed), volume 2 of 9 (6 needed): volume root, key file changed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, group) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            let points = if position == 0 { " points" } else { "" };
            write!(
                f,
                "{comma}{} {} of {}{points} ({} needed)",
                group.group.name(),
                group.matched,
                group.total,
                group.needed
            )?;
        }
        let mut sign = ":";
        for (kinds, verb) in
            [(self.changed().collect::<Vec<_>>(), "changed"), (self.missing().collect(), "not readable")]
        {
            if !kinds.is_empty() {
                let names: Vec<_> = kinds.into_iter().map(TraitKind::name).collect();
                write!(f, "{sign} {} {verb}", names.join(", "))?;
                sign = ";";
            }
        }
        Ok(())
    }
}
