//! Signed envelopes: payload type, exact payload bytes, signatures.

use std::collections::BTreeSet;

use lictor_clock::Timestamp;

use crate::cbor::{self, Canonical, CborError, Reader, Writer};
use crate::{KeyId, PublicKey, Role, Signature, Signer, SignerError, VerifyError};

/// Most signatures in one envelope.
pub const MAX_SIGNATURES: usize = 16;
/// Longest name of a payload type in bytes.
const MAX_TYPE_BYTES: usize = 96;
/// No payload is larger than a whole file may be.
const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// What a payload is. It is part of what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadType(&'static str);

impl PayloadType {
    /// A payload type; the name must be shorter than 96 bytes.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(name.len() <= MAX_TYPE_BYTES, "the name of a payload type is too long");
        Self(name)
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// What a signature covers: the pre-authentication encoding of DSSE over type and payload. The lengths make it
/// impossible to move bytes from one into the other.
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.len() + payload_type.len() + 48);
    message.extend_from_slice(b"DSSEv1 ");
    message.extend_from_slice(format!("{} {payload_type} {} ", payload_type.len(), payload.len()).as_bytes());
    message.extend_from_slice(payload);
    message
}

/// A payload that some role, or a container's own key, signs.
pub trait SignedPayload: Canonical {
    /// The kind of payload.
    const PAYLOAD_TYPE: PayloadType;
    /// The role whose keys must sign; `None` for what a container signs with its own key.
    const ROLE: Option<Role>;

    /// The firm that the payload speaks for. It must be the firm of the root document that verifies.
    fn firm_code(&self) -> u32;

    /// The time the signer states, compared with the windows of the keys; `None` when keys of any age may sign.
    fn signed_at(&self) -> Option<Timestamp>;
}

/// A payload with its signatures. Nothing in it is trusted before one of the `open` functions was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<(KeyId, Signature)>,
}

impl Envelope {
    /// Signs a payload with one or more keys.
    ///
    /// # Errors
    /// When a signer fails.
    pub fn sign(payload_type: PayloadType, payload: Vec<u8>, signers: &[&dyn Signer]) -> Result<Self, SignerError> {
        let message = pre_authentication_encoding(payload_type.name(), &payload);
        let mut signatures = Vec::with_capacity(signers.len());
        for signer in signers {
            signatures.push((signer.public_key().id(), signer.sign(&message)?));
        }
        Ok(Self { payload_type: payload_type.name().to_owned(), payload, signatures })
    }

    /// Encodes and signs a value as what it is.
    ///
    /// # Errors
    /// When a signer fails.
    pub fn seal<T: SignedPayload>(value: &T, signers: &[&dyn Signer]) -> Result<Self, SignerError> {
        Self::sign(T::PAYLOAD_TYPE, cbor::encode(value), signers)
    }

    /// Puts an envelope together from stored parts; it is as untrusted as a read one.
    #[must_use]
    pub fn from_parts(payload_type: PayloadType, payload: Vec<u8>, signatures: Vec<(KeyId, Signature)>) -> Self {
        Self { payload_type: payload_type.name().to_owned(), payload, signatures }
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// When the bytes are not exactly one envelope.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes)
    }

    /// The stated kind of payload of an envelope's bytes, without reading the rest; none when they do not begin like one.
    #[must_use]
    pub fn peek_type(bytes: &[u8]) -> Option<&str> {
        let mut reader = Reader::new(bytes);
        reader.fields().ok()?.required(0, |r| r.text(MAX_TYPE_BYTES)).ok()
    }

    /// The encoding of the envelope.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// The stated kind of payload.
    #[must_use]
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload bytes. They prove nothing before the envelope was opened.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signatures with the hints which keys made them.
    #[must_use]
    pub fn signatures(&self) -> &[(KeyId, Signature)] {
        &self.signatures
    }

    /// Adds a signature of one more key over the same bytes. The payload, and with it every hash over it, stays.
    ///
    /// # Errors
    /// When the signer fails.
    pub fn add_signature(&mut self, signer: &dyn Signer) -> Result<(), SignerError> {
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(SignerError::Refused(format!("an envelope holds at most {MAX_SIGNATURES} signatures")));
        }
        let message = pre_authentication_encoding(&self.payload_type, &self.payload);
        self.signatures.push((signer.public_key().id(), signer.sign(&message)?));
        Ok(())
    }

    /// Opens what a container signs with its own key: signature first, then strict decoding.
    ///
    /// # Errors
    /// When the key did not sign this, or the payload is not a `T`.
    pub fn open_by_key<T: SignedPayload>(&self, key: &PublicKey) -> Result<T, VerifyError> {
        self.expect_type(T::PAYLOAD_TYPE)?;
        if self.valid_signers([key].into_iter()).is_empty() {
            return Err(VerifyError::BadSignature);
        }
        Ok(cbor::decode(&self.payload)?)
    }

    /// Refuses an envelope of another kind.
    pub(crate) fn expect_type(&self, expected: PayloadType) -> Result<(), VerifyError> {
        if self.payload_type == expected.name() {
            return Ok(());
        }
        Err(VerifyError::WrongType { expected: expected.name(), found: self.payload_type.clone() })
    }

    /// The distinct keys among `keys` that signed this. All roles, thresholds and devices come down to this count.
    pub(crate) fn valid_signers<'k>(&self, keys: impl Iterator<Item = &'k PublicKey>) -> BTreeSet<[u8; 32]> {
        let message = pre_authentication_encoding(&self.payload_type, &self.payload);
        let mut signers = BTreeSet::new();
        for key in keys {
            let id = key.id();
            let signed = self
                .signatures
                .iter()
                .filter(|(hint, _)| *hint == id)
                .any(|(_, signature)| key.verifies(&message, signature));
            if signed {
                signers.insert(*key.as_bytes());
            }
        }
        signers
    }
}

impl Canonical for Envelope {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.text(&self.payload_type));
            fields.field(1, |w| w.bytes(&self.payload));
            fields.field(2, |w| {
                w.list(&self.signatures, |w, (key, signature)| {
                    w.array(2);
                    w.bytes(key.as_bytes());
                    w.bytes(signature.as_bytes());
                });
            });
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let payload_type = fields.required(0, |r| r.text(MAX_TYPE_BYTES))?.to_owned();
        let payload = fields.required(1, |r| r.bytes(MAX_PAYLOAD_BYTES))?.to_vec();
        let signatures = fields.required(2, |r| {
            r.list(MAX_SIGNATURES, |r| {
                if r.array(2)? != 2 {
                    return Err(CborError::Value("a signature has a key name and bytes"));
                }
                Ok((KeyId::from_bytes(r.fixed()?), Signature::from_bytes(r.fixed()?)))
            })
        })?;
        fields.end()?;
        Ok(Self { payload_type, payload, signatures })
    }
}
