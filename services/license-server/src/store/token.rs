//! Keys that a token locks up: it signs a text that stands beside them, and the signature, which nobody can make without the
//! token, is the key that opens them. Ed25519 signs the same text always in the same way.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use lictor_key_store::AgentSigner;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use lictor_signing::{PublicKey, Signer as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::kept::KeptError;

/// What the token signs begins with this, so that no other text ever opens the keys.
const LABEL: &[u8] = b"lictor-token-binding-v1";
const MAX_SEALED_BYTES: usize = 16 * 1024;

/// What lies on the disk.
struct Locked {
    key: [u8; PublicKey::LENGTH],
    salt: [u8; 32],
    nonce: [u8; 24],
    sealed: Vec<u8>,
}

/// Locks `content` up under a key of a token. `random` are fresh random bytes.
pub(super) fn lock(
    content: &[u8],
    token: &AgentSigner,
    random: [[u8; 32]; 2],
) -> Result<Zeroizing<Vec<u8>>, KeptError> {
    let [salt, second] = random;
    let mut nonce = [0; 24];
    nonce.copy_from_slice(&second[..24]);
    let key = *token.public_key().as_bytes();
    let cipher = cipher(token, &salt)?;
    let payload = Payload { msg: content, aad: &key };
    let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| KeptError::Damaged)?;
    Ok(Zeroizing::new(cbor::encode(&Locked { key, salt, nonce, sealed })))
}

/// Opens what the same key of the same token locked up.
pub(super) fn unlock(bytes: &[u8], token: &AgentSigner) -> Result<Zeroizing<Vec<u8>>, KeptError> {
    let locked: Locked = cbor::decode(bytes).map_err(|_| KeptError::Damaged)?;
    if locked.key != *token.public_key().as_bytes() {
        return Err(KeptError::OtherToken);
    }
    let payload = Payload { msg: &locked.sealed, aad: &locked.key };
    let opened = cipher(token, &locked.salt)?.decrypt(&XNonce::from(locked.nonce), payload);
    opened.map(Zeroizing::new).map_err(|_| KeptError::Damaged)
}

fn cipher(token: &AgentSigner, salt: &[u8; 32]) -> Result<XChaCha20Poly1305, KeptError> {
    let signature = token.sign(&[LABEL, salt].concat()).map_err(|error| KeptError::Token(error.to_string()))?;
    let mut key = Zeroizing::new([0; 32]);
    // HKDF-SHA256 gives up to 8,160 bytes, so 32 cannot be too many; but never go on with a key of zeroes.
    Hkdf::<Sha256>::new(Some(salt), signature.as_bytes())
        .expand(LABEL, key.as_mut_slice())
        .map_err(|_| KeptError::Damaged)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

impl Canonical for Locked {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(&self.key));
            fields.field(1, |w| w.bytes(&self.salt));
            fields.field(2, |w| w.bytes(&self.nonce));
            fields.field(3, |w| w.bytes(&self.sealed));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let locked = Self {
            key: fields.required(0, Reader::fixed)?,
            salt: fields.required(1, Reader::fixed)?,
            nonce: fields.required(2, Reader::fixed)?,
            sealed: fields.required(3, |r| r.bytes(MAX_SEALED_BYTES))?.to_vec(),
        };
        fields.end()?;
        Ok(locked)
    }
}
