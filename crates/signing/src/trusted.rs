//! A root document that is trusted, and the one function that verifies for all of its roles.

use std::collections::BTreeSet;

use lictor_clock::Timestamp;
use sha2::{Digest, Sha256};

use crate::cbor;
use crate::root::MAX_ROOT_BYTES;
use crate::{Envelope, Role, RootDocument, RootError, SignedPayload, VerifyError};

/// Most root documents that one file may carry a container through.
pub const MAX_ROOT_STEPS: usize = 1024;

/// A verified root document of one firm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedRoot {
    document: RootDocument,
    envelope: Vec<u8>,
    digest: [u8; 32],
}

impl TrustedRoot {
    /// Trusts a root document because the caller got it from where trust begins: compiled in, from the licence
    /// information file of the firm, or from the own disk. It must be signed by its own root keys.
    ///
    /// # Errors
    /// When it is not a root document or its own threshold is not met.
    pub fn trust(envelope_bytes: &[u8]) -> Result<Self, RootError> {
        let (envelope, document) = peek(envelope_bytes)?;
        require(&document, Role::Root, &envelope)?;
        Ok(Self::new(document, envelope_bytes))
    }

    /// Follows the firm to its next root document: exactly one version higher, signed by the threshold of the trusted
    /// document and by its own.
    ///
    /// # Errors
    /// When any of these rules is broken.
    pub fn update(&self, envelope_bytes: &[u8]) -> Result<Self, RootError> {
        let (envelope, document) = peek(envelope_bytes)?;
        require(&self.document, Role::Root, &envelope)?;
        require(&document, Role::Root, &envelope)?;
        require_firm(&self.document, document.firm_code)?;
        if self.document.version.checked_add(1) != Some(document.version) {
            return Err(RootError::WrongVersion { trusted: self.document.version, found: document.version });
        }
        Ok(Self::new(document, envelope_bytes))
    }

    fn new(document: RootDocument, envelope: &[u8]) -> Self {
        let digest = Sha256::digest(cbor::encode(&document)).into();
        Self { document, envelope: envelope.to_vec(), digest }
    }

    /// Opens what a role of this firm signed: signatures over the raw bytes first, then strict decoding, then the
    /// windows of the keys and the firm.
    ///
    /// # Errors
    /// When the threshold of the payload's role is not met by distinct keys that were valid, the payload is of another
    /// kind, cannot be read, or speaks for another firm.
    pub fn open<T: SignedPayload>(&self, envelope: &Envelope) -> Result<T, VerifyError> {
        envelope.expect_type(T::PAYLOAD_TYPE)?;
        let role = T::ROLE.ok_or(VerifyError::BadSignature)?;
        let signers = require(&self.document, role, envelope)?;
        let value: T = cbor::decode(envelope.unverified_payload())?;
        if let Some(at) = value.signed_at() {
            require_window(&self.document, role, &signers, at)?;
        }
        require_firm(&self.document, value.firm_code())?;
        Ok(value)
    }

    /// The document.
    #[must_use]
    pub const fn document(&self) -> &RootDocument {
        &self.document
    }

    /// The firm these keys may speak for.
    #[must_use]
    pub const fn firm_code(&self) -> u32 {
        self.document.firm_code
    }

    /// The version of the document.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.document.version
    }

    /// The envelope as it was read; store this, and trust it again with [`TrustedRoot::trust`].
    #[must_use]
    pub fn envelope_bytes(&self) -> &[u8] {
        &self.envelope
    }

    /// SHA-256 of the document: what people compare by eye.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

fn peek(envelope_bytes: &[u8]) -> Result<(Envelope, RootDocument), VerifyError> {
    if envelope_bytes.len() > MAX_ROOT_BYTES {
        return Err(VerifyError::Malformed(cbor::CborError::Limit(MAX_ROOT_BYTES)));
    }
    let envelope = Envelope::from_bytes(envelope_bytes)?;
    envelope.expect_type(RootDocument::PAYLOAD_TYPE)?;
    // The document has to be read before its own keys can be asked; nothing is trusted until they were.
    let document = cbor::decode(envelope.unverified_payload())?;
    Ok((envelope, document))
}

/// Counts the distinct keys of `role` that signed. Every role of every document passes here.
fn require(document: &RootDocument, role: Role, envelope: &Envelope) -> Result<BTreeSet<[u8; 32]>, VerifyError> {
    let rule = document.roles.get(&role).ok_or(VerifyError::NoSuchRole(role))?;
    let signers = envelope.valid_signers(rule.keys.iter().map(|entry| &entry.key));
    let needed = rule.threshold as usize;
    if signers.len() < needed {
        return Err(VerifyError::Threshold { role, valid: signers.len(), needed });
    }
    Ok(signers)
}

/// Counts again, only those of the signers whose window contains the time that the payload states.
fn require_window(
    document: &RootDocument,
    role: Role,
    signers: &BTreeSet<[u8; 32]>,
    at: Timestamp,
) -> Result<(), VerifyError> {
    let rule = document.roles.get(&role).ok_or(VerifyError::NoSuchRole(role))?;
    let valid = rule.keys.iter().filter(|entry| entry.valid_at(at) && signers.contains(entry.key.as_bytes())).count();
    if valid < rule.threshold as usize {
        return Err(VerifyError::OutsideWindow(role));
    }
    Ok(())
}

fn require_firm(document: &RootDocument, payload: u32) -> Result<(), VerifyError> {
    if document.firm_code == payload {
        return Ok(());
    }
    Err(VerifyError::WrongFirm { root: document.firm_code, payload })
}
