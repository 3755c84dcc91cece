//! A key in memory.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use lictor_signing::{PublicKey, Signature, Signer, SignerError};
use zeroize::Zeroizing;

/// One Ed25519 key made from 32 secret bytes. The bytes are wiped from memory when it is dropped.
#[derive(Clone)]
pub struct MemorySigner {
    key: SigningKey,
    public: PublicKey,
}

/// The name under which tests and containers know it.
pub type EphemeralSigner = MemorySigner;

impl MemorySigner {
    /// The key of these secret bytes; the same bytes give the same key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = PublicKey::from_bytes(key.verifying_key().as_bytes())
            .expect("a key made from a clamped scalar is never of small order and always canonical");
        Self { key, public }
    }

    /// A key from fresh bytes of the operating system.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, SignerError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| SignerError::Unavailable(error.to_string()))?;
        Ok(Self::from_seed(&seed))
    }
}

impl Signer for MemorySigner {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        Ok(Signature::from_bytes(self.key.sign(message).to_bytes()))
    }

    fn blocks(&self) -> bool {
        false
    }
}

impl fmt::Debug for MemorySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySigner({:?})", self.public)
    }
}
