//! The destination key: what the secrets of destinations are sealed with in the tables, so that whoever steals the
//! database can neither sign notifications nor use credentials of receivers.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use sha2::{Digest, Sha256};

/// Bytes of a destination key.
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Seals and opens. `Debug` shows the key's public name alone.
#[derive(Clone)]
pub struct Seal([u8; KEY_BYTES]);

/// Bytes that were sealed with another key, for another place, or changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed in the tables does not open with this destination key")]
pub struct SealError;

impl Seal {
    /// A seal of 32 random bytes.
    pub const fn new(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }

    /// Seals `bytes` for one `place`, such as the settings of one destination; `nonce` is fresh and random.
    pub fn seal(&self, place: &str, bytes: &[u8], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        let payload = Payload { msg: bytes, aad: place.as_bytes() };
        let sealed = XChaCha20Poly1305::new(&self.0.into()).encrypt(&XNonce::from(nonce), payload);
        let mut all = nonce.to_vec();
        all.extend(sealed.expect("a few bytes in memory can be sealed"));
        all
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, bytes) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError)?;
        let payload = Payload { msg: bytes, aad: place.as_bytes() };
        XChaCha20Poly1305::new(&self.0.into()).decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = Sha256::new().chain_update(b"lictor-destination-key-id-v1\0").chain_update(self.0).finalize();
        let id: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        write!(f, "Seal({id})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_place_open_what_was_sealed() {
        let seal = Seal::new([7; 32]);
        let sealed = seal.seal("dst_1/settings", b"word", [1; 24]);
        assert_eq!(seal.open("dst_1/settings", &sealed), Ok(b"word".to_vec()));
        assert_eq!(seal.open("dst_2/settings", &sealed), Err(SealError));
        assert_eq!(Seal::new([8; 32]).open("dst_1/settings", &sealed), Err(SealError));
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(seal.open("dst_1/settings", &changed), Err(SealError), "byte {place}");
            assert_eq!(seal.open("dst_1/settings", &sealed[..place]), Err(SealError), "{place} bytes");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let seal = Seal::new(std::array::from_fn(|place| u8::try_from(place).expect("small")));
        assert!(!format!("{seal:?}").contains("0001020304"));
    }
}
