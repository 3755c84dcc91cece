//! Key files of people: a root key that one holder keeps, used offline.
//!
//! The file is text. Sealed by a passphrase it names its own cost (Argon2id) and holds the 32 secret bytes under
//! XChaCha20-Poly1305; every line before the sealed one is authenticated with it. Without a passphrase it has the form
//! of [`crate::FileKeyStore`]. A public key travels as a file of its own.

use std::fmt::Write as _;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use lictor_signing::{PublicKey, Signer as _};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::MemorySigner;

/// Longest key file in bytes.
pub const MAX_FILE_BYTES: usize = 1024;
const PLAIN: &str = "lictor-key-v1";
const SEALED: &str = "lictor-key-v2";
const PUBLIC: &str = "lictor-public-key-v1";
/// Cost of a new file: 64 MiB, three passes. A file may ask for up to 1 GiB and sixteen.
const COST: Cost = Cost { kibibytes: 64 * 1024, passes: 3 };
const MOST: Cost = Cost { kibibytes: 1024 * 1024, passes: 16 };
const LEAST: Cost = Cost { kibibytes: 8 * 1024, passes: 1 };

/// Why a key file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HolderError {
    /// The text is not a key file, or was changed.
    #[error("this is not a key file, or it is damaged")]
    Damaged,
    /// The text is not a public key file.
    #[error("this is not a public key")]
    NotPublic,
    /// The file is sealed and no passphrase was given.
    #[error("the key file needs its passphrase")]
    NeedsPassphrase,
    /// The passphrase does not open the file, or the file was changed.
    #[error("the passphrase does not open this key file")]
    WrongPassphrase,
    /// The system gives no random bytes or too little memory.
    #[error("the system lacks random bytes or memory")]
    System,
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    kibibytes: u32,
    passes: u32,
}

/// A new key with its secret bytes, to be written to a file once.
pub struct HolderKey {
    seed: Zeroizing<[u8; 32]>,
}

impl HolderKey {
    /// A key from fresh bytes of the operating system.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<Self, HolderError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| HolderError::System)?;
        Ok(Self { seed })
    }

    /// The signer.
    #[must_use]
    pub fn signer(&self) -> MemorySigner {
        MemorySigner::from_seed(&self.seed)
    }

    /// The file, sealed when a passphrase is given.
    ///
    /// # Errors
    /// When the system gives no random bytes or too little memory.
    pub fn to_text(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, HolderError> {
        let Some(passphrase) = passphrase else {
            return Ok(Zeroizing::new(format!("{PLAIN}\n{}\n", *hex(self.seed.as_slice()))));
        };
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        getrandom::fill(&mut salt).map_err(|_| HolderError::System)?;
        getrandom::fill(&mut nonce).map_err(|_| HolderError::System)?;
        let head = format!(
            "{SEALED}\npublic {}\nargon2id {} {} {}\nnonce {}\n",
            *hex(self.signer().public_key().as_bytes()),
            COST.kibibytes,
            COST.passes,
            *hex(&salt),
            *hex(&nonce)
        );
        let cipher = cipher(passphrase, &salt, COST)?;
        let payload = Payload { msg: self.seed.as_slice(), aad: head.as_bytes() };
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| HolderError::System)?;
        Ok(Zeroizing::new(format!("{head}sealed {}\n", *hex(&sealed))))
    }

    /// Opens a file. The passphrase is not asked for when the file has none.
    ///
    /// # Errors
    /// When the text is no key file, or the passphrase is missing or wrong.
    pub fn open(text: &str, passphrase: Option<&str>) -> Result<Self, HolderError> {
        if let Some(rest) = text.strip_prefix(PLAIN) {
            let digits =
                rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n')).ok_or(HolderError::Damaged)?;
            return Ok(Self { seed: Zeroizing::new(unhex(digits).ok_or(HolderError::Damaged)?) });
        }
        let sealed = Sealed::parse(text).ok_or(HolderError::Damaged)?;
        let passphrase = passphrase.ok_or(HolderError::NeedsPassphrase)?;
        let payload = Payload { msg: &sealed.sealed, aad: sealed.head.as_bytes() };
        let seed = cipher(passphrase, &sealed.salt, sealed.cost)?
            .decrypt(&XNonce::from(sealed.nonce), payload)
            .map_err(|_| HolderError::WrongPassphrase)?;
        let seed = Zeroizing::new(seed);
        let key = Self { seed: Zeroizing::new(seed.as_slice().try_into().map_err(|_| HolderError::Damaged)?) };
        if key.signer().public_key().as_bytes() == &sealed.public { Ok(key) } else { Err(HolderError::Damaged) }
    }

    /// Whether a file needs a passphrase.
    ///
    /// # Errors
    /// When the text is no key file.
    pub fn is_sealed(text: &str) -> Result<bool, HolderError> {
        if text.starts_with(PLAIN) {
            return Ok(false);
        }
        Sealed::parse(text).map(|_| true).ok_or(HolderError::Damaged)
    }
}

struct Sealed<'t> {
    head: &'t str,
    public: [u8; 32],
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 24],
    sealed: [u8; 48],
}

impl<'t> Sealed<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        if text.len() > MAX_FILE_BYTES {
            return None;
        }
        let (head, sealed) = text.split_at(text.find("sealed ")?);
        let mut lines = head.strip_suffix('\n')?.split('\n');
        if lines.next()? != SEALED {
            return None;
        }
        let public = unhex(lines.next()?.strip_prefix("public ")?)?;
        let mut cost = lines.next()?.strip_prefix("argon2id ")?.split(' ');
        let (kibibytes, passes) = (cost.next()?.parse().ok()?, cost.next()?.parse().ok()?);
        let salt = unhex(cost.next()?)?;
        let nonce = unhex(lines.next()?.strip_prefix("nonce ")?)?;
        // Whoever sends a file must not choose how much memory opening it takes.
        let fits = (LEAST.kibibytes..=MOST.kibibytes).contains(&kibibytes)
            && (LEAST.passes..=MOST.passes).contains(&passes)
            && cost.next().is_none()
            && lines.next().is_none();
        let sealed = unhex(sealed.strip_prefix("sealed ")?.strip_suffix('\n')?)?;
        fits.then_some(Self { head, public, cost: Cost { kibibytes, passes }, salt, nonce, sealed })
    }
}

/// The file of a public key.
#[must_use]
pub fn public_text(key: &PublicKey) -> String {
    format!("{PUBLIC}\n{}\n", *hex(key.as_bytes()))
}

/// Reads the file of a public key.
///
/// # Errors
/// For anything else, and for keys that prove nothing.
pub fn read_public(text: &str) -> Result<PublicKey, HolderError> {
    let digits = text.trim_end().strip_prefix(PUBLIC).and_then(|rest| rest.strip_prefix('\n'));
    let bytes = digits.and_then(unhex).ok_or(HolderError::NotPublic)?;
    PublicKey::from_bytes(&bytes).map_err(|_| HolderError::NotPublic)
}

fn cipher(passphrase: &str, salt: &[u8; 16], cost: Cost) -> Result<XChaCha20Poly1305, HolderError> {
    let params = Params::new(cost.kibibytes, cost.passes, 1, Some(32)).map_err(|_| HolderError::Damaged)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
        .map_err(|_| HolderError::System)?;
    XChaCha20Poly1305::new_from_slice(key.as_slice()).map_err(|_| HolderError::System)
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    bytes.iter().fold(Zeroizing::new(String::with_capacity(bytes.len() * 2)), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}
