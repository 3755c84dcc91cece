//! The activation journal: what makes a repeated `lictor activate` finish the activation that an earlier run began.
//!
//! A record is written before the first request leaves and removed after the receipt was taken. It holds the request id
//! and the context that belong together: the same pair is answered with the same update file, byte for byte. The ticket
//! itself is not in it, only its hash.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lictor_licensing::ticket::TicketCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::args::{fresh_request_id, hex};
use crate::failure::{Failure, Outcome};
use crate::files;

/// One activation that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) request_id: String,
    pub(crate) context: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    request_id: String,
    context: String,
}

const VERSION: u32 = 1;

/// The place of one activation's record.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The record for these licenses of this ticket in this container.
    pub(crate) fn of(folder: &Path, ticket: &TicketCode, licenses: &[String], serial: &str) -> Self {
        let mut sorted: Vec<&str> = licenses.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        let name = hex(&digest("lictor-activation-journal-v1", ticket, &[&sorted.join(","), serial]));
        Self { path: folder.join(format!("{}.json", &name[..32])) }
    }

    /// What an earlier run left behind. A record that cannot be read is none: the next one takes its place.
    pub(crate) fn load(&self) -> Option<Begun> {
        let content = fs::read(&self.path).ok()?;
        let record: Record = serde_json::from_slice(&content).ok()?;
        let context = STANDARD.decode(record.context).ok()?;
        (record.version == VERSION).then_some(Begun { request_id: record.request_id, context })
    }

    /// Notes a new activation down, before anybody hears of it.
    pub(crate) fn begin(&self, context: Vec<u8>) -> Outcome<Begun> {
        let begun = Begun { request_id: fresh_request_id()?, context };
        let record =
            Record { version: VERSION, request_id: begun.request_id.clone(), context: STANDARD.encode(&begun.context) };
        let content = serde_json::to_vec(&record)
            .map_err(|_| Failure::local("the activation cannot be noted down", "this is a fault of the program"))?;
        if let Some(folder) = self.path.parent() {
            make_folder(folder)?;
        }
        files::replace(&self.path, &content, 0o600)?;
        Ok(begun)
    }

    /// Forgets the activation: it is finished, or was refused for good.
    pub(crate) fn forget(&self) {
        // A record that stays behind is harmless: it leads to the same activation.
        let _ = fs::remove_file(&self.path);
    }
}

fn make_folder(folder: &Path) -> Outcome {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::local(
            format!("the folder {} cannot be made: {}", folder.display(), error.kind()),
            "name a writable folder with --state or LICTOR_STATE",
        )
    })
}

/// The request id of an activation by files: the same ticket, licenses and context always get the same one.
pub(crate) fn derived_request_id(ticket: &TicketCode, licenses: &[String], context: &[u8]) -> String {
    let mut sorted: Vec<&str> = licenses.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let context = hex(&Sha256::digest(context));
    let id = hex(&digest("lictor-activation-by-file-v1", ticket, &[&sorted.join(","), &context]));
    format!("req_{}", &id[..32])
}

fn digest(label: &str, ticket: &TicketCode, parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new().chain_update(label).chain_update([0]).chain_update(ticket.hash());
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_finds_the_request_of_the_first() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let ticket = TicketCode::new([9; 15]);
        let state = folder.path().join("deep").join("state");
        let journal = Journal::of(&state, &ticket, &[], "130-1");
        assert_eq!(journal.load(), None);
        let begun = journal.begin(b"context".to_vec()).expect("noted");
        assert_eq!(Journal::of(&state, &ticket, &[], "130-1").load(), Some(begun));
        assert_eq!(Journal::of(&state, &ticket, &[], "130-2").load(), None, "another container is another activation");
        journal.forget();
        assert_eq!(journal.load(), None);
    }

    #[test]
    fn the_ticket_is_not_in_the_record_nor_in_its_name() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let ticket = TicketCode::new([9; 15]);
        let journal = Journal::of(folder.path(), &ticket, &[], "130-1");
        journal.begin(b"context".to_vec()).expect("noted");
        let content = fs::read_to_string(&journal.path).expect("record");
        let code = ticket.reveal();
        assert!(!content.contains(&code) && !content.contains(&code.replace('-', "")));
        assert!(!journal.path.to_string_lossy().contains(&code[..5]));
    }

    #[test]
    fn a_damaged_record_counts_as_none() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let journal = Journal::of(folder.path(), &TicketCode::new([1; 15]), &[], "130-1");
        fs::write(&journal.path, b"{\"version\":1,").expect("damaged");
        assert_eq!(journal.load(), None);
    }

    #[test]
    fn the_order_of_licenses_does_not_make_another_request() {
        let ticket = TicketCode::new([1; 15]);
        let both = derived_request_id(&ticket, &["a".to_owned(), "b".to_owned()], b"c");
        assert_eq!(derived_request_id(&ticket, &["b".to_owned(), "a".to_owned()], b"c"), both);
        assert_ne!(derived_request_id(&ticket, &["a".to_owned()], b"c"), both);
        assert_ne!(derived_request_id(&ticket, &["a".to_owned(), "b".to_owned()], b"d"), both);
    }
}
