//! Keys that programs use with their seat. They come from the product key, the effective secret data, and the choice of the
//! program; neither they nor what they come from leave the server.
//!
//! A key depends on firm, product and choice, and on nothing that says where in which item the product sits. So the same
//! program works with every container that has a licence of its product.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use lictor_key_store::MemorySigner;
use lictor_license_file::seal::SealingKey;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::{ProductCode, SessionId};
use lictor_signing::cbor::{Canonical as _, Writer};
use lictor_signing::{KeyChoice, PublicKey, Signature, Signer as _, program_signature_message};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::ask::Moment;
use super::keeper::Keeper;
use super::session::Session;
use super::state::State;

/// Most bytes of a text that is encrypted, opened or signed.
pub const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Most bytes of associated data and of headers.
pub const MAX_ASSOCIATED_BYTES: usize = 1024;
/// Bytes that encryption adds: the nonce and the seal.
pub const SEALED_EXTRA_BYTES: usize = NONCE_BYTES + 16;

const NONCE_BYTES: usize = 24;
const SALT: &[u8] = b"lictor-program-key-v1";

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The vendor gave the container no key for the product.
    #[error("the container has no key of product {0}")]
    NoProductKey(ProductCode),
    /// The entry has no such secret data.
    #[error("the license has no secret data number {0}")]
    NoSecret(u8),
    /// The choice depends on units, and the entry counts none.
    #[error("the license counts no units, so no key can depend on them")]
    NoUnits,
    /// The container cannot be used now, such as without its token.
    #[error("the container of the licence server cannot be used now")]
    Suspended,
    /// The session is not there for this client.
    #[error("the session is not there, or this client has not proved that it is its own")]
    NoSession,
    /// The seat is out of a block; keys stay where the licence is.
    #[error("the seat is lent by another licence server, which keeps the product's keys")]
    Lent,
    /// The licence went away under the session.
    #[error("the license of the session is gone")]
    NoLicense,
    /// The bytes were not encrypted or sealed under this key, or were changed.
    #[error("the data were not encrypted for this license with this choice, or they were changed")]
    NotOurs,
}

impl CryptoError {
    /// The error for the wire.
    #[must_use]
    pub fn problem(self) -> Problem {
        let (code, next) = match self {
            Self::NoProductKey(_) => (ErrorCode::NotFound, "ask the vendor for an update file, and import it"),
            Self::NoSecret(_) => (ErrorCode::NotFound, "name secret data that the vendor put into the license"),
            Self::NoUnits => (ErrorCode::InvalidArgument, "choose a key that does not depend on units"),
            Self::Lent => {
                (ErrorCode::Unsupported, "name the lending licence server in CODEMETER_HOST of programs that use keys")
            }
            Self::NoLicense | Self::NoSession => (ErrorCode::NotFound, "take a seat again"),
            Self::Suspended => (ErrorCode::Unavailable, "look at the health of the licence server, which says why"),
            Self::NotOurs => (ErrorCode::FileDamaged, "check firm, product, choice and associated data, and the data"),
        };
        Problem::new(code, self.to_string(), next)
    }
}

/// The key of one choice. It is wiped from memory when dropped and never shown.
pub struct ProgramKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for ProgramKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProgramKey(..)")
    }
}

impl ProgramKey {
    /// The key of a session's entry under a choice.
    ///
    /// # Errors
    /// See [`CryptoError`].
    pub fn of(
        state: &State,
        session: &Session,
        container_id: &[u8; 32],
        choice: &KeyChoice,
    ) -> Result<Self, CryptoError> {
        if state.block(session.license).is_some() {
            return Err(CryptoError::Lent);
        }
        let firm = state.firms.get(&session.firm_code).ok_or(CryptoError::NoLicense)?;
        let license = firm.licenses.get(&session.license).ok_or(CryptoError::NoLicense)?;
        let entry = license.entry(session.part).ok_or(CryptoError::NoLicense)?;
        let product = session.product_code;
        let product_key = firm.keys.get(&product).ok_or(CryptoError::NoProductKey(product))?;
        let secret = match choice.secret {
            None => None,
            Some(number) => {
                let secrets = entry.options().secret_data.as_ref();
                let secret = secrets.and_then(|secrets| secrets.0.get(number)).ok_or(CryptoError::NoSecret(number))?;
                Some(secret)
            }
        };
        let protected = choice.of_protected_data.then(|| {
            let mut writer = Writer::new();
            let entries: Vec<_> = entry.options().protected_data.iter().flat_map(|data| data.iter()).collect();
            writer.list(&entries, |w, (number, bytes)| {
                w.array(2);
                w.uint(u64::from(*number));
                w.bytes(bytes);
            });
            Sha256::digest(writer.into_bytes())
        });
        let units = if choice.of_units {
            entry.options().unit_counter.ok_or(CryptoError::NoUnits)?;
            Some(license.state.part(entry.places().units).units_used)
        } else {
            None
        };
        // One spelling for each meaning, so that no two choices can meet in one key.
        let mut info = Writer::new();
        info.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(session.firm_code.get())));
            fields.field(1, |w| w.uint(u64::from(product.get())));
            fields.field(2, |w| choice.write(w));
            fields.option(3, choice.of_container.then_some(container_id), |w, id| w.bytes(id));
            fields.option(4, protected, |w, digest| w.bytes(&digest));
            fields.option(5, units, Writer::uint);
        });
        // The product key has a fixed length, so what follows it cannot be mistaken for a part of it.
        let material = Zeroizing::new([product_key.expose().as_slice(), secret.unwrap_or_default()].concat());
        Ok(Self(expand(&Hkdf::new(Some(SALT), &material), &info.into_bytes())))
    }

    fn derived(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        expand(&Hkdf::new(Some(SALT), self.0.as_slice()), purpose.as_bytes())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = self.derived("encrypt");
        XChaCha20Poly1305::new((&*key).into())
    }

    /// Encrypts `plain`; `nonce` is random.
    #[must_use]
    pub fn encrypt(&self, plain: &[u8], associated: &[u8], nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        let payload = Payload { msg: plain, aad: associated };
        let body = self.cipher().encrypt(&XNonce::from(*nonce), payload);
        let body = body.expect("a text is far smaller than the cipher's limit");
        [nonce.as_slice(), &body].concat()
    }

    /// Decrypts what [`ProgramKey::encrypt`] made.
    ///
    /// # Errors
    /// [`CryptoError::NotOurs`] for everything else.
    pub fn decrypt(&self, sealed: &[u8], associated: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(CryptoError::NotOurs)?;
        let payload = Payload { msg: body, aad: associated };
        let plain = self.cipher().decrypt(&XNonce::from(*nonce), payload).map_err(|_| CryptoError::NotOurs)?;
        Ok(Zeroizing::new(plain))
    }

    /// What others seal to, and opens what they sealed.
    #[must_use]
    pub fn sealing(&self) -> SealingKey {
        SealingKey::from_seed(&self.derived("seal"))
    }

    /// What signs for the product.
    #[must_use]
    pub fn signing(&self) -> MemorySigner {
        MemorySigner::from_seed(&self.derived("sign"))
    }

    /// Signs a message of the program.
    ///
    /// # Errors
    /// Never with a key in memory; the signer's form allows for others.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, Problem> {
        self.signing().sign(&program_signature_message(message)).map_err(|_| {
            Problem::new(ErrorCode::Internal, "the product's key does not sign", "look into the log of the server")
        })
    }
}

impl Keeper {
    /// The key of a session's entry under a choice, for the client that holds the session now; with the session.
    ///
    /// # Errors
    /// See [`CryptoError`].
    pub fn program_key(
        &self,
        session: SessionId,
        client: &PublicKey,
        container_id: &[u8; 32],
        choice: &KeyChoice,
        moment: Moment,
    ) -> Result<(ProgramKey, &Session), CryptoError> {
        let session = self.held_by(session, client, moment).ok_or(CryptoError::NoSession)?;
        if self.suspended().is_some() {
            return Err(CryptoError::Suspended);
        }
        ProgramKey::of(&self.state, session, container_id, choice).map(|key| (key, session))
    }
}

fn expand(hkdf: &Hkdf<Sha256>, info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf.expand(info, key.as_mut_slice()).expect("32 bytes are within what the function gives");
    key
}
