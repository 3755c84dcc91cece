//! Root documents in words, for the vendor's verbs and for the holders of root keys.

use std::path::Path;

use lictor_clock::Timestamp;
use lictor_signing::{Envelope, MAX_ROOT_BYTES, PublicKey, Role, RootDocument, SignedPayload, cbor};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::args::hex;
use crate::failure::{Failure, Outcome};
use crate::{files, output, show};
use lictor_licensing::error::ErrorCode;

/// Hex in groups of four: what people read to each other.
pub(crate) fn grouped(hex: &str) -> String {
    let digits: Vec<char> = hex.chars().collect();
    digits.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// What people compare: SHA-256 of the document, hex.
pub(crate) fn fingerprint(document: &RootDocument) -> String {
    hex(&Sha256::digest(cbor::encode(document)))
}

/// Reads a signed root document, or one that is still to be signed. Nothing about it is trusted.
pub(crate) fn read(path: &Path) -> Outcome<(Envelope, RootDocument)> {
    let bytes = files::read(path)?;
    parse(&bytes).ok_or_else(|| {
        Failure::new(
            ErrorCode::FileDamaged,
            format!("{} is not a root document", path.display()),
            "give the file that was written by: lictor vendor root propose",
        )
    })
}

pub(crate) fn parse(bytes: &[u8]) -> Option<(Envelope, RootDocument)> {
    if bytes.len() > MAX_ROOT_BYTES {
        return None;
    }
    let envelope = Envelope::from_bytes(bytes).ok()?;
    if envelope.payload_type() != RootDocument::PAYLOAD_TYPE.name() {
        return None;
    }
    let document = cbor::decode(envelope.unverified_payload()).ok()?;
    Some((envelope, document))
}

/// The root keys of the document that signed it.
pub(crate) fn signers(envelope: &Envelope, document: &RootDocument) -> Vec<PublicKey> {
    let rule = document.roles.get(&Role::Root);
    let keys = rule.into_iter().flat_map(|rule| &rule.keys).map(|entry| entry.key);
    keys.filter(|key| envelope.open_by_key::<RootDocument>(key).is_ok()).collect()
}

/// The document for scripts.
pub(crate) fn object(envelope: &Envelope, document: &RootDocument) -> Value {
    let signed = signers(envelope, document);
    let keys: Vec<_> = document
        .roles
        .iter()
        .flat_map(|(role, rule)| rule.keys.iter().map(move |entry| (role, rule, entry)))
        .map(|(role, rule, entry)| {
            json!({
                "role": role.name(),
                "threshold": rule.threshold,
                "key_id": entry.key.id().to_string(),
                "public_key": hex(entry.key.as_bytes()),
                "not_before": entry.not_before.map(|time| time.to_string()),
                "not_after": entry.not_after.map(|time| time.to_string()),
                "signed": signed.contains(&entry.key),
            })
        })
        .collect();
    json!({
        "firm_code": document.firm_code,
        "name": document.name,
        "root_version": document.version,
        "root_fingerprint": fingerprint(document),
        "issued_at": document.issued_at.to_string(),
        "keys": keys,
    })
}

/// The document for people: whose it is, its fingerprint, and every key.
pub(crate) fn text(envelope: &Envelope, document: &RootDocument) -> String {
    let signed = signers(envelope, document);
    let sheet = show::sheet(&[
        ("firm code", document.firm_code.to_string()),
        ("name", document.name.clone()),
        ("root version", document.version.to_string()),
        ("fingerprint", grouped(&fingerprint(document))),
    ]);
    let mut rows = Vec::new();
    for (role, rule) in &document.roles {
        for entry in &rule.keys {
            let time = |time: Option<Timestamp>| {
                time.map_or("-".to_owned(), |time| Timestamp::from_seconds(time.as_seconds()).to_string())
            };
            rows.push(vec![
                role.name().to_owned(),
                format!("{} of {}", rule.threshold, rule.keys.len()),
                grouped(&entry.key.id().to_string()),
                time(entry.not_before),
                time(entry.not_after),
                if signed.contains(&entry.key) { "yes" } else { "" }.to_owned(),
            ]);
        }
    }
    format!("{sheet}\n\n{}", output::table(&["role", "needed", "key", "from", "until", "signed"], rows))
}
