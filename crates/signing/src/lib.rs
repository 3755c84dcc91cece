//! Verification of everything that a vendor or a container signs: keys, roles, thresholds, root documents and
//! envelopes. This crate only verifies; whoever signs brings an implementation of [`Signer`].
//!
//! The rules in one place:
//! * Ed25519 with strict verification; keys of small order and keys in a second spelling are refused when loaded.
//! * A signature covers the payload type and the exact payload bytes, so a receipt can never pass as an update.
//! * The algorithm and the role belong to the key in the root document. Nothing inside a file chooses them.
//! * A threshold counts distinct public keys, never signatures and never key names.
//! * One function verifies for every role: [`TrustedRoot::open`] for vendors, [`Envelope::open_by_key`] for devices,
//!   both on top of the same count.

mod batch;
mod block;
pub mod cbor;
mod certificate;
mod envelope;
mod error;
mod grant;
mod key;
mod program;
mod role;
mod root;
mod signer;
mod time;
mod trusted;

pub use batch::{BatchProof, MAX_BATCH, sign_batch};
pub use block::BlockCertificate;
pub use certificate::{LeaseCertificate, LeaseLimits};
pub use envelope::{Envelope, MAX_SIGNATURES, PayloadType, SignedPayload, pre_authentication_encoding};
pub use error::{KeyError, RootError, VerifyError};
pub use grant::{CHANNEL_BINDING_BYTES, CHANNEL_LABEL, GrantStatement, client_proof_message, server_proof_message};
pub use key::{KeyId, PublicKey, Signature};
pub use program::{KeyChoice, MAX_CODE_BYTES, ProgramKeys, SECRETS, program_signature_message};
pub use role::Role;
pub use root::{MAX_KEYS_PER_ROLE, MAX_ROOT_BYTES, RoleKey, RoleRule, RootDocument};
pub use signer::{Signer, SignerError};
pub use time::{MAX_TIME_NONCE_BYTES, MIN_TIME_NONCE_BYTES, TimeStatement};
pub use trusted::{MAX_ROOT_STEPS, TrustedRoot};
