//! The keys of the firms: one per role, and one that all product keys come from. Nothing else in the system holds them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use lictor_clock::Timestamp;
use lictor_key_store::{FileKeyStore, KeyStore, KeyStoreError};
use lictor_license_file::segment::ProductKey;
use lictor_licensing::id::{FirmCode, ProductCode};
use lictor_signing::{PublicKey, Role, RoleKey, Signer, SignerError, TrustedRoot};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The roles that get a key when a firm is made. `policy` stays empty until a second signature is asked for.
pub const ROLES: [Role; 5] = [Role::Root, Role::Issue, Role::Time, Role::Support, Role::LeaseCertifier];
/// The generation of keys that a firm begins with.
const FIRST: u32 = 1;
/// Most keys that one role of a firm ever gets here.
const MOST_GENERATIONS: u32 = 9_999;
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

/// The signers whose signatures together meet a role's threshold.
#[derive(Clone)]
pub struct Signers(Vec<Arc<dyn Signer>>);

impl Signers {
    /// As those who sign take them.
    #[must_use]
    pub fn refs(&self) -> Vec<&dyn Signer> {
        self.0.iter().map(|signer| &**signer).collect()
    }

    /// Whether a signature may wait for another process or a device.
    #[must_use]
    pub fn block(&self) -> bool {
        self.0.iter().any(|signer| signer.blocks())
    }
}

/// Signers by their public keys. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    store: KeyStore,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Default)]
struct Cache {
    held: HashMap<[u8; PublicKey::LENGTH], Arc<dyn Signer>>,
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
    pub fn new(store: impl Into<KeyStore>) -> Self {
        Self { store: store.into(), cache: Arc::default() }
    }

    /// Makes the keys of a firm that are not there yet, and gives the public halves. Blocks on the store.
    ///
    /// # Errors
    /// When one cannot be made or read. Those that were made stay and are used by the next try.
    pub fn make(&self, firm: FirmCode) -> Result<BTreeMap<Role, PublicKey>, KeyStoreError> {
        self.make_roles(firm, &ROLES)
    }

    /// The same for some of the roles: a firm whose root keys people hold gets no other one.
    ///
    /// # Errors
    /// As [`Keys::make`].
    pub fn make_roles(&self, firm: FirmCode, roles: &[Role]) -> Result<BTreeMap<Role, PublicKey>, KeyStoreError> {
        self.store.load_or_generate(&secret_name(firm))?;
        let mut public = BTreeMap::new();
        for role in roles {
            let signer = self.store.load_or_generate(&role_name(firm, *role, FIRST))?;
            public.insert(*role, signer.public_key());
        }
        Ok(public)
    }

    /// Makes a key that no root document ever named: a new generation of the role. One that an earlier try left behind
    /// is taken first. Blocks on the store.
    ///
    /// # Errors
    /// When it cannot be made, or all numbers are taken.
    pub fn make_next(
        &self,
        firm: FirmCode,
        role: Role,
        named: &BTreeSet<[u8; PublicKey::LENGTH]>,
    ) -> Result<PublicKey, KeyStoreError> {
        let held: BTreeMap<String, PublicKey> = self.store.keys()?.into_iter().collect();
        for number in FIRST..=MOST_GENERATIONS {
            let name = role_name(firm, role, number);
            match held.get(&name) {
                Some(key) if named.contains(key.as_bytes()) => {}
                Some(key) => return Ok(*key),
                None => return Ok(self.store.load_or_generate(&name)?.public_key()),
            }
        }
        Err(KeyStoreError::Refused(format!("the {role} role of firm {firm} has had {MOST_GENERATIONS} keys")))
    }

    /// The keys among `wanted` that the store holds. Blocks on the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn held(&self, wanted: &[PublicKey]) -> Result<Vec<PublicKey>, KeyStoreError> {
        let held: BTreeSet<_> = self.store.keys()?.into_iter().map(|(_, key)| *key.as_bytes()).collect();
        Ok(wanted.iter().filter(|key| held.contains(key.as_bytes())).copied().collect())
    }

    /// Signers enough for the threshold of a role, each of them in the root document and valid at `at`. Of several the
    /// one that is valid longest comes first. Blocks on the store for keys that it did not use before.
    ///
    /// # Errors
    /// When too few are held or valid, or the store does not answer. No other key ever takes their place.
    pub fn signers(&self, root: &TrustedRoot, role: Role, at: Timestamp) -> Result<Signers, SignerError> {
        let firm = root.firm_code();
        let lacking = |text: String| SignerError::Unavailable(text);
        let rule = root.document().roles.get(&role);
        let rule = rule.ok_or_else(|| lacking(format!("the root document of firm {firm} names no {role} key")))?;
        let needed = rule.threshold as usize;
        let valid = by_length(&rule.keys, at);
        if valid.len() < needed {
            return Err(lacking(format!("no {role} key of firm {firm} is valid at {at}")));
        }
        let mut signers = Vec::with_capacity(needed);
        for entry in valid {
            signers.extend(self.find(&entry.key).map_err(unavailable)?);
            if signers.len() == needed {
                return Ok(Signers(signers));
            }
        }
        Err(lacking(format!("the key store holds too few {role} keys of firm {firm}")))
    }

    /// The same without asking the store: nothing unless each of them was used before. Never blocks.
    pub(crate) fn known_signers(&self, root: &TrustedRoot, role: Role, at: Timestamp) -> Option<Signers> {
        let rule = root.document().roles.get(&role)?;
        let needed = rule.threshold as usize;
        let valid = by_length(&rule.keys, at);
        let cache = self.lock();
        let held = valid.into_iter().take(needed).map(|entry| cache.held.get(entry.key.as_bytes()).map(Arc::clone));
        let signers = held.collect::<Option<Vec<_>>>()?;
        (signers.len() == needed).then_some(Signers(signers))
    }

    /// The signer of a public key, if the store holds it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn find(&self, key: &PublicKey) -> Result<Option<Arc<dyn Signer>>, KeyStoreError> {
        if let Some(signer) = self.lock().held.get(key.as_bytes()) {
            return Ok(Some(Arc::clone(signer)));
        }
        let Some((name, _)) = self.store.keys()?.into_iter().find(|(_, held)| held == key) else { return Ok(None) };
        let signer = self.store.load(&name)?;
        self.lock().held.insert(*key.as_bytes(), Arc::clone(&signer));
        Ok(Some(signer))
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

    /// Whether segments of a firm can be signed at `now` so that its containers accept them. Asks the store every time.
    ///
    /// # Errors
    /// One phrase that says why not.
    pub fn can_issue(&self, root: &TrustedRoot, now: Timestamp) -> Result<(), String> {
        let firm = root.firm_code();
        let held = self.store.keys().map_err(|error| {
            tracing::warn!(%error, firm, "key store not usable");
            match error {
                KeyStoreError::Unavailable(_) => AGENT_AWAY.to_owned(),
                other => other.to_string(),
            }
        })?;
        for role in [Role::Issue, Role::LeaseCertifier] {
            let rule = root.document().roles.get(&role);
            let rule = rule.ok_or_else(|| format!("the root document of firm {firm} names no {role} key"))?;
            let valid: Vec<_> = rule.keys.iter().filter(|entry| entry.valid_at(now)).collect();
            if valid.len() < rule.threshold as usize {
                return Err(format!(
                    "no {role} key of firm {firm} is valid any more; next: give it a new one with lictor vendor root propose"
                ));
            }
            let usable = valid.iter().filter(|entry| held.iter().any(|(_, key)| *key == entry.key)).count();
            if usable < rule.threshold as usize {
                return Err(format!(
                    "the {role} key of firm {firm} is not in the key store, or cannot be read; next: put the folder or \
                     the token back that holds it"
                ));
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

const AGENT_AWAY: &str = "the key agent does not answer, or its token is away; next: check that lictor-key-agent runs and that \
                          its token is in its place";

/// The keys that are valid at a time, those first that are so longest.
fn by_length(keys: &[RoleKey], at: Timestamp) -> Vec<&RoleKey> {
    let mut valid: Vec<_> = keys.iter().filter(|entry| entry.valid_at(at)).collect();
    valid.sort_by_key(|entry| std::cmp::Reverse(entry.not_after.map_or(i64::MAX, Timestamp::as_micros)));
    valid
}

fn role_name(firm: FirmCode, role: Role, number: u32) -> String {
    FileKeyStore::role_key_name(firm.get(), role, number)
}

fn secret_name(firm: FirmCode) -> String {
    format!("firm-{firm}-products-{FIRST}")
}

pub(crate) fn unavailable(error: KeyStoreError) -> SignerError {
    match error {
        KeyStoreError::Unavailable(text) => SignerError::Unavailable(text),
        other => SignerError::Unavailable(other.to_string()),
    }
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
