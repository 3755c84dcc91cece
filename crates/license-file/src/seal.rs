//! Sealing for one container: HPKE in base mode with X25519, HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! The ephemeral key comes from bytes that the caller gives, mixed with what is sealed. The same call gives the same
//! bytes, and a seed that is used twice by mistake still never gives two texts one key.

use std::convert::Infallible;
use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::FileError;

const INFO: &[u8] = b"lictor-segment-v1";

/// The public half of a container's sealing key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealingPublicKey(pub [u8; 32]);

impl fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingPublicKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The private half of a container's sealing key. It leaves the container never, and memory when dropped.
#[derive(Clone)]
pub struct SealingKey {
    secret: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: SealingPublicKey,
}

impl SealingKey {
    /// Derives the key from 32 secret random bytes; the same bytes give the same key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let (secret, public) = X25519HkdfSha256::derive_keypair(seed);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&public.to_bytes());
        Self { secret, public: SealingPublicKey(bytes) }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> SealingPublicKey {
        self.public
    }

    /// Opens what [`seal`] made for this key under the same header.
    ///
    /// # Errors
    /// [`FileError::Unreadable`] for everything else.
    pub fn open(&self, encapsulated: &[u8; 32], header: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let encapsulated =
            <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| FileError::Unreadable)?;
        let mut receiver = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.secret,
            &encapsulated,
            INFO,
        )
        .map_err(|_| FileError::Unreadable)?;
        receiver.open(sealed, header).map(Zeroizing::new).map_err(|_| FileError::Unreadable)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey(public {:?})", self.public)
    }
}

/// Seals `plain` so that only the container with `to` can read it, bound to `header`. Returns the encapsulated key and
/// the sealed bytes.
///
/// # Errors
/// [`FileError::Unreadable`] when `to` is not a key that anything can be sealed to.
pub fn seal(
    to: &SealingPublicKey,
    header: &[u8],
    plain: &[u8],
    ephemeral_seed: &[u8; 32],
) -> Result<([u8; 32], Vec<u8>), FileError> {
    let to = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.0).map_err(|_| FileError::Unreadable)?;
    let mut random = SeededRandom::new(ephemeral_seed, header, plain);
    let (encapsulated, mut sender) = hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &to,
        INFO,
        &mut random,
    )
    .map_err(|_| FileError::Unreadable)?;
    let sealed = sender.seal(plain, header).map_err(|_| FileError::Unreadable)?;
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&encapsulated.to_bytes());
    Ok((bytes, sealed))
}

/// Stretches the caller's random bytes for the library, which asks for a generator.
struct SeededRandom {
    seed: [u8; 32],
    block: u64,
}

impl SeededRandom {
    fn new(seed: &[u8; 32], header: &[u8], plain: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"lictor-ephemeral-seed-v1\0");
        hash.update(seed);
        hash.update(Sha256::digest(header));
        hash.update(Sha256::digest(plain));
        Self { seed: hash.finalize().into(), block: 0 }
    }
}

impl Drop for SeededRandom {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl TryRng for SeededRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        for chunk in target.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(b"lictor-ephemeral-v1\0");
            hash.update(self.seed);
            hash.update(self.block.to_be_bytes());
            self.block += 1;
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for SeededRandom {}
