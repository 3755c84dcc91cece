//! Root documents on the wire.

use lictor_api::{
    convert::{from_timestamp, timestamp},
    update::v1 as wire,
};
use lictor_clock::Timestamp;
use lictor_signing::{Envelope, MAX_KEYS_PER_ROLE, MAX_ROOT_BYTES, PublicKey, Role, RoleKey, RootDocument};
use tonic::Status;

use super::parse;
use crate::{
    domain::rotation::{Change, MAX_CHANGES},
    rotate::{Asked, Waiting, fingerprint},
};

pub(super) fn root_keys(keys: &[Vec<u8>]) -> Result<Vec<PublicKey>, Status> {
    if keys.len() > MAX_KEYS_PER_ROLE {
        return Err(crate::problem::status(crate::problem::limit("a list of root keys", MAX_KEYS_PER_ROLE as u64)));
    }
    keys.iter().map(|key| public_key(key)).collect()
}

pub(super) fn envelope(bytes: &[u8]) -> Result<Option<Envelope>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let read = if bytes.len() <= MAX_ROOT_BYTES { Envelope::from_bytes(bytes).ok() } else { None };
    read.map(Some)
        .ok_or_else(|| parse::invalid("this is not a signed root document", "give the file that a holder signed"))
}

pub(super) fn changes(changes: Vec<wire::RootChange>) -> Result<Vec<Asked>, Status> {
    if changes.is_empty() || changes.len() > MAX_CHANGES {
        return Err(parse::invalid(&format!("a proposal has 1 to {MAX_CHANGES} changes"), "say what is to change"));
    }
    changes.into_iter().map(change).collect()
}

fn change(change: wire::RootChange) -> Result<Asked, Status> {
    use wire::root_change::Change as Wire;
    Ok(match change.change {
        None => return Err(parse::invalid("a change is empty", "say what is to change")),
        Some(Wire::Add(add)) => {
            let role = role(&add.role)?;
            let (not_before, not_after) = (time(add.not_before)?, time(add.not_after)?);
            if not_before.zip(not_after).is_some_and(|(start, end)| start >= end) {
                return Err(parse::invalid("the window of a key ends before it begins", "give another end"));
            }
            if add.public_key.is_empty() {
                Asked::NewKey { role, not_before, not_after }
            } else {
                let entry = RoleKey { key: public_key(&add.public_key)?, not_before, not_after };
                Asked::Change(Change::Add { role, entry })
            }
        }
        Some(Wire::Retire(retire)) => Asked::Change(Change::Retire { id: retire.key_id }),
        Some(Wire::Limit(limit)) => {
            let end = time(limit.not_after)?;
            let not_after = end.ok_or_else(|| parse::invalid("a limit needs a time", "say when the key ends"))?;
            Asked::Change(Change::Limit { id: limit.key_id, not_after })
        }
        Some(Wire::Threshold(threshold)) => {
            Asked::Change(Change::Threshold { role: role(&threshold.role)?, count: threshold.count })
        }
    })
}

fn role(name: &str) -> Result<Role, Status> {
    let found = Role::ALL.into_iter().find(|role| role.name() == name);
    found.ok_or_else(|| {
        parse::invalid("this is not a role", "choose among root, issue, policy, time, support and lease-certifier")
    })
}

fn public_key(bytes: &[u8]) -> Result<PublicKey, Status> {
    PublicKey::from_slice(bytes)
        .map_err(|error| parse::invalid(&error.to_string(), "make a key with: lictor key create"))
}

fn time(time: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Status> {
    let wrong = || parse::invalid("a time lies out of range", "give a date of this century");
    time.map(|time| from_timestamp(&time).ok_or_else(wrong)).transpose()
}

pub(super) fn document(document: &RootDocument, held: &[PublicKey]) -> wire::RootDocument {
    let key = |entry: &RoleKey| wire::RoleKey {
        public_key: entry.key.as_bytes().to_vec(),
        key_id: entry.key.id().to_string(),
        not_before: entry.not_before.map(timestamp),
        not_after: entry.not_after.map(timestamp),
        held: held.contains(&entry.key),
    };
    let roles = document.roles.iter().map(|(role, rule)| wire::RoleRule {
        role: role.name().to_owned(),
        threshold: rule.threshold,
        keys: rule.keys.iter().map(key).collect(),
    });
    wire::RootDocument {
        firm_code: document.firm_code,
        name: document.name.clone(),
        version: document.version,
        issued_at: Some(timestamp(document.issued_at)),
        fingerprint: fingerprint(document),
        roles: roles.collect(),
    }
}

pub(super) fn proposal(waiting: Waiting, held: &[PublicKey]) -> wire::RootProposal {
    let tally = &waiting.tally;
    wire::RootProposal {
        document: Some(document(&waiting.document, held)),
        signed_by: tally.signed_by.iter().map(ToString::to_string).collect(),
        old_signatures: tally.old.0,
        old_threshold: tally.old.1,
        new_signatures: tally.new.0,
        new_threshold: tally.new.1,
        installable: tally.is_complete(),
        envelope: waiting.envelope,
    }
}
