//! Why a key, a root document or a signature was refused.

use thiserror::Error;

use crate::Role;
use crate::cbor::CborError;

/// A public key that must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not 32 bytes.
    #[error("a public key has 32 bytes")]
    Length,
    /// Not a point of the curve, or a point in a spelling other than its only allowed one.
    #[error("the bytes are not an Ed25519 public key")]
    NotAKey,
    /// A point of small order: signatures under it prove nothing.
    #[error("the public key is weak")]
    Weak,
}

/// Why an envelope was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The payload is of another kind than the one asked for.
    #[error("the signed payload is {found}, not {expected}")]
    WrongType {
        /// The type that the reader accepts.
        expected: &'static str,
        /// The type that the envelope states.
        found: String,
    },
    /// Fewer distinct keys of the role signed than the role needs.
    #[error("{valid} of {needed} needed {role} signatures are valid")]
    Threshold {
        /// The role whose keys were looked for.
        role: Role,
        /// Distinct keys with a valid signature.
        valid: usize,
        /// Distinct keys needed.
        needed: usize,
    },
    /// The root document gives this role no keys.
    #[error("the root document names no keys for the role {0}")]
    NoSuchRole(Role),
    /// The keys that signed were not valid at the time that the payload states.
    #[error("the {0} key was not valid when the payload was signed")]
    OutsideWindow(Role),
    /// The single expected key did not sign this.
    #[error("the signature does not match the key")]
    BadSignature,
    /// The payload speaks for another firm than the root document does.
    #[error("keys of firm {root} signed for firm {payload}")]
    WrongFirm {
        /// Firm code of the trusted root.
        root: u32,
        /// Firm code in the payload.
        payload: u32,
    },
    /// The bytes are not what they should be.
    #[error("the signed payload cannot be read: {0}")]
    Malformed(#[from] CborError),
}

/// Why a root document was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RootError {
    /// Only the version after the trusted one may follow it.
    #[error("root version {found} cannot follow version {trusted}")]
    WrongVersion {
        /// Version trusted now.
        trusted: u64,
        /// Version of the refused document.
        found: u64,
    },
    /// Signatures of the old or the new root keys are missing.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}
