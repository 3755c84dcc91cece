//! Versions: of the licence server that a license needs, and of the program that a license is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::set::named_enum;

/// The option `minimum_version`: the oldest licence server that may serve the license.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MinimumVersion(pub semver::Version);

/// The option `unit_counter`: units that the vendor granted in all. What was used of them is the device's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitCounter(pub u64);

named_enum! {
    /// The line of releases that a license is for.
    enum Edition, unknown UnknownEdition;
    /// A set of editions.
    set Editions;
    /// Long-lived releases.
    Steady = "steady",
    /// Every release.
    Progress = "progress",
}

/// A program's version of two numbers, such as `24.11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseVersion {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
}

/// A text that is no version of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a release version is a text of two numbers such as \"24.11\"")]
pub struct ReleaseVersionError;

impl FromStr for ReleaseVersion {
    type Err = ReleaseVersionError;

    fn from_str(text: &str) -> Result<Self, ReleaseVersionError> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().ok_or(ReleaseVersionError)
        };
        let (major, minor) = text.split_once('.').ok_or(ReleaseVersionError)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.major, self.minor)
    }
}

impl Serialize for ReleaseVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReleaseVersion {
    /// Takes text alone: as a number 24.10 would arrive as 24.1. YAML gives the text even without quotes.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Quoted;
        impl serde::de::Visitor<'_> for Quoted {
            type Value = ReleaseVersion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a release version in quotes such as \"24.11\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ReleaseVersion, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Quoted)
    }
}

/// The option `release`: the edition and version that a license is for; used when a program asks for the best match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The edition.
    pub edition: Edition,
    /// The version.
    pub version: ReleaseVersion,
}
