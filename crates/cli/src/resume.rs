//! The journal of unfinished verbs: what makes a repeated command finish the change that an earlier run began.
//!
//! A record is written before the first request leaves and removed after the receipt was taken. It holds the request id
//! and the context that belong together: the same pair is answered with the same update file, byte for byte. One file per
//! subject, and a subject is everything that the command line says. Secrets are in it as hashes only.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lictor_licensing::ticket::TicketCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::args::hex;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::{files, request};

/// One change that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) request_id: String,
    pub(crate) context: Vec<u8>,
}

/// What a change is about: the verb and everything that its command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    verb: &'static str,
    ticket: Option<[u8; 32]>,
    choices: Vec<String>,
}

impl Subject {
    /// The order of `choices` plays no part.
    pub(crate) fn new(verb: &'static str, ticket: Option<&TicketCode>, choices: &[String]) -> Self {
        let mut choices = choices.to_vec();
        choices.sort_unstable();
        Self { verb, ticket: ticket.map(TicketCode::hash), choices }
    }

    /// The request id of a change by files: the same subject and context always get the same one.
    pub(crate) fn request_id(&self, context: &[u8]) -> String {
        let id = self.digest("lictor-change-by-file-v1", &hex(&Sha256::digest(context)));
        format!("req_{}", &id[..32])
    }

    fn digest(&self, label: &str, last: &str) -> String {
        let mut hash = Sha256::new().chain_update(label).chain_update([0]);
        hash.update(self.ticket.unwrap_or_default());
        for part in [self.verb, last].into_iter().chain(self.choices.iter().map(String::as_str)) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hex(&hash.finalize())
    }

    /// Names the verb and the ticket, whatever was chosen of it.
    fn owner(&self) -> String {
        let bare = Self { choices: Vec::new(), ..self.clone() };
        bare.digest("lictor-unfinished-owner-v1", "")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    owner: String,
    serial: String,
    choices: Vec<String>,
    request_id: String,
    context: String,
}

const VERSION: u32 = 2;

/// Most records that are looked at when somebody asks what is unfinished.
const MAX_RECORDS: usize = 1_000;

/// The place of one change's record.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    subject: Subject,
    serial: String,
}

impl Journal {
    /// The record for this subject in this container.
    pub(crate) fn of(folder: &Path, subject: Subject, serial: &str) -> Self {
        let name = subject.digest("lictor-unfinished-v1", serial);
        Self { path: folder.join(format!("{}.json", &name[..32])), subject, serial: serial.to_owned() }
    }

    /// What an earlier run left behind. A record that cannot be read is none: the next one takes its place.
    pub(crate) fn load(&self) -> Option<Begun> {
        let record = read(&self.path)?;
        let context = STANDARD.decode(record.context).ok()?;
        Some(Begun { request_id: record.request_id, context })
    }

    /// Notes a new change down, before anybody hears of it.
    pub(crate) fn begin(&self, context: Vec<u8>) -> Outcome<Begun> {
        let begun = Begun { request_id: request::fresh()?, context };
        let record = Record {
            version: VERSION,
            owner: self.subject.owner(),
            serial: self.serial.clone(),
            choices: self.subject.choices.clone(),
            request_id: begun.request_id.clone(),
            context: STANDARD.encode(&begun.context),
        };
        let content = serde_json::to_vec(&record)
            .map_err(|_| Failure::local("the change cannot be noted down", "this is a fault of the program"))?;
        if let Some(folder) = self.path.parent() {
            make_folder(folder)?;
        }
        files::replace(&self.path, &content, 0o600)?;
        Ok(begun)
    }

    /// Forgets the change: it is finished, or was refused for good.
    pub(crate) fn forget(&self) {
        // A record that stays behind is harmless: it leads to the same change.
        let _ = fs::remove_file(&self.path);
    }
}

/// A change that an earlier run did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// Container that it was for.
    pub(crate) serial: String,
    /// What was chosen, as on the command line.
    pub(crate) choices: Vec<String>,
}

/// The first unfinished change of this verb and ticket, whatever was chosen then.
pub(crate) fn unfinished(folder: &Path, verb: &'static str, ticket: &TicketCode) -> Option<Unfinished> {
    let owner = Subject::new(verb, Some(ticket), &[]).owner();
    let files = fs::read_dir(folder).ok()?.take(MAX_RECORDS).filter_map(Result::ok);
    let record = files.filter_map(|file| read(&file.path())).find(|record| record.owner == owner)?;
    Some(Unfinished { serial: record.serial, choices: record.choices })
}

fn read(path: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (record.version == VERSION).then_some(record)
}

/// The folder for notes: as given, else beside client.toml, else the user's folder for states.
pub(crate) fn state_folder(given: Option<&Path>, environment: &Environment) -> Outcome<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder.to_owned());
    }
    if let Some(folder) = &environment.settings.folder {
        return Ok(folder.join("unfinished"));
    }
    let variable = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local").join("state")))
        .map(|folder| folder.join("lictor").join("unfinished"))
        .ok_or_else(|| {
            Failure::usage("there is no folder for notes of this verb", "name one with --state or LICTOR_STATE")
        })
}

/// Makes the folder for notes, for its owner alone.
pub(crate) fn make_folder(folder: &Path) -> Outcome {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::local(
            format!("the folder {} cannot be made: {}", folder.display(), error.kind()),
            "name a writable folder with --state or LICTOR_STATE",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(ticket: u8, choices: &[&str]) -> Subject {
        let choices: Vec<String> = choices.iter().map(|text| (*text).to_owned()).collect();
        Subject::new("activate", Some(&TicketCode::new([ticket; 15])), &choices)
    }

    #[test]
    fn a_second_run_finds_the_request_of_the_first() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let state = folder.path().join("deep").join("state");
        let journal = Journal::of(&state, subject(9, &[]), "130-1");
        assert_eq!(journal.load(), None);
        let begun = journal.begin(b"context".to_vec()).expect("noted");
        assert_eq!(Journal::of(&state, subject(9, &[]), "130-1").load(), Some(begun));
        for other in [
            Journal::of(&state, subject(9, &[]), "130-2"),
            Journal::of(&state, subject(9, &["a=2"]), "130-1"),
            Journal::of(&state, subject(8, &[]), "130-1"),
            Journal::of(&state, Subject::new("return", Some(&TicketCode::new([9; 15])), &[]), "130-1"),
        ] {
            assert_eq!(other.load(), None, "another subject is another change");
        }
        journal.forget();
        assert_eq!(journal.load(), None);
    }

    #[test]
    fn the_ticket_is_not_in_the_record_nor_in_its_name() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let ticket = TicketCode::new([9; 15]);
        let journal = Journal::of(folder.path(), subject(9, &[]), "130-1");
        journal.begin(b"context".to_vec()).expect("noted");
        let content = fs::read_to_string(&journal.path).expect("record");
        let code = ticket.reveal();
        assert!(!content.contains(&code) && !content.contains(&code.replace('-', "")));
        assert!(!content.contains(&hex(&ticket.hash())), "the hash alone would let others look the ticket up");
        assert!(!journal.path.to_string_lossy().contains(&code[..5]));
    }

    #[test]
    fn a_damaged_record_counts_as_none() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let journal = Journal::of(folder.path(), subject(1, &[]), "130-1");
        fs::write(&journal.path, b"{\"version\":2,").expect("damaged");
        assert_eq!(journal.load(), None);
    }

    #[test]
    fn what_was_chosen_is_found_again_by_the_ticket_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let ticket = TicketCode::new([9; 15]);
        assert_eq!(unfinished(folder.path(), "activate", &ticket), None);
        Journal::of(folder.path(), subject(9, &["b", "a=2"]), "130-1").begin(Vec::new()).expect("noted");
        let found = unfinished(folder.path(), "activate", &ticket).expect("found");
        assert_eq!(found, Unfinished { serial: "130-1".to_owned(), choices: vec!["a=2".to_owned(), "b".to_owned()] });
        assert_eq!(unfinished(folder.path(), "return", &ticket), None);
        assert_eq!(unfinished(folder.path(), "activate", &TicketCode::new([8; 15])), None);
    }

    #[test]
    fn the_order_of_choices_does_not_make_another_request() {
        let both = subject(1, &["a", "b"]).request_id(b"c");
        assert_eq!(subject(1, &["b", "a"]).request_id(b"c"), both);
        assert_ne!(subject(1, &["a"]).request_id(b"c"), both);
        assert_ne!(subject(1, &["a", "b"]).request_id(b"d"), both);
    }
}
