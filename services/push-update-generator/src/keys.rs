//! The keys of the firms: one per role, and one that all product keys come from. Nothing else in the system holds them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use lictor_key_store::{FileKeyStore, KeyStoreError};
use lictor_license_file::segment::ProductKey;
use lictor_licensing::id::{FirmCode, ProductCode};
use lictor_signing::{PublicKey, Role, Signer, SignerError, TrustedRoot};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The roles that get a key when a firm is made. `policy` stays empty until a second signature is asked for.
pub const ROLES: [Role; 5] = [Role::Root, Role::Issue, Role::Time, Role::Support, Role::LeaseCertifier];
/// Which generation of keys is used.
const NUMBER: u32 = 1;
/// What the product key's own key signs, once per start.
const SECRET_MESSAGE: &[u8] = b"lictor-firm-secret-v1";

/// A firm's secret that all of its product keys come from.
#[derive(Clone)]
pub struct ProductSecret {
    firm: FirmCode,
    secret: Arc<Zeroizing<[u8; 32]>>,
}

impl ProductSecret {
    /// The key of a product; always the same.
    #[must_use]
    pub fn key(&self, product: ProductCode) -> ProductKey {
        let mut hash = Sha256::new();
        hash.update(b"lictor-product-key-v1\0");
        hash.update(self.secret.as_slice());
        hash.update(self.firm.get().to_be_bytes());
        hash.update(product.get().to_be_bytes());
        ProductKey::new(hash.finalize().into())
    }

    /// The key under which the firm's challenges are made.
    #[must_use]
    pub fn challenge_key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"lictor-challenge-key-v1\0");
        hash.update(self.secret.as_slice());
        hash.update(self.firm.get().to_be_bytes());
        hash.finalize().into()
    }
}

impl std::fmt::Debug for ProductSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProductSecret").field("firm", &self.firm).finish_non_exhaustive()
    }
}

/// Signers by firm and role. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    store: FileKeyStore,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Default)]
struct Cache {
    signers: HashMap<(FirmCode, Role), Arc<dyn Signer>>,
    secrets: HashMap<FirmCode, ProductSecret>,
    roots: HashMap<FirmCode, Arc<TrustedRoot>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys in this store.
    #[must_use]
    pub fn new(store: FileKeyStore) -> Self {
        Self { store, cache: Arc::default() }
    }

    /// Makes the keys of a firm that are not there yet, and gives the public halves. Blocks on the disk.
    ///
    /// # Errors
    /// When one cannot be made or read. Those that were made stay and are used by the next try.
    pub fn make(&self, firm: FirmCode) -> Result<BTreeMap<Role, PublicKey>, KeyStoreError> {
        self.store.load_or_generate(&secret_name(firm))?;
        let mut public = BTreeMap::new();
        for role in ROLES {
            let signer = self.store.load_or_generate(&role_name(firm, role))?;
            public.insert(role, signer.public_key());
        }
        Ok(public)
    }

    /// The signer of a role. Reads the disk the first time.
    ///
    /// # Errors
    /// When the key is not there or cannot be read.
    pub fn signer(&self, firm: FirmCode, role: Role) -> Result<Arc<dyn Signer>, SignerError> {
        if let Some(signer) = self.lock().signers.get(&(firm, role)) {
            return Ok(Arc::clone(signer));
        }
        let signer: Arc<dyn Signer> = Arc::new(self.store.load(&role_name(firm, role)).map_err(unavailable)?);
        self.lock().signers.insert((firm, role), Arc::clone(&signer));
        Ok(signer)
    }

    /// The secret behind the firm's product keys: a signature of a key that signs nothing else. So it can sit in
    /// hardware later, which signs but does not give keys away.
    ///
    /// # Errors
    /// When the key is not there or does not sign.
    pub fn product_secret(&self, firm: FirmCode) -> Result<ProductSecret, SignerError> {
        if let Some(secret) = self.lock().secrets.get(&firm) {
            return Ok(secret.clone());
        }
        let signer = self.store.load(&secret_name(firm)).map_err(unavailable)?;
        let signature = Zeroizing::new(*signer.sign(SECRET_MESSAGE)?.as_bytes());
        let mut hash = Sha256::new();
        hash.update(SECRET_MESSAGE);
        hash.update(signature.as_slice());
        let secret = ProductSecret { firm, secret: Arc::new(Zeroizing::new(hash.finalize().into())) };
        self.lock().secrets.insert(firm, secret.clone());
        Ok(secret)
    }

    /// Whether segments of a firm can be signed so that its containers accept them. Reads the disk every time.
    ///
    /// # Errors
    /// One phrase that says why not.
    pub fn can_issue(&self, root: &TrustedRoot) -> Result<(), String> {
        let firm = root.firm_code();
        for role in [Role::Issue, Role::LeaseCertifier] {
            let name = FileKeyStore::role_key_name(firm, role, NUMBER);
            let signer = self.store.load(&name).map_err(|error| {
                tracing::warn!(%error, firm, role = role.name(), "key not usable");
                format!("the {role} key of firm {firm} cannot be read")
            })?;
            let named = root.document().roles.get(&role);
            if !named.is_some_and(|rule| rule.keys.iter().any(|entry| entry.key == signer.public_key())) {
                return Err(format!("the {role} key of firm {firm} is not the one in its root document"));
            }
        }
        Ok(())
    }

    /// The newest root document of a firm, if it was read before.
    #[must_use]
    pub fn known_root(&self, firm: FirmCode) -> Option<Arc<TrustedRoot>> {
        self.lock().roots.get(&firm).map(Arc::clone)
    }

    /// Keeps a verified root document.
    pub fn remember_root(&self, firm: FirmCode, root: TrustedRoot) -> Arc<TrustedRoot> {
        let root = Arc::new(root);
        self.lock().roots.insert(firm, Arc::clone(&root));
        root
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn role_name(firm: FirmCode, role: Role) -> String {
    FileKeyStore::role_key_name(firm.get(), role, NUMBER)
}

fn secret_name(firm: FirmCode) -> String {
    format!("firm-{firm}-products-{NUMBER}")
}

fn unavailable(error: KeyStoreError) -> SignerError {
    SignerError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use lictor_key_store::Mode;

    use super::*;

    #[test]
    fn product_keys_differ_by_product_and_firm_and_survive_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Keys::new(FileKeyStore::open(folder.path().join("keys"), Mode::Development).expect("a store"));
        let (one, two) = (FirmCode::new(1).expect("a firm"), FirmCode::new(2).expect("a firm"));
        let keys = open();
        let first = keys.make(one).expect("keys");
        keys.make(two).expect("keys");
        assert_eq!(keys.make(one).expect("keys"), first);
        let key = |keys: &Keys, firm, product| {
            *keys.product_secret(firm).expect("a secret").key(ProductCode(product)).expose()
        };
        let known = key(&keys, one, 7);
        assert_eq!(key(&open(), one, 7), known);
        assert_ne!(key(&keys, one, 8), known);
        assert_ne!(key(&keys, two, 7), known);
    }
}
