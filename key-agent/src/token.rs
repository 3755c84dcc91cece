//! The token, in terms of names, public keys and signatures.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session as Pkcs11Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use lictor_key_store::agent::wire::{Fault, MAX_KEYS, MAX_NAME_BYTES};
use lictor_signing::{PublicKey, Signature};

use crate::options::Options;

/// Ed25519 as tokens before version 3.0 of the standard know it: the name of the curve as a printable string.
const CURVE_BY_NAME: &[u8] = b"\x13\x0cedwards25519";
/// Ed25519 by its object identifier.
const CURVE_BY_NUMBER: &[u8] = &[0x06, 0x03, 0x2B, 0x65, 0x70];

/// Why something was not done.
#[derive(Debug)]
pub struct Failure {
    /// What the caller is told.
    pub fault: Fault,
    /// One sentence.
    pub text: String,
    /// The module is not to be used any more.
    pub broken: bool,
    /// The token refused the PIN.
    pub pin: bool,
}

impl Failure {
    /// A failure after which the module still works.
    pub fn new(fault: Fault, text: impl Into<String>) -> Self {
        Self { fault, text: text.into(), broken: false, pin: false }
    }

    fn broken(text: impl Into<String>) -> Self {
        Self { fault: Fault::Unavailable, text: text.into(), broken: true, pin: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let refused =
            [RvError::PinIncorrect, RvError::PinInvalid, RvError::PinLenRange, RvError::PinExpired, RvError::PinLocked];
        let pin = matches!(&error, Error::Pkcs11(code, _) if refused.contains(code));
        Self { pin, ..Self::broken(format!("the token failed: {error}")) }
    }
}

/// The token of this process. The module is loaded when it is first needed.
pub struct Token {
    options: Options,
    loaded: Mutex<Option<(Pkcs11, Slot)>>,
    making: Mutex<()>,
    seen: Seen,
}

/// The keys that this process has found on the token so far.
type Seen = Arc<Mutex<BTreeSet<[u8; 32]>>>;

/// A key of the token.
pub struct Key {
    /// Its label.
    pub name: String,
    /// Its public half.
    pub public: PublicKey,
    /// The token's own name for the pair.
    id: Vec<u8>,
}

/// One logged-in session, for one thread.
pub struct Session {
    inner: Pkcs11Session,
    private: HashMap<[u8; 32], ObjectHandle>,
    seen: Seen,
}

impl Token {
    /// The token that the options name.
    pub fn new(options: Options) -> Self {
        Self { options, loaded: Mutex::default(), making: Mutex::default(), seen: Seen::default() }
    }

    /// Opens a session and logs in.
    pub fn session(&self) -> Result<Session, Failure> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let (module, slot) = match &mut *loaded {
            Some(loaded) => loaded,
            None => loaded.insert(self.load()?),
        };
        let inner = module.open_rw_session(*slot)?;
        let pin = self.options.pin().map_err(|end| Failure { pin: true, ..Failure::broken(end.text) })?;
        match inner.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            // One log-in counts for all sessions of a process.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Session { inner, private: HashMap::new(), seen: Arc::clone(&self.seen) })
    }

    fn load(&self) -> Result<(Pkcs11, Slot), Failure> {
        let module = Pkcs11::new(&self.options.module)?;
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        let mut named = Vec::new();
        for slot in module.get_slots_with_initialized_token()? {
            if module.get_token_info(slot)?.label() == self.options.token {
                named.push(slot);
            }
        }
        match named.as_slice() {
            [slot] => Ok((module, *slot)),
            [] => Err(Failure::broken(format!("there is no token labelled {}", self.options.token))),
            _ => Err(Failure::broken(format!("two tokens are labelled {}", self.options.token))),
        }
    }

    /// Lets one caller at a time make keys, so that a name is given once.
    pub fn making<T>(&self, make: impl FnOnce() -> T) -> T {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        make()
    }
}

impl Session {
    /// All Ed25519 keys with a name.
    pub fn keys(&self) -> Result<Vec<Key>, Failure> {
        let wanted = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(KeyType::EC_EDWARDS)];
        let mut keys = Vec::new();
        for object in self.inner.find_objects(&wanted)? {
            keys.extend(self.key(object)?);
            if keys.len() >= MAX_KEYS {
                break;
            }
        }
        self.expect_what_was_seen(&keys)?;
        keys.sort_by(|one, other| one.name.cmp(&other.name).then(one.id.cmp(&other.id)));
        Ok(keys)
    }

    /// A module may show a token that was pulled out as one without keys, and go on so after it was put back.
    fn expect_what_was_seen(&self, keys: &[Key]) -> Result<(), Failure> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found: BTreeSet<[u8; 32]> = keys.iter().map(|key| *key.public.as_bytes()).collect();
        if keys.len() < MAX_KEYS && !seen.is_subset(&found) {
            return Err(Failure::broken("keys that were there are gone: the token may have been pulled out"));
        }
        seen.extend(found);
        Ok(())
    }

    /// What a public object is, when it is an Ed25519 key that a name fits on.
    fn key(&self, object: ObjectHandle) -> Result<Option<Key>, Failure> {
        let (mut name, mut point, mut id) = (None, None, Vec::new());
        let asked = [AttributeType::Label, AttributeType::EcPoint, AttributeType::Id];
        for attribute in self.inner.get_attributes(object, &asked)? {
            match attribute {
                Attribute::Label(label) => name = String::from_utf8(label).ok(),
                Attribute::EcPoint(bytes) => point = Some(bytes),
                Attribute::Id(bytes) => id = bytes,
                _ => {}
            }
        }
        let public = point.and_then(|point| public_key(&point));
        let name = name.filter(|name| (1..=MAX_NAME_BYTES).contains(&name.len()));
        Ok(name.zip(public).map(|(name, public)| Key { name, public, id }))
    }

    /// Signs the message as it is.
    pub fn sign(&mut self, key: &PublicKey, message: &[u8]) -> Result<Signature, Failure> {
        let handle = match self.private.get(key.as_bytes()) {
            Some(handle) => *handle,
            None => {
                let handle = self.find_private(key)?;
                self.private.insert(*key.as_bytes(), handle);
                handle
            }
        };
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let signature = self.inner.sign(&mechanism, handle, message)?;
        let bytes =
            signature.try_into().map_err(|_| Failure::broken("the token gave a signature of a wrong length"))?;
        Ok(Signature::from_bytes(bytes))
    }

    fn find_private(&self, key: &PublicKey) -> Result<ObjectHandle, Failure> {
        let missing = || Failure::new(Fault::Missing, format!("the token holds no private key {}", key.id()));
        let found = self.keys()?.into_iter().find(|held| held.public == *key).ok_or_else(missing)?;
        let wanted = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::EC_EDWARDS),
            Attribute::Id(found.id),
            Attribute::Label(found.name.into_bytes()),
        ];
        self.inner.find_objects(&wanted)?.first().copied().ok_or_else(missing)
    }

    /// Makes a pair whose private half never leaves the token.
    pub fn generate(&self, name: &str) -> Result<PublicKey, Failure> {
        if self.keys()?.iter().any(|key| key.name == name) {
            return Err(Failure::new(Fault::Exists, format!("a key called {name} is there already")));
        }
        let mut id = vec![0; 16];
        self.inner.generate_random_slice(&mut id)?;
        let object = self.generate_on(CURVE_BY_NAME, name, &id).or_else(|_| {
            // Newer tokens want the number of the curve.
            self.generate_on(CURVE_BY_NUMBER, name, &id)
        })?;
        self.key(object)?
            .map(|key| key.public)
            .ok_or_else(|| Failure::new(Fault::Refused, "the token made something that is not an Ed25519 key"))
    }

    fn generate_on(&self, curve: &[u8], name: &str, id: &[u8]) -> Result<ObjectHandle, Error> {
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(curve.to_vec()),
            Attribute::Label(name.as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Label(name.as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
        ];
        self.inner.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private).map(|(public, _)| public)
    }
}

/// The 32 bytes of a point, bare or inside an octet string.
fn public_key(point: &[u8]) -> Option<PublicKey> {
    let bytes = match point {
        [0x04, 0x20, bytes @ ..] if bytes.len() == PublicKey::LENGTH => bytes,
        bytes => bytes,
    };
    PublicKey::from_slice(bytes).ok()
}
