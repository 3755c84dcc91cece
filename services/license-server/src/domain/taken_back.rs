//! Imports that were taken back because the server did not start with them: which files, and how people learn of it.

use std::collections::BTreeMap;

use lictor_license_file::Digest;
use lictor_licensing::id::FirmCode;
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};

use super::MAX_FIRMS;
use super::session::read_firm;

/// Most files of one firm that are remembered.
pub const MAX_FILES: usize = 64;
const MAX_VERSION_BYTES: usize = 64;

/// The files of one firm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// SHA-256 of each.
    pub digests: Vec<Digest>,
    /// The program that did not start with them. A newer one may try again.
    pub version: String,
}

/// All that was taken back and not yet followed by a good update of the same firm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    files: BTreeMap<FirmCode, Files>,
    /// While the journal is replayed: the firms' parts of the state as they were before.
    parts: BTreeMap<FirmCode, Vec<u8>>,
}

impl TakenBack {
    /// Takes imports back: `parts` are the firms' parts from before, which hold against what the journal says.
    #[must_use]
    pub fn hold(parts: BTreeMap<FirmCode, Vec<u8>>, files: BTreeMap<FirmCode, Files>) -> Self {
        Self { files, parts }
    }

    /// Whether the journal's updates of this firm do not count.
    #[must_use]
    pub fn holds(&self, firm: FirmCode) -> bool {
        self.parts.contains_key(&firm)
    }

    /// The firm's part of the state as it was before.
    #[must_use]
    pub fn part(&self, firm: FirmCode) -> Option<&[u8]> {
        self.parts.get(&firm).map(Vec::as_slice)
    }

    /// The replay is over; from now on updates count again.
    pub fn release(&mut self) {
        self.parts.clear();
    }

    /// What was taken back before, and is still known.
    pub(super) fn add_files(&mut self, known: Self) {
        for (firm, files) in known.files {
            self.files.entry(firm).or_insert(files);
        }
    }

    /// An update of the firm was applied since.
    pub fn forget(&mut self, firm: FirmCode) {
        self.files.remove(&firm);
    }

    /// Whether nothing is taken back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether this program did not start with this very file.
    #[must_use]
    pub fn names(&self, firm: FirmCode, file: &Digest, version: &str) -> bool {
        self.files.get(&firm).is_some_and(|files| files.version == version && files.digests.contains(file))
    }

    /// What to tell people, if anything.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let (firm, files) = self.files.iter().next()?;
        let version = &files.version;
        Some(format!(
            "an update of firm {firm} was taken back, because version {version} of the licence server did not start with \
             it three times; upgrade the server and import the file again, or send a context to the vendor"
        ))
    }
}

impl Canonical for TakenBack {
    fn write(&self, writer: &mut Writer) {
        writer.array(self.files.len());
        for (firm, files) in &self.files {
            writer.array(3);
            writer.uint(u64::from(firm.get()));
            writer.list(&files.digests, |w, digest| digest.write(w));
            writer.text(&files.version);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut files = BTreeMap::new();
        for _ in 0..reader.array(MAX_FIRMS)? {
            if reader.array(3)? != 3 {
                return Err(CborError::Value("files that were taken back have three parts"));
            }
            let firm = read_firm(reader)?;
            let digests = reader.list(MAX_FILES, Digest::read)?;
            files.insert(firm, Files { digests, version: reader.text(MAX_VERSION_BYTES)?.to_owned() });
        }
        Ok(Self { files, parts: BTreeMap::new() })
    }
}
