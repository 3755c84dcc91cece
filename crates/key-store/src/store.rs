//! One of the places where a service keeps the private keys of its firms.

use std::sync::Arc;

use lictor_signing::{PublicKey, Signer};

use crate::{AgentKeyStore, FileKeyStore, KeyStoreError};

/// Where the private keys lie. Chosen once, at start; a place that does not answer is never replaced by another.
#[derive(Clone, Debug)]
pub enum KeyStore {
    /// In files.
    Files(FileKeyStore),
    /// In a PKCS#11 token behind an agent.
    Agent(AgentKeyStore),
}

impl KeyStore {
    /// All keys, by name and public half.
    ///
    /// # Errors
    /// When the place does not answer.
    pub fn keys(&self) -> Result<Vec<(String, PublicKey)>, KeyStoreError> {
        match self {
            Self::Files(store) => store.keys(),
            Self::Agent(store) => store.keys(),
        }
    }

    /// The key of this name.
    ///
    /// # Errors
    /// When it is not there or cannot be used.
    pub fn load(&self, name: &str) -> Result<Arc<dyn Signer>, KeyStoreError> {
        Ok(match self {
            Self::Files(store) => Arc::new(store.load(name)?),
            Self::Agent(store) => Arc::new(store.load(name)?),
        })
    }

    /// Makes a key.
    ///
    /// # Errors
    /// When a key of this name is there already, or it cannot be kept durably.
    pub fn generate(&self, name: &str) -> Result<Arc<dyn Signer>, KeyStoreError> {
        Ok(match self {
            Self::Files(store) => Arc::new(store.generate(name)?),
            Self::Agent(store) => Arc::new(store.generate(name)?),
        })
    }

    /// The key of this name, made when it is not there.
    ///
    /// # Errors
    /// As [`KeyStore::load`] and [`KeyStore::generate`].
    pub fn load_or_generate(&self, name: &str) -> Result<Arc<dyn Signer>, KeyStoreError> {
        match self.load(name) {
            Err(KeyStoreError::Missing(_)) => {}
            other => return other,
        }
        match self.generate(name) {
            // Another process was faster; its key is the key.
            Err(KeyStoreError::Exists(_)) => self.load(name),
            other => other,
        }
    }
}

impl From<FileKeyStore> for KeyStore {
    fn from(store: FileKeyStore) -> Self {
        Self::Files(store)
    }
}

impl From<AgentKeyStore> for KeyStore {
    fn from(store: AgentKeyStore) -> Self {
        Self::Agent(store)
    }
}
