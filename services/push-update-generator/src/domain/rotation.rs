//! The next root document, and whose signatures it has.

use lictor_clock::Timestamp;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_signing::{
    Envelope, KeyId, MAX_SIGNATURES, PublicKey, Role, RoleKey, RoleRule, RootDocument, Signature, SignedPayload,
    pre_authentication_encoding,
};

/// Most changes in one proposal.
pub const MAX_CHANGES: usize = 64;
/// Fewest digits of a key's id that name it.
const FEWEST_DIGITS: usize = 8;

/// One change of a root document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another key for a role.
    Add {
        /// The role.
        role: Role,
        /// The key with its window.
        entry: RoleKey,
    },
    /// This key counts no more.
    Retire {
        /// Beginning of its id in hex.
        id: String,
    },
    /// From a time on this key signs no more; what it signed before counts on.
    Limit {
        /// Beginning of its id in hex.
        id: String,
        /// The time.
        not_after: Timestamp,
    },
    /// How many keys of a role must agree.
    Threshold {
        /// The role.
        role: Role,
        /// How many.
        count: u32,
    },
}

/// The document that follows `before`.
///
/// # Errors
/// When a change names what is not there, or the result would not be a root document.
pub fn next(before: &RootDocument, changes: &[Change], now: Timestamp) -> Result<RootDocument, Problem> {
    let mut document = before.clone();
    document.version = before.version.checked_add(1).ok_or_else(|| refused("this is the last version there can be"))?;
    document.issued_at = now;
    for change in changes {
        match change {
            Change::Add { role, entry } => {
                if *role == Role::Root && (entry.not_before.is_some() || entry.not_after.is_some()) {
                    return Err(windowless());
                }
                let rule = document.roles.entry(*role).or_insert(RoleRule { threshold: 1, keys: Vec::new() });
                rule.keys.push(entry.clone());
            }
            Change::Retire { id } => {
                let (role, place) = find(&document, id)?;
                if let Some(rule) = document.roles.get_mut(&role) {
                    rule.keys.remove(place);
                }
            }
            Change::Limit { id, not_after } => {
                let (role, place) = find(&document, id)?;
                if role == Role::Root {
                    return Err(windowless());
                }
                if let Some(entry) = document.roles.get_mut(&role).and_then(|rule| rule.keys.get_mut(place)) {
                    entry.not_after = Some(*not_after);
                }
            }
            Change::Threshold { role, count } => {
                let rule = document.roles.get_mut(role).ok_or_else(|| refused(&format!("there is no {role} key")))?;
                rule.threshold = *count;
            }
        }
    }
    document.check().map_err(|error| refused(&error.to_string()))?;
    Ok(document)
}

fn find(document: &RootDocument, id: &str) -> Result<(Role, usize), Problem> {
    let matches = |entry: &RoleKey| id.len() >= FEWEST_DIGITS && entry.key.id().to_string().starts_with(id);
    let mut found = document.roles.iter().flat_map(|(role, rule)| {
        rule.keys.iter().enumerate().filter(|(_, entry)| matches(entry)).map(|(place, _)| (*role, place))
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Problem::new(
            ErrorCode::NotFound,
            format!("the root document names no key {id}"),
            "compare the ids with: lictor vendor root show",
        )),
        _ => Err(refused(&format!("two keys begin with {id}"))),
    }
}

/// Who signed a proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ids of all root keys that signed, of both documents.
    pub signed_by: Vec<KeyId>,
    /// Distinct root keys of the document before that signed, and how many must.
    pub old: (u32, u32),
    /// The same for the proposal's own.
    pub new: (u32, u32),
}

impl Tally {
    /// Counts distinct keys whose signature verifies; hints and repetitions do not count.
    #[must_use]
    pub fn of(envelope: &Envelope, before: Option<&RootDocument>, document: &RootDocument) -> Self {
        let signed = |key: &PublicKey| envelope.open_by_key::<RootDocument>(key).is_ok();
        let count = |document: &RootDocument| {
            let rule = document.roles.get(&Role::Root);
            let keys = rule.into_iter().flat_map(|rule| &rule.keys);
            let signers: Vec<_> = keys.map(|entry| entry.key).filter(signed).collect();
            let valid = u32::try_from(signers.len()).unwrap_or(u32::MAX);
            (signers, (valid, rule.map_or(0, |rule| rule.threshold)))
        };
        let (old_signers, old) = before.map(count).unwrap_or_default();
        let (new_signers, new) = count(document);
        let mut signed_by: Vec<_> = old_signers.iter().chain(&new_signers).map(PublicKey::id).collect();
        signed_by.sort_unstable();
        signed_by.dedup();
        Self { signed_by, old, new }
    }

    /// Whether both thresholds are met.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.old.0 >= self.old.1 && self.new.0 >= self.new.1
    }
}

/// All root keys whose signature a proposal may need.
#[must_use]
pub fn root_keys(before: Option<&RootDocument>, document: &RootDocument) -> Vec<PublicKey> {
    let rules = before.into_iter().chain([document]).filter_map(|document| document.roles.get(&Role::Root));
    let mut keys: Vec<PublicKey> = Vec::new();
    for entry in rules.flat_map(|rule| &rule.keys) {
        if !keys.contains(&entry.key) {
            keys.push(entry.key);
        }
    }
    keys
}

/// The envelope with the good signatures of `other` added, each key once, and how many those are. Whatever else `other`
/// carries is left out.
///
/// # Errors
/// When `other` is about another document.
pub fn merge(envelope: &Envelope, other: &Envelope, keys: &[PublicKey]) -> Result<(Envelope, u32), Problem> {
    let same = other.payload_type() == RootDocument::PAYLOAD_TYPE.name()
        && other.unverified_payload() == envelope.unverified_payload();
    if !same {
        return Err(Problem::new(
            ErrorCode::Conflict,
            "the signed file is not the proposal that waits here",
            "fetch the proposal anew with: lictor vendor root show -o FILE, and let its holders sign that",
        ));
    }
    let message = pre_authentication_encoding(envelope.payload_type(), envelope.unverified_payload());
    let by = |envelope: &Envelope, key: &PublicKey| {
        let id = key.id();
        let mut signatures = envelope.signatures().iter().filter(|(hint, _)| *hint == id);
        signatures.find(|(_, signature)| key.verifies(&message, signature)).copied()
    };
    let mut merged: Vec<(KeyId, Signature)> = Vec::new();
    let mut added = 0;
    for key in keys {
        let old = by(envelope, key);
        if let Some(signature) = old.or_else(|| by(other, key))
            && merged.len() < MAX_SIGNATURES
        {
            merged.push(signature);
            added += u32::from(old.is_none());
        }
    }
    let payload = envelope.unverified_payload().to_vec();
    Ok((Envelope::from_parts(RootDocument::PAYLOAD_TYPE, payload, merged), added))
}

fn refused(text: &str) -> Problem {
    Problem::new(ErrorCode::InvalidArgument, text, "look at the present keys with: lictor vendor root show")
}

fn windowless() -> Problem {
    refused("root keys have no window, so that a container without trusted time can follow every rotation")
}
