//! The destination key: given, or in a file.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use lictor_runtime::StartError;

use crate::{domain::seal::Seal, random};

/// Where the destination key comes from.
#[derive(Debug, Clone)]
pub enum SealSource {
    /// This key.
    Given(Seal),
    /// The key in this file, which is made on first start.
    File(PathBuf),
}

impl SealSource {
    /// The seal; a missing file is made, readable by the owner alone.
    ///
    /// # Errors
    /// `Settings` when the file cannot be read or made, or holds no key.
    pub fn seal(&self) -> Result<Seal, StartError> {
        let path = match self {
            Self::Given(seal) => return Ok(seal.clone()),
            Self::File(path) => path,
        };
        let shown = path.display();
        let of_text = |text: &str| {
            Seal::from_hex(text).map_err(|error| {
                StartError::settings(format!(
                    "{shown} holds no destination key: {error}; next: put the file back from its copy"
                ))
            })
        };
        match std::fs::read_to_string(path) {
            Ok(text) => of_text(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = Seal::new(random::bytes());
                match write_once(path, &made.to_hex()) {
                    Ok(()) => Ok(made),
                    // Another replica was faster: its key counts.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        let text = std::fs::read_to_string(path).map_err(|error| {
                            StartError::settings(format!("the destination key {shown} cannot be read: {error}"))
                        })?;
                        of_text(&text)
                    }
                    Err(error) => Err(StartError::settings(format!(
                        "the destination key cannot be written to {shown}: {error}; next: let this program write there, \
                         or make the file"
                    ))),
                }
            }
            Err(error) => Err(StartError::settings(format!("the destination key {shown} cannot be read: {error}"))),
        }
    }
}

/// Writes a whole new file that only its owner can read, or none.
fn write_once(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let part = path.with_extension(format!("new-{}", random::hex()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link fails when the name is taken, and the name never stands for half a file.
        std::fs::hard_link(&part, path)
    })();
    let _ = std::fs::remove_file(&part);
    written
}
