//! Imports on probation: until the server has started once with what it imported, the state from before lies aside.
//!
//! A start counts as failed from its beginning on; only a server that is up takes that back. So a start that ends in a
//! crash, or is killed because it takes all memory, counts like one that ends with a sentence. After the third one the
//! next start leaves the imports out.

use std::collections::BTreeMap;
use std::io;

use lictor_license_file::Digest;
use lictor_licensing::id::FirmCode;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};

use super::batch::{Position, Sealer};
use super::disk::{Disk, write_whole};
use super::snapshot;
use crate::domain::MAX_FIRMS;
use crate::domain::session::read_firm;
use crate::domain::taken_back::{Files, MAX_FILES, TakenBack};

/// The file in the state folder.
pub const FILE: &str = "before-import";
/// Starts that may fail before the imports are left out.
pub const MAX_FAILURES: u32 = 3;
/// Largest part of one firm.
const MAX_PART_BYTES: usize = 16 * 1024 * 1024;

/// What was imported since the server has last started, and what was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probation {
    failures: u32,
    /// For each firm: its part of the state from before, and the files that came since.
    firms: BTreeMap<FirmCode, (Vec<u8>, Vec<Digest>)>,
}

impl Probation {
    /// Reads the file of a folder; none when nothing is on probation. What cannot be read is as good as none: it would
    /// only keep the server from starting.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn load(disk: &dyn Disk, sealer: &Sealer) -> io::Result<Self> {
        let bytes = match disk.read(FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let content = snapshot::decode(sealer, &bytes).ok().and_then(|(_, content)| cbor::decode(&content).ok());
        if content.is_none() {
            tracing::warn!(file = FILE, "what was kept from before an import cannot be read");
        }
        Ok(content.unwrap_or_default())
    }

    /// Counts one more failed start, or takes one back, and makes that durable.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn store(&self, disk: &dyn Disk, sealer: &Sealer, nonce: &[u8; 24]) -> io::Result<()> {
        write_whole(disk, FILE, &snapshot::encode(sealer, Position::START, nonce, &self.to_bytes()))
    }

    /// The content of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Whether nothing is on probation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.firms.is_empty()
    }

    /// A start begins.
    pub fn begin(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The start failed for a reason that no import can have.
    pub fn take_back_begin(&mut self) {
        self.failures = self.failures.saturating_sub(1);
    }

    /// Whether the start that has begun must leave the imports out.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_empty() && self.failures > MAX_FAILURES
    }

    /// Whether the start that has begun is the last one that may fail.
    #[must_use]
    pub fn is_last_chance(&self) -> bool {
        !self.is_empty() && self.failures == MAX_FAILURES
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

impl Canonical for Probation {
    fn write(&self, writer: &mut Writer) {
        writer.array(2);
        writer.uint(u64::from(self.failures));
        writer.array(self.firms.len());
        for (firm, (part, files)) in &self.firms {
            writer.array(3);
            writer.uint(u64::from(firm.get()));
            writer.bytes(part);
            writer.list(files, |w, digest| digest.write(w));
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if reader.array(2)? != 2 {
            return Err(CborError::Value("imports on probation have two parts"));
        }
        let failures = reader.u32()?;
        let mut firms = BTreeMap::new();
        for _ in 0..reader.array(MAX_FIRMS)? {
            if reader.array(3)? != 3 {
                return Err(CborError::Value("an import on probation has three parts"));
            }
            let firm = read_firm(reader)?;
            let part = reader.bytes(MAX_PART_BYTES)?.to_vec();
            firms.insert(firm, (part, reader.list(MAX_FILES, Digest::read)?));
        }
        Ok(Self { failures, firms })
    }
}
