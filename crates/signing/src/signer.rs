//! What signs: a key in a file, in a token, or in memory. Implementations live in `lictor_key_store`.

use thiserror::Error;

use crate::{PublicKey, Signature};

/// Holds one private key. A call may block on hardware, see [`Signer::blocks`].
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> PublicKey;

    /// Signs the message as it is. Callers that make files go through [`crate::Envelope::sign`], which puts the payload
    /// type in front.
    ///
    /// # Errors
    /// When the key cannot be used now.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError>;

    /// Whether a signature may wait for another process or a device: then async callers use a blocking thread. A key in
    /// memory takes less time than such a thread takes to wake up.
    fn blocks(&self) -> bool {
        true
    }
}

/// The key cannot sign.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignerError {
    /// The place of the key does not answer; trying later may work. No other key may take its place.
    #[error("the key store does not answer: {0}")]
    Unavailable(String),
    /// The key store refused for good.
    #[error("the key store refused to sign: {0}")]
    Refused(String),
}
