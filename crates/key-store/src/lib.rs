//! Signers: who holds private keys, and where. Verification is in `lictor_signing` and knows nothing of this crate.
//!
//! * [`FileKeyStore`] keeps keys as files in a folder of its own. For development and small installations: it refuses
//!   to open in production unless forced, because a copied folder is a copied vendor.
//! * [`AgentKeyStore`] asks an agent, a process of its own that holds a PKCS#11 token. Its keys never leave the token.
//! * [`KeyStore`] is one of the two, as the settings say. Nothing ever falls back from one to the other.
//! * [`HolderKey`] is the file of a person who holds a root key, sealed by a passphrase, used on a machine offline.
//! * [`MemorySigner`] holds one key made from secret bytes: the keys of a container, which its own store keeps, and the
//!   keys of tests.

pub mod agent;
mod file;
pub mod holder;
mod memory;
mod store;

pub use agent::{AgentKeyStore, AgentSigner};
pub use file::{FileKeyStore, FileSigner, KeyStoreError, Mode};
pub use holder::{HolderError, HolderKey};
pub use memory::{EphemeralSigner, MemorySigner};
pub use store::KeyStore;
