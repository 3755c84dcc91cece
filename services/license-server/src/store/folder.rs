//! The state folder as a place of its own: made for one user, and used by one server at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lictor_clock::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};
use thiserror::Error;

const LOCK_FILE: &str = "lock";
/// Longest record about the holder that is read.
const MAX_HOLDER_BYTES: u64 = 512;

/// Why the folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// Another server holds it.
    #[error("the state folder {} is in use by {holder}; next: stop that one, or give this one another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds it, as far as it says.
        holder: String,
    },
    /// It cannot be made or opened.
    #[error("the state folder {} cannot be used ({source}); next: let this user own it with mode 0700", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Keeps other servers away for as long as it lives, and not longer: the kernel frees it with the process.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Makes the folder if need be and takes its lock. `holder` is one line for whoever comes second.
///
/// # Errors
/// See [`FolderError`].
pub fn lock(path: &Path, now: Timestamp) -> Result<FolderLock, FolderError> {
    let unusable = |source| FolderError::Unusable { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or(0);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path.join(LOCK_FILE))
        .map_err(unusable)?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(unusable(error.into()));
        }
        let mut holder = String::new();
        // What it says is only for people.
        let _ = file.take(MAX_HOLDER_BYTES).read_to_string(&mut holder);
        let holder = holder.trim().to_owned();
        let holder = if holder.is_empty() { "another licence server".to_owned() } else { holder };
        return Err(FolderError::InUse { path: path.to_owned(), holder });
    }
    let process = std::process::id();
    let host = host_name();
    let text = format!("the licence server with process id {process} on host {host}, started at {now}\n");
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())).map_err(unusable)?;
    Ok(FolderLock { _file: file })
}

/// The name of this machine, or of the container that this process runs in.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
