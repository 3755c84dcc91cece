//! Imports on probation: until the server has started once with what it imported, the state from before lies aside.
//!
//! A start counts as failed from its beginning on; only a server that is up takes that back. So a start that ends in a
//! crash, or is killed because it takes all memory, counts like one that ends with a sentence. After the third one the
//! next start leaves the imports out.
//!
//! Each start that has begun is an empty file of its own. A start that fails for a reason that no import can have, such as
//! a full disk, is taken back by removing its file, which needs no room.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use lictor_license_file::Digest;
use lictor_licensing::id::FirmCode;
use lictor_signing::cbor::{Canonical as _, Reader, Writer};

use super::batch::Sealer;
use super::disk::Disk;
use super::snapshot;
use crate::domain::MAX_FIRMS;
use crate::domain::session::read_firm;
use crate::domain::taken_back::{Files, MAX_FILES, TakenBack};

/// The file in the state folder.
pub const FILE: &str = "before-import";
/// How the names of the files begin that stand for a start each; a number follows.
const START: &str = "start-since-import-";
/// Starts that may fail before the imports are left out.
pub const MAX_FAILURES: usize = 3;
/// Largest part of one firm.
const MAX_PART_BYTES: usize = 16 * 1024 * 1024;

/// For each firm: its part of the state from before, and the files that came since.
type Firms = BTreeMap<FirmCode, (Vec<u8>, Vec<Digest>)>;

/// What was imported since the server has last started, and what was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probation {
    /// Starts that have begun since, by their numbers.
    starts: BTreeSet<u32>,
    /// Which of them is the present one.
    present: Option<u32>,
    firms: Firms,
}

impl Probation {
    /// Reads what a folder holds; nothing when nothing is on probation. What cannot be read is as good as nothing: it would
    /// only keep the server from starting.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn load(disk: &dyn Disk, sealer: &Sealer) -> io::Result<Self> {
        let names = disk.list()?;
        let firms = if names.iter().any(|name| name == FILE) {
            let bytes = disk.read(FILE)?;
            let content = snapshot::decode(sealer, &bytes).ok().and_then(|(_, content)| decode(&content));
            if content.is_none() {
                tracing::warn!(file = FILE, "what was kept from before an import cannot be read");
            }
            content.unwrap_or_default()
        } else {
            BTreeMap::new()
        };
        let starts: BTreeSet<u32> =
            names.iter().filter_map(|name| name.strip_prefix(START)).filter_map(|number| number.parse().ok()).collect();
        if firms.is_empty() {
            // Left over from a crash at the end of a probation; they must not count against the next one.
            for number in &starts {
                disk.remove(&start_file(*number))?;
            }
            return Ok(Self::default());
        }
        Ok(Self { starts, present: None, firms })
    }

    /// The content of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.array(self.firms.len());
        for (firm, (part, files)) in &self.firms {
            writer.array(3);
            writer.uint(u64::from(firm.get()));
            writer.bytes(part);
            writer.list(files, |w, digest| digest.write(w));
        }
        writer.into_bytes()
    }

    /// Whether nothing is on probation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.firms.is_empty()
    }

    /// A start begins, and that is durable. Without anything on probation, or after too many of them, nothing is written.
    ///
    /// # Errors
    /// What the disk answers; the start does not count then.
    pub fn begin(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.is_empty() || self.is_over() {
            return Ok(());
        }
        let number = self.starts.last().map_or(1, |last| last.saturating_add(1));
        let file = start_file(number);
        let written = disk.create(&file).and_then(|mut file| file.sync()).and_then(|()| disk.sync_folder());
        if let Err(error) = written {
            // What matters is the first error.
            let _ = disk.remove(&file);
            return Err(error);
        }
        self.starts.insert(number);
        self.present = Some(number);
        Ok(())
    }

    /// The start failed for a reason that no import can have.
    ///
    /// # Errors
    /// What the disk answers; the start counts then.
    pub fn take_back_begin(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Some(number) = self.present.take() else { return Ok(()) };
        disk.remove(&start_file(number))?;
        self.starts.remove(&number);
        disk.sync_folder()
    }

    /// The files of all starts that count; they go before [`FILE`] does.
    pub fn start_files(&self) -> impl Iterator<Item = String> + '_ {
        self.starts.iter().map(|number| start_file(*number))
    }

    /// Whether the start that has begun must leave the imports out.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_empty() && self.starts.len() > MAX_FAILURES
    }

    /// Whether the start that has begun is the last one that may fail.
    #[must_use]
    pub fn is_last_chance(&self) -> bool {
        !self.is_empty() && self.starts.len() == MAX_FAILURES
    }

    /// Remembers the part of a firm before its first import; a later one only adds its file.
    pub fn add(&mut self, firm: FirmCode, file: Digest, part: impl FnOnce() -> Vec<u8>) {
        let (_, files) = self.firms.entry(firm).or_insert_with(|| (part(), Vec::new()));
        if files.len() < MAX_FILES && !files.contains(&file) {
            files.push(file);
        }
    }

    /// What the replay of the journal needs to leave the imports out.
    #[must_use]
    pub fn taken_back(&self, version: &str) -> TakenBack {
        let parts = self.firms.iter().map(|(firm, (part, _))| (*firm, part.clone())).collect();
        let files = self
            .firms
            .iter()
            .map(|(firm, (_, digests))| (*firm, Files { digests: digests.clone(), version: version.to_owned() }));
        TakenBack::hold(parts, files.collect())
    }
}

fn start_file(number: u32) -> String {
    format!("{START}{number}")
}

fn decode(content: &[u8]) -> Option<Firms> {
    let mut reader = Reader::new(content);
    let mut firms = BTreeMap::new();
    for _ in 0..reader.array(MAX_FIRMS).ok()? {
        if reader.array(3).ok()? != 3 {
            return None;
        }
        let firm = read_firm(&mut reader).ok()?;
        let part = reader.bytes(MAX_PART_BYTES).ok()?.to_vec();
        firms.insert(firm, (part, reader.list(MAX_FILES, Digest::read).ok()?));
    }
    Some(firms)
}
