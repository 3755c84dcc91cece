//! Versions of the program that reads files.

use std::fmt;
use std::str::FromStr;

use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};

/// Version of the licence server that holds a container: three numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeVersion {
    /// Incompatible changes.
    pub major: u16,
    /// Added features.
    pub minor: u16,
    /// Repairs.
    pub patch: u16,
}

impl RuntimeVersion {
    /// A version from its three numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for RuntimeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a runtime version is three numbers with points, such as 1.4.0")]
pub struct RuntimeVersionError;

impl FromStr for RuntimeVersion {
    type Err = RuntimeVersionError;

    fn from_str(text: &str) -> Result<Self, RuntimeVersionError> {
        let mut parts = text.split('.');
        let mut number = || -> Option<u16> {
            let part = parts.next()?;
            (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
        };
        let version = number().zip(number()).zip(number());
        match (version, parts.next()) {
            (Some(((major, minor), patch)), None) => Ok(Self { major, minor, patch }),
            _ => Err(RuntimeVersionError),
        }
    }
}

impl Canonical for RuntimeVersion {
    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        writer.uint(u64::from(self.major));
        writer.uint(u64::from(self.minor));
        writer.uint(u64::from(self.patch));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if reader.array(3)? != 3 {
            return Err(CborError::Value("a version has three numbers"));
        }
        Ok(Self { major: reader.u16()?, minor: reader.u16()?, patch: reader.u16()? })
    }
}
