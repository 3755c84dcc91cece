//! Root documents: which keys of a firm may sign what, from when to when, and how many must agree.

use std::collections::{BTreeMap, BTreeSet};

use lictor_clock::Timestamp;

use crate::cbor::{Canonical, CborError, Reader, Writer};
use crate::{PayloadType, PublicKey, Role, SignedPayload};

/// Most keys that one role may have.
pub const MAX_KEYS_PER_ROLE: usize = 16;
/// Largest root document in bytes, envelope included.
pub const MAX_ROOT_BYTES: usize = 64 * 1024;
const MAX_NAME_BYTES: usize = 128;

/// A key of a role with its window of validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleKey {
    /// The key.
    pub key: PublicKey,
    /// Signatures with a stated time before this do not count.
    pub not_before: Option<Timestamp>,
    /// Signatures with a stated time from this on do not count.
    pub not_after: Option<Timestamp>,
}

impl RoleKey {
    /// A key without limits in time.
    #[must_use]
    pub const fn unlimited(key: PublicKey) -> Self {
        Self { key, not_before: None, not_after: None }
    }

    /// Whether the window contains `at`.
    #[must_use]
    pub fn valid_at(&self, at: Timestamp) -> bool {
        self.not_before.is_none_or(|start| at >= start) && self.not_after.is_none_or(|end| at < end)
    }
}

/// The keys of a role and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule {
    /// Distinct keys needed, from 1 to the number of keys.
    pub threshold: u32,
    /// The keys, each only once.
    pub keys: Vec<RoleKey>,
}

impl RoleRule {
    /// One key, one signature.
    #[must_use]
    pub fn single(key: PublicKey) -> Self {
        Self { threshold: 1, keys: vec![RoleKey::unlimited(key)] }
    }
}

/// The root document of a firm in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootDocument {
    /// The only firm these keys may ever speak for.
    pub firm_code: u32,
    /// Name of the vendor for people, at most 128 bytes.
    pub name: String,
    /// 1 for the first; each next one is exactly one higher.
    pub version: u64,
    /// When it was made, for people only.
    pub issued_at: Timestamp,
    /// Keys per role. The root role must be there.
    pub roles: BTreeMap<Role, RoleRule>,
}

impl RootDocument {
    /// Checks what no encoding can express: a root role, thresholds that can be met, no key twice anywhere.
    ///
    /// # Errors
    /// Names the rule that is broken.
    pub fn check(&self) -> Result<(), CborError> {
        if self.version == 0 {
            return Err(CborError::Value("root versions start at 1"));
        }
        if self.name.len() > MAX_NAME_BYTES {
            return Err(CborError::Limit(MAX_NAME_BYTES));
        }
        if !self.roles.contains_key(&Role::Root) {
            return Err(CborError::Value("a root document needs root keys"));
        }
        let mut seen = BTreeSet::new();
        for rule in self.roles.values() {
            if rule.keys.len() > MAX_KEYS_PER_ROLE {
                return Err(CborError::Limit(MAX_KEYS_PER_ROLE));
            }
            if rule.threshold == 0 || rule.threshold as usize > rule.keys.len() {
                return Err(CborError::Value("a threshold must be between one and the number of keys"));
            }
            if rule.keys.iter().any(|entry| !seen.insert(*entry.key.as_bytes())) {
                return Err(CborError::Value("a key may appear only once in a root document"));
            }
        }
        Ok(())
    }
}

impl SignedPayload for RootDocument {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.root.v1+cbor");
    const ROLE: Option<Role> = Some(Role::Root);

    fn firm_code(&self) -> u32 {
        self.firm_code
    }

    // A device without trusted time must be able to follow every rotation, so root keys have no windows.
    fn signed_at(&self) -> Option<Timestamp> {
        None
    }
}

impl Canonical for RootDocument {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.firm_code)));
            fields.field(1, |w| w.text(&self.name));
            fields.field(2, |w| w.uint(self.version));
            fields.field(3, |w| w.time(self.issued_at));
            fields.field(4, |w| {
                w.map(self.roles.len());
                for (role, rule) in &self.roles {
                    w.uint(u64::from(role.number()));
                    rule.write(w);
                }
            });
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let document = Self {
            firm_code: fields.required(0, Reader::u32)?,
            name: fields.required(1, |r| r.text(MAX_NAME_BYTES))?.to_owned(),
            version: fields.required(2, Reader::uint)?,
            issued_at: fields.required(3, Reader::time)?,
            roles: fields.required(4, |r| {
                let mut roles = BTreeMap::new();
                for _ in 0..r.map(Role::ALL.len())? {
                    let number = r.u32()?;
                    let role = Role::from_number(number).ok_or(CborError::UnknownKind(u64::from(number)))?;
                    if roles.insert(role, RoleRule::read(r)?).is_some() {
                        return Err(CborError::NotCanonical);
                    }
                }
                Ok(roles)
            })?,
        };
        fields.end()?;
        document.check()?;
        Ok(document)
    }
}

impl Canonical for RoleRule {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.threshold)));
            fields.field(1, |w| w.list(&self.keys, |w, key| key.write(w)));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let rule = Self {
            threshold: fields.required(0, Reader::u32)?,
            keys: fields.required(1, |r| r.list(MAX_KEYS_PER_ROLE, RoleKey::read))?,
        };
        fields.end()?;
        Ok(rule)
    }
}

impl Canonical for RoleKey {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(self.key.as_bytes()));
            fields.option(1, self.not_before, Writer::time);
            fields.option(2, self.not_after, Writer::time);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let key = Self {
            key: fields.required(0, read_key)?,
            not_before: fields.optional(1, Reader::time)?,
            not_after: fields.optional(2, Reader::time)?,
        };
        fields.end()?;
        Ok(key)
    }
}

/// Reads a public key; a weak one is as bad as a wrong shape.
pub(crate) fn read_key(reader: &mut Reader<'_>) -> Result<PublicKey, CborError> {
    PublicKey::from_bytes(&reader.fixed()?).map_err(|_| CborError::Value("public key that must not be used"))
}
