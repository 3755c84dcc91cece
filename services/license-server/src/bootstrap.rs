//! The environment of a container image: files to import at the start, and what this server cannot do said at once.
//!
//! The names and exit codes are those that users of other licence servers' images know: 15 for settings that do not go
//! together or that need what is not there, 16 for a file that is missing, 17 for one that cannot be imported. A file that
//! was imported before is no error; one that changed is imported.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use lictor_license_file::frame::Frame;
use lictor_license_file::limits::MAX_ARMOR_BYTES;
use lictor_license_file::{FileType, armor};
use lictor_licensing::error::Problem;
use lictor_runtime::{Field, Reader, StartError};
use lictor_sdk::{Address, MAX_ADDRESSES};

use crate::writer::Ledger;

/// Exit code for settings that do not go together.
pub const EXIT_COMBINATION: u8 = 15;
/// Exit code for a file that is missing or cannot be read.
pub const EXIT_MISSING: u8 = 16;
/// Exit code for a file that cannot be imported.
pub const EXIT_IMPORT: u8 = 17;

/// Most files at one start.
const MAX_FILES: usize = 1_024;

const LICENSE_FILE: Field = Field::optional(
    "license_files",
    "CM_LICENSE_FILE",
    "files to import at the start, separated by commas: licence information files and update files; exit code 16 when one is missing, 17 when one cannot be imported",
);
const REMOTE_SERVER: Field = Field::optional(
    "remote_servers",
    "CM_REMOTE_SERVER",
    "licence servers of the network that lend seats to this one, the best first: `name[:port]`, separated by commas; at most 16",
);
const CLOUD_CREDENTIALS: Field = Field::optional(
    "cloud_credentials",
    "CM_CMCLOUD_CREDENTIALS",
    "credential files of cloud containers; there are none yet, so anything but empty ends the start with exit code 15",
);
const BROADCAST: Field = Field::optional(
    "broadcast_remote_servers",
    "CM_USE_BROADCAST_REMOTE_SERVERS",
    "`on` to look for network servers by broadcast, which this server cannot (exit code 15); `off` or nothing not to",
);
const LOG: Field = Field::with_default(
    "log_bootstrap",
    "CM_LOG_BOOTSTRAP",
    "off",
    "`on` to log every step of importing `CM_LICENSE_FILE`, `off` to log failures only",
);

/// What the environment asks of the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bootstrap {
    /// Files to import, in their order.
    pub license_files: Vec<PathBuf>,
    /// Network servers to ask.
    pub remote_servers: Vec<String>,
    /// Credential files of cloud containers.
    pub cloud_credentials: Vec<PathBuf>,
    /// Whether to look for network servers by broadcast; none when nothing is said.
    pub broadcast: Option<bool>,
    /// Whether every step is logged.
    pub log: bool,
}

/// A file that was read.
struct Loaded {
    path: PathBuf,
    kind: FileType,
    bytes: Vec<u8>,
}

impl Bootstrap {
    /// Reads the settings.
    pub fn read(reader: &mut Reader) -> Self {
        let paths = |texts: Vec<String>| texts.into_iter().map(PathBuf::from).collect();
        let broadcast = reader.optional_text(&BROADCAST);
        let broadcast = broadcast.filter(|text| !text.is_empty()).map(|text| {
            switch(&text).unwrap_or_else(|| {
                reader.mistake(&BROADCAST, "must be on or off");
                false
            })
        });
        let log = reader.text(&LOG);
        let log = switch(&log).unwrap_or_else(|| {
            reader.mistake(&LOG, "must be on or off");
            false
        });
        Self {
            license_files: paths(reader.list(&LICENSE_FILE)),
            remote_servers: reader.list(&REMOTE_SERVER),
            cloud_credentials: paths(reader.list(&CLOUD_CREDENTIALS)),
            broadcast,
            log,
        }
    }

    /// Refuses what does not go together or cannot be done, before anything is touched.
    ///
    /// # Errors
    /// With exit code 15.
    pub fn check(&self) -> Result<(), StartError> {
        let beside = [
            ("CM_LICENSE_FILE", !self.license_files.is_empty()),
            ("CM_REMOTE_SERVER", !self.remote_servers.is_empty()),
            ("CM_USE_BROADCAST_REMOTE_SERVERS", self.broadcast.is_some()),
        ];
        if !self.cloud_credentials.is_empty() {
            if let Some((name, _)) = beside.iter().find(|(_, given)| *given) {
                return Err(combination(format!(
                    "CM_CMCLOUD_CREDENTIALS and {name} do not go together; next: give one of them"
                )));
            }
            return Err(combination(
                "CM_CMCLOUD_CREDENTIALS is given, but this licence server has no cloud containers; next: leave it out, and \
                 give licences with CM_LICENSE_FILE",
            ));
        }
        self.servers()?;
        if self.broadcast == Some(true) {
            return Err(combination(
                "CM_USE_BROADCAST_REMOTE_SERVERS is on, but this licence server looks for no other server; next: set it to off",
            ));
        }
        if self.license_files.len() > MAX_FILES {
            return Err(combination(format!(
                "CM_LICENSE_FILE names {} files; next: name at most {MAX_FILES}",
                self.license_files.len()
            )));
        }
        Ok(())
    }

    /// The network servers of the search list, the best first.
    ///
    /// # Errors
    /// With exit code 15.
    pub fn servers(&self) -> Result<Vec<Address>, StartError> {
        if self.remote_servers.is_empty() {
            return Ok(Vec::new());
        }
        Address::parse_list(&self.remote_servers.join(",")).map_err(|error| {
            combination(format!("CM_REMOTE_SERVER: {error}; next: name at most {MAX_ADDRESSES} licence servers"))
        })
    }

    /// Imports the files. All of them are there before the first is imported; licence information files come first,
    /// whatever their place, because they make what the others are for.
    ///
    /// # Errors
    /// With exit code 16 or 17.
    pub async fn import(&self, ledger: &Ledger) -> Result<(), StartError> {
        let mut files = self.license_files.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
        files.sort_by_key(|file| file.kind != FileType::LicenseInformation);
        for Loaded { path, kind, bytes } in files {
            let done = match kind {
                FileType::LicenseInformation => {
                    let created =
                        ledger.change(move |writer, moment| writer.create_container(&bytes, None, moment)).await;
                    created.map(|created| if created.created { "imported" } else { "was imported before" })
                }
                FileType::Update => {
                    let imported = ledger.change(move |writer, moment| writer.import(&bytes, moment)).await;
                    imported.map(|imported| if imported.applied > 0 { "imported" } else { "was imported before" })
                }
                other => Err(Problem::new(
                    lictor_licensing::error::ErrorCode::InvalidArgument,
                    format!("it is {}, which no licence server imports", other.name()),
                    "name licence information files and update files",
                )),
            };
            match done {
                Ok(what) if self.log => tracing::info!(file = %path.display(), what, "bootstrap"),
                Ok(_) => {}
                Err(problem) => return Err(refused(&path, &problem)),
            }
        }
        Ok(())
    }
}

/// As people write switches.
pub(crate) fn switch(text: &str) -> Option<bool> {
    let known = [("on", true), ("1", true), ("true", true), ("off", false), ("0", false), ("false", false)];
    known.into_iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, on)| on)
}

fn combination(what: impl Into<String>) -> StartError {
    StartError::Told { code: EXIT_COMBINATION, what: what.into() }
}

fn refused(path: &Path, problem: &Problem) -> StartError {
    let what = format!("{} cannot be imported: {}; next: {}", path.display(), problem.message, problem.next);
    StartError::Told { code: EXIT_IMPORT, what }
}

fn load(path: &Path) -> Result<Loaded, StartError> {
    let missing = |error: std::io::Error| StartError::Told {
        code: EXIT_MISSING,
        what: format!(
            "{} is missing or cannot be read ({}); next: check CM_LICENSE_FILE and what is mounted there",
            path.display(),
            error.kind()
        ),
    };
    let file = std::fs::File::open(path).map_err(missing)?;
    if !file.metadata().map_err(missing)?.is_file() {
        return Err(missing(std::io::ErrorKind::InvalidInput.into()));
    }
    let mut bytes = Vec::new();
    // One more than any file may have: the reader of the file says then that it is too long.
    file.take(MAX_ARMOR_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(missing)?;
    let bytes = armor::unwrap(&bytes).map_err(|error| refused(path, &error.problem()))?.into_owned();
    let kind = Frame::parse(&bytes).map_err(|error| refused(path, &error.problem()))?.file_type;
    Ok(Loaded { path: path.to_owned(), kind, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bootstrap: &Bootstrap) -> Option<u8> {
        bootstrap.check().err().map(|error| {
            let text = error.to_string();
            assert!(text.contains("; next: ") && !text.ends_with('.'), "{text}");
            error.exit_code()
        })
    }

    #[test]
    fn what_does_not_go_together_or_cannot_be_done_is_refused_and_never_ignored() {
        let files = || vec![PathBuf::from("/a.lif")];
        let none = Bootstrap::default();
        assert_eq!(code(&none), None);
        assert_eq!(
            code(&Bootstrap { license_files: files(), broadcast: Some(false), log: true, ..none.clone() }),
            None
        );
        let cloud = Bootstrap { cloud_credentials: files(), ..none.clone() };
        let refused = [
            cloud.clone(),
            Bootstrap { license_files: files(), ..cloud.clone() },
            Bootstrap { remote_servers: vec!["server".to_owned()], ..cloud.clone() },
            Bootstrap { broadcast: Some(false), ..cloud },
            Bootstrap { remote_servers: vec!["no server".to_owned()], ..none.clone() },
            Bootstrap { broadcast: Some(true), ..none.clone() },
            Bootstrap { license_files: vec![PathBuf::from("/a.lif"); MAX_FILES + 1], ..none },
        ];
        for bootstrap in refused {
            assert_eq!(code(&bootstrap), Some(EXIT_COMBINATION), "{bootstrap:?}");
        }
    }

    #[test]
    fn settings_are_read_as_images_of_others_write_them() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let mut reader = Reader::new(pairs, None);
            let bootstrap = Bootstrap::read(&mut reader);
            reader.finish().map(|()| bootstrap).map_err(|error| error.to_string())
        };
        let bootstrap = read(&[
            ("CM_LICENSE_FILE", "/a.lif,/b.rau"),
            ("CM_LOG_BOOTSTRAP", "ON"),
            ("CM_USE_BROADCAST_REMOTE_SERVERS", "off"),
        ]);
        let expected = Bootstrap {
            license_files: vec!["/a.lif".into(), "/b.rau".into()],
            broadcast: Some(false),
            log: true,
            ..Bootstrap::default()
        };
        assert_eq!(bootstrap, Ok(expected));
        assert_eq!(read(&[]), Ok(Bootstrap::default()));
        assert!(read(&[("CM_LOG_BOOTSTRAP", "maybe")]).is_err());
        assert!(read(&[("CM_USE_BROADCAST_REMOTE_SERVERS", "perhaps")]).is_err());
    }

    #[test]
    fn a_missing_file_and_one_that_is_none_of_ours_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("garbage"), b"no file of ours").expect("written");
        std::fs::write(path("empty"), b"").expect("written");
        let code = |path: &Path| load(path).map(|_| ()).expect_err("refused").exit_code();
        assert_eq!(code(&path("nothing")), EXIT_MISSING);
        assert_eq!(code(folder.path()), EXIT_MISSING);
        assert_eq!(code(&path("garbage")), EXIT_IMPORT);
        assert_eq!(code(&path("empty")), EXIT_IMPORT);
    }
}
