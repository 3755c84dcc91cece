//! The words that stand outside for values of the contract, and kinds of containers on the wire and in the domain: one
//! place for all services and programs.

use lictor_licensing::ContainerKind as Kind;

use crate::types::v1::{ContainerKind, LicenseState};

/// What stands for a value of a newer contract, and for none.
pub const UNKNOWN: &str = "unknown";

impl LicenseState {
    /// Every state that a license can be in.
    pub const STATES: [Self; 7] =
        [Self::Available, Self::Collected, Self::Confirmed, Self::Returning, Self::Withdrawn, Self::Merged, Self::Lost];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => UNKNOWN,
            Self::Available => "available",
            Self::Collected => "collected",
            Self::Confirmed => "confirmed",
            Self::Returning => "returning",
            Self::Withdrawn => "withdrawn",
            Self::Merged => "merged",
            Self::Lost => "lost",
        }
    }

    /// The state of this word; none for a word that stands for no state.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::STATES.into_iter().find(|state| state.word() == word)
    }

    /// The word for a number of the wire.
    #[must_use]
    pub fn word_of(number: i32) -> &'static str {
        Self::try_from(number).unwrap_or_default().word()
    }
}

impl ContainerKind {
    /// The kind in the domain; none when it is unspecified.
    #[must_use]
    pub const fn known(self) -> Option<Kind> {
        match self {
            Self::Unspecified => None,
            Self::Folder => Some(Kind::Folder),
            Self::Machine => Some(Kind::Machine),
            Self::Volume => Some(Kind::Volume),
            Self::Kubernetes => Some(Kind::Kubernetes),
            Self::Token => Some(Kind::Token),
            Self::Cloud => Some(Kind::Cloud),
        }
    }

    /// The word for a number of the wire.
    #[must_use]
    pub fn word_of(number: i32) -> &'static str {
        Self::try_from(number).unwrap_or_default().known().map_or(UNKNOWN, Kind::name)
    }
}

impl From<Kind> for ContainerKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Folder => Self::Folder,
            Kind::Machine => Self::Machine,
            Kind::Volume => Self::Volume,
            Kind::Kubernetes => Self::Kubernetes,
            Kind::Token => Self::Token,
            Kind::Cloud => Self::Cloud,
        }
    }
}

/// Unspecified when there is none.
impl From<Option<Kind>> for ContainerKind {
    fn from(kind: Option<Kind>) -> Self {
        kind.map_or(Self::Unspecified, Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LICENSE_STATE_AVAILABLE` without its prefix, as people write it.
    fn plain(name: &str, prefix: &str) -> String {
        name.trim_start_matches(prefix).to_ascii_lowercase().replace('_', "-")
    }

    #[test]
    fn words_are_the_names_of_the_contract() {
        for number in 1.. {
            let Ok(state) = LicenseState::try_from(number) else { break };
            assert_eq!(state.word(), plain(state.as_str_name(), "LICENSE_STATE_"));
            assert_eq!(LicenseState::of_word(state.word()), Some(state), "{state:?} is in the list");
        }
        for number in 1.. {
            let Ok(kind) = ContainerKind::try_from(number) else { break };
            assert_eq!(ContainerKind::word_of(number), plain(kind.as_str_name(), "CONTAINER_KIND_"));
        }
        assert_eq!((LicenseState::word_of(0), LicenseState::word_of(99)), (UNKNOWN, UNKNOWN));
        assert_eq!((ContainerKind::word_of(0), ContainerKind::word_of(99)), (UNKNOWN, UNKNOWN));
        assert_eq!(LicenseState::of_word(UNKNOWN), None);
    }

    #[test]
    fn kinds_survive_the_wire() {
        for kind in Kind::ALL.iter().copied() {
            assert_eq!(ContainerKind::from(kind).known(), Some(kind));
        }
        assert_eq!(ContainerKind::from(None).known(), None);
    }
}
