//! What may be wrong with a chain, and how that is written down.

use std::fmt;

/// Something about a container that support has to look at. It stops new licenses, never running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// The container follows another chain than the one that was issued.
    Fork,
    /// The container was set back to an earlier state.
    Rollback,
    /// The container runs in two places.
    Clone,
}

impl Suspicion {
    const ALL: [Self; 3] = [Self::Fork, Self::Rollback, Self::Clone];

    /// The word in tables, events and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Rollback => "rollback",
            Self::Clone => "clone",
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All suspicions of one chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspicions(u8);

impl Suspicions {
    /// No suspicion.
    pub const NONE: Self = Self(0);

    const fn bit(suspicion: Suspicion) -> u8 {
        1 << suspicion as u8
    }

    /// Adds one and tells whether it is new.
    pub fn add(&mut self, suspicion: Suspicion) -> bool {
        let new = !self.contains(suspicion);
        self.0 |= Self::bit(suspicion);
        new
    }

    /// Whether this one is there.
    #[must_use]
    pub const fn contains(self, suspicion: Suspicion) -> bool {
        self.0 & Self::bit(suspicion) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each one that is there.
    pub fn iter(self) -> impl Iterator<Item = Suspicion> {
        Suspicion::ALL.into_iter().filter(move |suspicion| self.contains(*suspicion))
    }

    /// Reads what [`Suspicions`] writes as text; nothing for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::NONE;
        for word in text.split(',').filter(|word| !word.is_empty()) {
            all.add(Suspicion::ALL.into_iter().find(|suspicion| suspicion.name() == word)?);
        }
        Some(all)
    }
}

impl fmt::Display for Suspicions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, suspicion) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(suspicion.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_survives_its_text() {
        for bits in 0..8 {
            let set = Suspicions(bits);
            assert_eq!(Suspicions::parse(&set.to_string()), Some(set));
        }
        assert_eq!(Suspicions::parse("fork,theft"), None);
    }

    #[test]
    fn adding_twice_is_new_once() {
        let mut set = Suspicions::NONE;
        assert!(set.add(Suspicion::Rollback));
        assert!(!set.add(Suspicion::Rollback));
        assert!(!set.contains(Suspicion::Fork));
    }
}
