//! Signers: who holds private keys, and where. Verification is in `lictor_signing` and knows nothing of this crate.
//!
//! * [`FileKeyStore`] keeps keys as files in a folder of its own. For development and small installations: it refuses
//!   to open in production unless forced, because a copied folder is a copied vendor.
//! * [`MemorySigner`] holds one key made from secret bytes: the keys of a container, which its own store keeps, and the
//!   keys of tests.

mod file;
mod memory;

pub use file::{FileKeyStore, FileSigner, KeyStoreError, Mode};
pub use memory::{EphemeralSigner, MemorySigner};
