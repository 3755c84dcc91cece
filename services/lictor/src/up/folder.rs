//! The folder of `lictor up`: one process at a time, readable by its owner alone, with the keys made on first start.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lictor_auth::{LocalIssuer, Role};
use lictor_clock::SharedClock;
use lictor_licensing::error::{ErrorCode, Problem};
use rustix::fs::{FlockOperation, flock};

/// How long the admin's token in `client.toml` is good; a new one is written on every start.
const TOKEN_LIFE: Duration = Duration::from_secs(365 * 24 * 3_600);
/// `aud` of all tokens.
pub(super) const AUDIENCE: &str = "lictor";
const ISSUER: &str = "lictor-up";

/// The folder, held by a lock as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// What proves who is who.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) issuer: LocalIssuer,
    pub(super) admin_token: String,
}

impl Folder {
    /// Makes the folder if need be and takes its lock.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let broken = |error: std::io::Error| {
            Problem::new(
                ErrorCode::Internal,
                format!("the folder {} cannot be used: {}", path.display(), error.kind()),
                "check its permissions, or name another one with --data",
            )
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(broken)?;
        // Absolute, because addresses of databases and sockets are made from it and end up in files.
        let path = path.canonicalize().map_err(broken)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(broken)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let holder = std::fs::read_to_string(path.join("lock")).unwrap_or_default();
            Problem::new(
                ErrorCode::Conflict,
                format!("the folder {} is in use by another lictor up (process {})", path.display(), holder.trim()),
                "stop that one, or name another folder with --data",
            )
        })?;
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(broken)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Address of a database in here.
    pub(super) fn database(&self, service: &str) -> String {
        format!("sqlite://{}", self.path.join(format!("{service}.db")).display())
    }

    /// The keys; made on first start.
    pub(super) fn keys(&self, clock: &SharedClock) -> Result<Keys, Problem> {
        let broken = |what: String| Problem::new(ErrorCode::Internal, what, "check the folder of --data");
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| broken(format!("the system gives no random bytes: {error}")))?;
        let issuer = LocalIssuer::load_or_create(ISSUER, &self.file("tokens.pem"), &seed)
            .map_err(|error| broken(error.to_string()))?;
        let admin_token = issuer
            .mint("admin", &[Role::Admin], AUDIENCE, TOKEN_LIFE, clock.now())
            .map_err(|error| broken(error.to_string()))?;
        Ok(Keys { issuer, admin_token })
    }

    /// Puts a file in here in one step, readable by its owner alone.
    pub(super) fn replace(&self, name: &str, content: &str) -> Result<PathBuf, Problem> {
        let path = self.file(name);
        let part = self.file(&format!("{name}.new"));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, &path)?;
            File::open(&self.path)?.sync_all()
        })();
        written.map(|()| path.clone()).map_err(|error: std::io::Error| {
            Problem::new(
                ErrorCode::Internal,
                format!("{} cannot be written: {}", path.display(), error.kind()),
                "check the folder, its permissions and the space left",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_on_one_folder_is_refused_and_the_first_is_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let first = Folder::open(folder.path()).expect("first");
        let refused = Folder::open(folder.path()).expect_err("second");
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains(&std::process::id().to_string()), "{}", refused.message);
        drop(first);
        Folder::open(folder.path()).expect("free again");
    }
}
