//! Keys that a seat gives the use of. They live in the licence server and never leave it.

use std::fmt;
use std::ops::Deref;

use lictor_signing::cbor;
use lictor_signing::{PublicKey, Signature, program_signature_message};
use zeroize::Zeroizing;

/// Which of a product's keys to use. Whatever differs here gives another key.
///
/// ```
/// use lictor_sdk::KeyChoice;
///
/// let levels = KeyChoice::new(1).code(b"level pack").secret(0);
/// assert_ne!(levels, KeyChoice::new(2).code(b"level pack").secret(0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChoice(pub(crate) lictor_signing::KeyChoice);

impl KeyChoice {
    /// The key with this number; a product has as many as its vendor likes.
    #[must_use]
    pub fn new(selector: u32) -> Self {
        Self(lictor_signing::KeyChoice { selector, ..Default::default() })
    }

    /// The program's own part, at most 64 bytes: whoever does not know it does not get the key.
    #[must_use]
    pub fn code(mut self, code: impl Into<Vec<u8>>) -> Self {
        self.0.code = code.into();
        self
    }

    /// An entry of the item's secret data takes part, by its number, 0 to 127.
    #[must_use]
    pub const fn secret(mut self, number: u8) -> Self {
        self.0.secret = Some(number);
        self
    }

    /// Only the container that serves the seat has the key.
    #[must_use]
    pub const fn of_container(mut self) -> Self {
        self.0.of_container = true;
        self
    }

    /// The item's protected data take part: when the vendor changes them, the key is another one.
    #[must_use]
    pub const fn of_protected_data(mut self) -> Self {
        self.0.of_protected_data = true;
        self
    }

    /// The units used so far take part: the key changes with every taking of units.
    #[must_use]
    pub const fn of_units(mut self) -> Self {
        self.0.of_units = true;
        self
    }
}

/// The public halves of a product's keys: what a vendor's build seals contents to, and what programs check signatures by.
/// Get them once with [`Seat::program_keys`](crate::Seat::program_keys) or `lictor content keys`, and compile them in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramKeys(pub(crate) lictor_signing::ProgramKeys);

/// Bytes that are no keys of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are not the keys of a product, as lictor content keys writes them")]
pub struct KeysError;

impl ProgramKeys {
    /// Reads what [`ProgramKeys::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`KeysError`] for all other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeysError> {
        cbor::decode(bytes).map(Self).map_err(|_| KeysError)
    }

    /// The bytes for a file. They are public: nothing can be opened or signed with them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&self.0)
    }

    /// The vendor.
    #[must_use]
    pub const fn firm_code(&self) -> u32 {
        self.0.firm_code
    }

    /// The product.
    #[must_use]
    pub const fn product_code(&self) -> u32 {
        self.0.product_code
    }

    /// Which of the product's keys they belong to.
    #[must_use]
    pub fn choice(&self) -> KeyChoice {
        KeyChoice(self.0.choice.clone())
    }

    /// Whether a signature is the product's over exactly this message.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        verifies(&self.0.verifying_key, message, signature)
    }
}

fn verifies(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    key.verifies(&program_signature_message(message), &Signature::from_bytes(*signature))
}

/// Bytes that were decrypted. They are wiped from memory when dropped, and never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain(pub(crate) Zeroizing<Vec<u8>>);

impl Deref for Plain {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Plain {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plain({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decrypted_is_not_shown() {
        let plain = Plain(Zeroizing::new(b"secret".to_vec()));
        assert_eq!(format!("{plain:?}"), "Plain(6 bytes)");
        assert_eq!(&plain[..], b"secret");
    }

    #[test]
    fn nonsense_is_no_key_file() {
        assert_eq!(ProgramKeys::from_bytes(b""), Err(KeysError));
        assert_eq!(ProgramKeys::from_bytes(&[0xA0]), Err(KeysError));
    }
}
