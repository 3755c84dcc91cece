//! `lictor installation init`: the keys that the services of one installation share, and a token for its administrator,
//! for sites without an identity provider of their own. `lictor up` needs none of it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use lictor_auth::{LocalIssuer, Role};
use lictor_cli::{Extra, Frame};
use lictor_clock::{Clock, SystemClock};
use lictor_licensing::error::{ErrorCode, Problem};
use serde_json::json;

/// `iss` of tokens for people.
const PEOPLE: &str = "lictor-local";
/// `iss` of tokens between services; the services expect exactly this.
const SERVICES: &str = "lictor-services";
const AUDIENCE: &str = "lictor";
/// How long the administrator's token is good.
const TOKEN_LIFE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Keys and tokens of an installation
#[derive(Args, Debug)]
struct Installation {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make the keys that the services share, and an admin token
    ///
    /// What is there already is kept; only the token is written anew. Files: people.pem (signs tokens of people), people.jwks
    /// (AUTH_JWKS_FILE, with AUTH_ISSUER=lictor-local and AUTH_ALGORITHM=EdDSA), services.pem (SERVICE_KEY_FILE), ticket.key
    /// (LICTOR_TICKET_KEY_PATH), destination.key (LICTOR_DESTINATION_KEY_PATH), admin.token (LICTOR_TOKEN_FILE of the verbs).
    #[command(after_help = "Example:\n  lictor installation init /srv/lictor/secrets")]
    Init {
        /// Folder of the keys
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// The verb, for the program.
pub(crate) fn verb() -> Extra {
    Extra {
        command: Installation::augment_args(Command::new("installation")),
        run: |matches, frame| run(matches, frame),
    }
}

fn run(matches: &ArgMatches, frame: Frame) -> ExitCode {
    let outcome = Installation::from_arg_matches(matches)
        .map_err(|error| Problem::new(ErrorCode::InvalidArgument, error.to_string(), "see --help"))
        .and_then(|Installation { verb: Verb::Init { folder } }| init(&folder).map(|()| folder));
    match outcome {
        Ok(folder) => {
            let text = || {
                format!(
                    "the keys of this installation are in {}\nnext: keep a copy of them where backups go",
                    folder.display()
                )
            };
            frame.result(&json!({ "folder": folder, "issuer": PEOPLE }), text);
            ExitCode::SUCCESS
        }
        Err(problem) => frame.failed(problem),
    }
}

fn init(folder: &Path) -> Result<(), Problem> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| broken(&format!("the folder {} cannot be made: {}", folder.display(), error.kind())))?;
    let people = issuer(PEOPLE, &folder.join("people.pem"))?;
    issuer(SERVICES, &folder.join("services.pem"))?;
    write(&folder.join("people.jwks"), &people.jwks())?;
    for name in ["ticket.key", "destination.key"] {
        let key: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
        write_once(&folder.join(name), &key)?;
    }
    let token = people
        .mint("admin", &[Role::Admin], AUDIENCE, TOKEN_LIFE, SystemClock.now())
        .map_err(|error| broken(&error.to_string()))?;
    write(&folder.join("admin.token"), &token)
}

fn issuer(name: &str, path: &Path) -> Result<LocalIssuer, Problem> {
    LocalIssuer::load_or_create(name, path, &random()?).map_err(|error| broken(&error.to_string()))
}

fn random() -> Result<[u8; 32], Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| broken(&format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// Puts a file there in one step, readable by its owner alone.
fn write(path: &Path, content: &str) -> Result<(), Problem> {
    let part = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(content.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path))
        .and_then(|()| File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all());
    written.map_err(|error| broken(&format!("{} cannot be written: {}", path.display(), error.kind())))
}

/// As [`write`], but what is there already is kept: tickets are derived from it.
fn write_once(path: &Path, content: &str) -> Result<(), Problem> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => write(path, content),
        Err(error) => Err(broken(&format!("{} cannot be read: {}", path.display(), error.kind()))),
    }
}

fn broken(what: &str) -> Problem {
    Problem::new(ErrorCode::Internal, what, "check the folder, its permissions and the space left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_keeps_the_keys_and_renews_the_token() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("file is there");
        init(folder.path()).expect("first");
        let names = ["people.pem", "people.jwks", "services.pem", "ticket.key", "destination.key"];
        let first = names.map(&read);
        init(folder.path()).expect("second");
        assert_eq!(names.map(&read), first);
        assert_eq!(read("ticket.key").len(), 64);
        assert_eq!(read("admin.token").split('.').count(), 3);
    }
}
