//! A secret key of a service: given as a setting, or in a file that the first start makes.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{Field, Reader};
use crate::StartError;

/// Bytes of such a key.
const KEY_BYTES: usize = 32;

/// Where a service's secret key of 32 bytes comes from. `Debug` shows no key.
#[derive(Clone)]
pub enum KeySource {
    /// This key.
    Given([u8; KEY_BYTES]),
    /// The key in this file, as 64 hexadecimal digits; made on first start.
    File(PathBuf),
}

impl KeySource {
    /// Reads the setting of the key and the setting of its file, of which exactly one has to be there; mistakes are
    /// collected in the reader.
    pub fn read(reader: &mut Reader, key: &Field, path: &Field) -> Self {
        let given = reader.optional_secret(key);
        let file = reader.optional_path(path);
        match (given, file) {
            (Some(given), None) => match of_hex(given.expose()) {
                Some(bytes) => return Self::Given(bytes),
                None => reader.mistake(key, "is wrong: it is 64 hexadecimal digits"),
            },
            (None, Some(path)) => return Self::File(path),
            (Some(_), Some(_)) => reader.mistake(key, format!("and {} exclude each other", path.name)),
            (None, None) => reader.mistake(key, format!("or {} is missing", path.name)),
        }
        Self::File(PathBuf::new())
    }

    /// The key, called `name` in errors and the log. A missing file is made from `random`, readable by its owner
    /// alone; of replicas that start at the same moment one makes it and the others read it.
    ///
    /// # Errors
    /// `Settings` when the file cannot be read or made, or holds no key.
    pub fn key(&self, name: &str, random: fn() -> [u8; KEY_BYTES]) -> Result<[u8; KEY_BYTES], StartError> {
        let path = match self {
            Self::Given(key) => return Ok(*key),
            Self::File(path) => path,
        };
        let shown = path.display();
        if let Some(key) = read(name, path)? {
            return Ok(key);
        }
        let made = random();
        match write_once(path, &to_hex(&made), &to_hex(&random()[..8])) {
            Ok(()) => {
                tracing::info!(path = %shown, "{name} made; keep a copy of it");
                Ok(made)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => read(name, path)?.ok_or_else(|| {
                StartError::settings(format!("the {name} {shown} comes and goes; next: see who removes it"))
            }),
            Err(error) => Err(StartError::settings(format!(
                "the {name} cannot be written to {shown}: {error}; next: let this program write there, or make the file"
            ))),
        }
    }
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given(***)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The key in a file; `None` when there is no file.
fn read(name: &str, path: &Path) -> Result<Option<[u8; KEY_BYTES]>, StartError> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => of_hex(&text).map(Some).ok_or_else(|| {
            StartError::settings(format!(
                "{shown} holds no {name}, which is 64 hexadecimal digits; next: put the file back from its copy"
            ))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::settings(format!("the {name} {shown} cannot be read: {error}"))),
    }
}

/// Writes a file that did not exist, whole and for good, or not at all: what is derived from a key outlives its process.
fn write_once(path: &Path, text: &str, unique: &str) -> io::Result<()> {
    let part = path.with_extension(format!("new-{unique}"));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link fails when the name is taken, and the name never stands for half a file.
        std::fs::hard_link(&part, path)
    })();
    let _ = std::fs::remove_file(&part);
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn of_hex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let text = text.trim();
    if text.len() != KEY_BYTES * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).ok()?;
    }
    Some(key)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt as _,
        sync::{
            Barrier,
            atomic::{AtomicU8, Ordering},
        },
    };

    use super::*;

    const KEY: Field = Field::optional("some_key", "SOME_KEY", "a key").secret();
    const PATH: Field = Field::optional("some_key_path", "SOME_KEY_PATH", "its file");

    /// Other bytes at every call.
    fn counted() -> [u8; KEY_BYTES] {
        static CALLS: AtomicU8 = AtomicU8::new(1);
        [CALLS.fetch_add(1, Ordering::Relaxed); KEY_BYTES]
    }

    fn read_from(settings: &[(&str, &str)]) -> (KeySource, Result<(), String>) {
        let pairs = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut reader = Reader::new(pairs, None);
        let source = KeySource::read(&mut reader, &KEY, &PATH);
        (source, reader.finish().map_err(|error| error.to_string()))
    }

    #[test]
    fn replicas_that_start_at_the_same_moment_have_one_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = KeySource::File(folder.path().join("some.key"));
        let (start, starts) = (Barrier::new(8), 8);
        let keys: Vec<_> = std::thread::scope(|scope| {
            let start_one = || {
                start.wait();
                source.key("some key", counted).expect("a key")
            };
            let replicas: Vec<_> = (0..starts).map(|_| scope.spawn(start_one)).collect();
            replicas.into_iter().map(|replica| replica.join().expect("a replica")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(source.key("some key", counted).expect("the same later"), keys[0]);
        let files: Vec<_> =
            std::fs::read_dir(folder.path()).expect("the folder").map(|file| file.expect("a file")).collect();
        assert_eq!(files.len(), 1, "no part stays: {files:?}");
        let mode = files[0].metadata().expect("its rights").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "only the owner may read it");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_never_replaced_nor_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some.key");
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            std::fs::write(&path, bad).expect("written");
            let error = KeySource::File(path.clone()).key("some key", counted).expect_err(bad).to_string();
            assert!(error.contains("holds no some key") && error.contains("from its copy"), "{error}");
            assert!(bad.len() < KEY_BYTES || !error.contains(bad), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("the file"), bad);
        }
        std::fs::write(&path, format!(" {}\n", "0a".repeat(KEY_BYTES))).expect("written");
        assert_eq!(KeySource::File(path).key("some key", counted).expect("white space is left out"), [10; KEY_BYTES]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told_with_the_next_step() {
        let error = KeySource::File("/proc/some.key".into()).key("some key", counted).expect_err("no such place");
        assert!(error.to_string().contains("cannot be written to /proc/some.key"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn exactly_one_of_key_and_file_has_to_be_given() {
        let digits = "0b".repeat(KEY_BYTES);
        let (source, read) = read_from(&[("SOME_KEY", &digits)]);
        assert_eq!(read, Ok(()));
        assert_eq!(source.key("some key", counted).expect("given"), [11; KEY_BYTES]);
        assert!(!format!("{source:?}").contains("11") && !format!("{source:?}").contains("0b"), "{source:?}");

        let (source, read) = read_from(&[("SOME_KEY_PATH", "/a/file")]);
        assert_eq!(read, Ok(()));
        assert!(matches!(source, KeySource::File(path) if path == Path::new("/a/file")));

        for (settings, said) in [
            (vec![], "some_key_path is missing"),
            (vec![("SOME_KEY", digits.as_str()), ("SOME_KEY_PATH", "/a/file")], "exclude each other"),
            (vec![("SOME_KEY", "0b")], "64 hexadecimal digits"),
        ] {
            let error = read_from(&settings).1.expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
