//! Keeps two pulls from running at once.

use std::fs::{File, TryLockError};
use std::path::Path;

use lictor_licensing::error::ErrorCode;

use crate::failure::{Failure, Outcome};
use crate::resume::make_folder;

/// Held as long as a pull runs. It belongs to the open file, so the kernel lets it go whatever becomes of the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(folder: &Path) -> Outcome<Self> {
        make_folder(folder)?;
        let path = folder.join("pull.lock");
        let broken = |error: std::io::Error| {
            Failure::local(
                format!("{} cannot be locked: {}", path.display(), error.kind()),
                "name a writable folder with --state or LICTOR_STATE",
            )
        };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(broken)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                ErrorCode::Conflict,
                "another pull runs already",
                "let it finish; a pull that waits for its jitter counts too",
            )),
            Err(TryLockError::Error(error)) => Err(broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_pull_is_refused_until_the_first_has_ended() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let first = Lock::take(folder.path()).expect("free");
        assert_eq!(Lock::take(folder.path()).expect_err("taken").exit_code(), 5);
        drop(first);
        Lock::take(folder.path()).expect("free again");
    }
}
