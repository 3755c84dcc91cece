//! The chain of one container for one firm: every segment commits to all that came before it.

use std::fmt;

use lictor_licensing::id::FirmCode;
use lictor_signing::PublicKey;
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 value: a head of a chain, the hash of a segment, the digest of a state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of bytes under a name that keeps different uses apart.
    #[must_use]
    pub(crate) fn labeled(label: &str, bytes: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(label.as_bytes());
        hash.update([0]);
        hash.update(bytes);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Canonical for Digest {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        Ok(Self(reader.fixed()?))
    }
}

/// Names a container for ever: SHA-256 of its device public key. The serial is only a display name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub [u8; 32]);

impl ContainerId {
    /// The id of the container with this device key.
    #[must_use]
    pub fn of(device_key: &PublicKey) -> Self {
        Self(Sha256::digest(device_key.as_bytes()).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (value(pair[0])? << 4) | value(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Canonical for ContainerId {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        Ok(Self(reader.fixed()?))
    }
}

/// The head before the first segment. An epoch after the first one starts from the head it replaces.
#[must_use]
pub fn genesis(device_key: &PublicKey, firm_code: FirmCode, epoch: u32, replaces: Option<&Digest>) -> Digest {
    let mut writer = Writer::new();
    writer.record(|fields| {
        fields.field(0, |w| ContainerId::of(device_key).write(w));
        fields.field(1, |w| w.uint(u64::from(firm_code.get())));
        fields.field(2, |w| w.uint(u64::from(epoch)));
        fields.field(3, |w| w.bytes(device_key.as_bytes()));
        fields.option(4, replaces, |w, head| head.write(w));
    });
    Digest::labeled("lictor-genesis-v1", &writer.into_bytes())
}

/// The head after a segment: commits to the head before it and to the exact bytes that were signed.
#[must_use]
pub fn next_head(epoch: u32, previous: &Digest, segment: &Digest) -> Digest {
    let mut writer = Writer::new();
    writer.array(3);
    writer.uint(u64::from(epoch));
    previous.write(&mut writer);
    segment.write(&mut writer);
    Digest::labeled("lictor-chain-v1", &writer.into_bytes())
}
