//! Surroundings for tests.

use lictor_binding::{Group, Profile, Reading, Seal, TraitKind};

pub(crate) const SECRET: &[u8] = b"the secret of a container";

/// Everything that the profile knows can be read.
pub(crate) fn all(profile: Profile) -> Reading {
    let mut reading = Reading::new();
    for kind in kinds(profile) {
        reading.note(kind, format!("value of {}", kind.name()).as_bytes());
    }
    reading
}

/// The same surroundings with some traits changed.
pub(crate) fn changed(reading: &Reading, kinds: &[TraitKind]) -> Reading {
    let mut other = reading.clone();
    for &kind in kinds {
        let value = [reading.get(kind).unwrap_or_default(), b" changed"].concat();
        other.note(kind, &value);
    }
    other
}

/// The same surroundings with some traits not readable.
pub(crate) fn without(reading: &Reading, kinds: &[TraitKind]) -> Reading {
    let mut other = Reading::new();
    for kind in reading.kinds().filter(|kind| !kinds.contains(kind)) {
        other.note(kind, reading.get(kind).unwrap_or_default());
    }
    other
}

pub(crate) fn kinds(profile: Profile) -> Vec<TraitKind> {
    profile.groups().iter().flat_map(|&group| traits(profile, group)).map(|(kind, _)| kind).collect()
}

pub(crate) fn traits(profile: Profile, group: Group) -> Vec<(TraitKind, u8)> {
    profile.traits(group).to_vec()
}

pub(crate) fn sealed(profile: Profile, reading: &Reading) -> Seal {
    Seal::close(profile, reading, SECRET, [7; 32]).expect("enough to seal to")
}
