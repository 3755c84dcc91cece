//! Keys as files: one file per key in a folder that only its owner may enter.
//!
//! A file holds 32 secret bytes as a line of hexadecimal digits under a heading line. It is written whole to a new
//! name, synced, linked to its final name without ever replacing one, and the folder is synced: after a crash a key is
//! there completely or not at all, and no key is ever overwritten.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lictor_signing::{PublicKey, Role, Signature, Signer, SignerError};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::MemorySigner;

const HEADING: &str = "lictor-key-v1";
/// Heading, newline, 64 digits, newline.
const MAX_FILE_BYTES: u64 = 128;
const MAX_NAME_BYTES: usize = 96;

/// How strict the store is about being used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A developer's machine or a test.
    Development,
    /// A production setting: keys in files are refused.
    Production,
    /// A production setting whose operator accepts keys in files.
    ProductionForced,
}

/// Why the store or a key cannot be used.
#[derive(Debug, Error)]
pub enum KeyStoreError {
    /// Keys in files are not for production.
    #[error("keys in files are refused in production")]
    Production,
    /// Others than the owner may read or change the folder or a key.
    #[error("{path} is open to others: mode {mode:o}")]
    Permissions {
        /// The folder or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The folder or file belongs to somebody else, or is not a plain one.
    #[error("{0} is not a plain folder or file")]
    NotPlain(PathBuf),
    /// The name cannot be a file name.
    #[error("a key name consists of 1 to 96 lower-case letters, digits and hyphens")]
    Name,
    /// There is no such key.
    #[error("there is no key called {0}")]
    Missing(String),
    /// A key of this name is there already; keys are never replaced.
    #[error("a key called {0} is there already")]
    Exists(String),
    /// The content of the file is not a key.
    #[error("the key file {0} is damaged")]
    Damaged(PathBuf),
    /// The agent that holds the token, or the token itself, does not answer; trying later may work.
    #[error("the key agent does not answer: {0}")]
    Unavailable(String),
    /// The agent or the token refused for good.
    #[error("the key agent refused: {0}")]
    Refused(String),
    /// The operating system refused.
    #[error("the key file {path} cannot be used: {cause}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A folder of keys.
#[derive(Clone, Debug)]
pub struct FileKeyStore {
    folder: PathBuf,
}

impl FileKeyStore {
    /// Opens the folder, which is made with mode 0700 when it is not there.
    ///
    /// # Errors
    /// In production unless forced, and when the folder is open to others.
    pub fn open(folder: impl Into<PathBuf>, mode: Mode) -> Result<Self, KeyStoreError> {
        if mode == Mode::Production {
            return Err(KeyStoreError::Production);
        }
        let folder = folder.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error(&folder))?;
        let metadata = fs::symlink_metadata(&folder).map_err(io_error(&folder))?;
        if !metadata.is_dir() {
            return Err(KeyStoreError::NotPlain(folder));
        }
        require_private(&folder, metadata.mode())?;
        Ok(Self { folder })
    }

    /// The name under which the key of a firm's role is kept.
    #[must_use]
    pub fn role_key_name(firm_code: u32, role: Role, number: u32) -> String {
        format!("firm-{firm_code}-{}-{number}", role.name())
    }

    /// Makes a key from 32 secret random bytes.
    ///
    /// # Errors
    /// When a key of this name is there already, or it cannot be written durably.
    pub fn create(&self, name: &str, seed: &[u8; 32]) -> Result<FileSigner, KeyStoreError> {
        let path = self.path(name)?;
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
        text.push_str(HEADING);
        text.push('\n');
        for byte in seed {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        self.write_new(name, &path, text.as_bytes())?;
        // What is used is what can be read back.
        self.load(name)
    }

    /// Loads a key.
    ///
    /// # Errors
    /// When it is not there, is open to others, or is damaged.
    pub fn load(&self, name: &str) -> Result<FileSigner, KeyStoreError> {
        let path = self.path(name)?;
        // A link could point the store at a file that somebody else controls.
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return Err(KeyStoreError::Missing(name.to_owned()));
            }
            Err(cause) => return Err(KeyStoreError::Io { path, cause }),
        };
        if !metadata.is_file() {
            return Err(KeyStoreError::NotPlain(path));
        }
        require_private(&path, metadata.mode())?;
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize + 1));
        let file = File::open(&path).map_err(io_error(&path))?;
        match file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text) {
            Ok(_) => {}
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => return Err(KeyStoreError::Damaged(path)),
            Err(cause) => return Err(KeyStoreError::Io { path, cause }),
        }
        let seed = parse(&text).ok_or_else(|| KeyStoreError::Damaged(path.clone()))?;
        Ok(FileSigner { name: name.to_owned(), inner: MemorySigner::from_seed(&seed) })
    }

    /// Loads a key, or makes it from fresh random bytes of the operating system when it is not there.
    ///
    /// # Errors
    /// As [`FileKeyStore::load`] and [`FileKeyStore::create`].
    pub fn load_or_generate(&self, name: &str) -> Result<FileSigner, KeyStoreError> {
        match self.load(name) {
            Err(KeyStoreError::Missing(_)) => {}
            other => return other,
        }
        match self.generate(name) {
            // Another process was faster; its key is the key.
            Err(KeyStoreError::Exists(_)) => self.load(name),
            other => other,
        }
    }

    /// All keys that can be read, by name and public half. A damaged one is left out; loading it by name says why.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn keys(&self) -> Result<Vec<(String, PublicKey)>, KeyStoreError> {
        let names = self.names()?.into_iter();
        Ok(names.filter_map(|name| self.load(&name).ok().map(|key| (name, key.public_key()))).collect())
    }

    /// Makes a key from fresh random bytes of the operating system.
    ///
    /// # Errors
    /// As [`FileKeyStore::create`].
    pub fn generate(&self, name: &str) -> Result<FileSigner, KeyStoreError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| KeyStoreError::Io {
            path: self.folder.clone(),
            cause: io::Error::other(error.to_string()),
        })?;
        self.create(name, &seed)
    }

    /// The names of all keys, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, KeyStoreError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io_error(&self.folder))? {
            let entry = entry.map_err(io_error(&self.folder))?;
            let file_name = entry.file_name();
            let name = file_name.to_str().and_then(|name| name.strip_suffix(".key"));
            names.extend(name.filter(|name| valid_name(name)).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeyStoreError> {
        if valid_name(name) { Ok(self.folder.join(format!("{name}.key"))) } else { Err(KeyStoreError::Name) }
    }

    fn write_new(&self, name: &str, path: &Path, content: &[u8]) -> Result<(), KeyStoreError> {
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(|error| KeyStoreError::Io {
            path: path.to_path_buf(),
            cause: io::Error::other(error.to_string()),
        })?;
        let temporary = self.folder.join(format!(".{name}.{:016x}.new", u64::from_be_bytes(suffix)));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            // Unlike a rename, a link never replaces a key that is there.
            fs::hard_link(&temporary, path)
        })();
        let removed = fs::remove_file(&temporary);
        match written {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                return Err(KeyStoreError::Exists(name.to_owned()));
            }
            other => other.map_err(io_error(path))?,
        }
        removed.map_err(io_error(&temporary))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io_error(&self.folder))
    }
}

/// A key of a [`FileKeyStore`].
#[derive(Clone, Debug)]
pub struct FileSigner {
    name: String,
    inner: MemorySigner,
}

impl FileSigner {
    /// The name of the key in its store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Signer for FileSigner {
    fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        self.inner.sign(message)
    }

    fn blocks(&self) -> bool {
        self.inner.blocks()
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KeyStoreError + '_ {
    |cause| KeyStoreError::Io { path: path.to_path_buf(), cause }
}

fn require_private(path: &Path, mode: u32) -> Result<(), KeyStoreError> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(KeyStoreError::Permissions { path: path.to_path_buf(), mode: mode & 0o7777 })
}

fn valid_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.strip_prefix(HEADING)?.strip_prefix('\n')?.strip_suffix('\n')?;
    if digits.len() != 64 || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut seed = Zeroizing::new([0; 32]);
    for (place, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(seed)
}
