//! `lictor key`: root keys in the hands of people. Needs no network and no service.

use std::fs::OpenOptions;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lictor_key_store::holder::{MAX_FILE_BYTES, public_text, read_public};
use lictor_key_store::{HolderError, HolderKey};
use lictor_licensing::error::ErrorCode;
use lictor_signing::{PublicKey, Signer as _};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use super::vendor::document;
use crate::args::hex;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::{files, show};

const PASSPHRASE: &str = "LICTOR_PASSPHRASE";
const MAX_PASSPHRASE_BYTES: u64 = 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerbs {
    /// Make a root key: a private file that never leaves its holder, and a public one for the vendor
    ///
    /// The private file is sealed by a passphrase, asked for at the terminal, or read from a file or LICTOR_PASSPHRASE.
    #[command(after_help = "\
Examples:
  lictor key create -o alice.key
  lictor key create -o alice.key --passphrase-file alice.txt")]
    Create(Create),
    /// Show a key or a root document, with the fingerprint that people compare
    #[command(after_help = "Examples:\n  lictor key show alice.pub\n  lictor key show proposal.root")]
    Show(Show),
    /// Sign a proposed root document
    ///
    /// Compare the fingerprint that is shown with that of the others before you hand the file on.
    #[command(after_help = "Example:\n  lictor key sign proposal.root --key alice.key")]
    Sign(Sign),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// File of the private key; the public one is written beside it, as .pub
    #[arg(short, long, value_name = "F.key")]
    output: PathBuf,

    #[command(flatten)]
    passphrase: Passphrase,

    /// Do not seal the file: whoever reads it holds the key
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Passphrase {
    /// File whose first line is the passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A private or public key file, or a root document
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The proposal
    #[arg(value_name = "F.root")]
    file: PathBuf,

    /// The holder's private key file
    #[arg(long, value_name = "F.key")]
    key: PathBuf,

    #[command(flatten)]
    passphrase: Passphrase,

    /// Sign only this document: its fingerprint, as people compared it
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,

    /// File to write [default: the proposal itself]
    #[arg(short, long, value_name = "F.root")]
    output: Option<PathBuf>,
}

impl KeyVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Create(verb) => create(&verb, environment),
            Self::Show(verb) => look(&verb, environment),
            Self::Sign(verb) => sign(&verb, environment),
        }
    }
}

fn create(verb: &Create, environment: &Environment) -> Outcome {
    let public_path = verb.output.with_extension("pub");
    if public_path == verb.output {
        return Err(Failure::usage("the private file cannot end in .pub", "name it like alice.key"));
    }
    files::check_target(&verb.output, false)?;
    let passphrase = if verb.no_passphrase {
        environment.out.note("warning: the file is not sealed; whoever reads it holds the key");
        None
    } else {
        Some(verb.passphrase.read(true)?)
    };
    let key = HolderKey::generate().map_err(|error| refused(&verb.output, error))?;
    let text = key.to_text(passphrase.as_deref().map(String::as_str)).map_err(|error| refused(&verb.output, error))?;
    write_new(&verb.output, text.as_bytes(), 0o600)?;
    let public = key.signer().public_key();
    write_new(&public_path, public_text(&public).as_bytes(), 0o644)?;
    let mut object = key_object(&public);
    object["file"] = json!(verb.output);
    object["public_file"] = json!(public_path);
    object["sealed"] = passphrase.is_some().into();
    environment.out.one(&object, || {
        format!(
            "{}\nnext: keep {} to yourself, with a copy in another place; give {} to the vendor",
            key_sheet(&public),
            verb.output.display(),
            public_path.display()
        )
    });
    Ok(())
}

fn look(verb: &Show, environment: &Environment) -> Outcome {
    let bytes = files::read(&verb.file)?;
    if let Some((envelope, document)) = document::parse(&bytes) {
        let object = document::object(&envelope, &document);
        environment.out.one(&object, || document::text(&envelope, &document));
        return Ok(());
    }
    let text = zeroize::Zeroizing::new(String::from_utf8(bytes).unwrap_or_default());
    let (public, sealed) = match read_public(&text) {
        Ok(public) => (public, None),
        Err(_) => {
            let sealed = HolderKey::is_sealed(&text).map_err(|error| refused(&verb.file, error))?;
            (public_of(&text).ok_or_else(|| refused(&verb.file, HolderError::Damaged))?, Some(sealed))
        }
    };
    let mut object = key_object(&public);
    object["sealed"] = json!(sealed);
    environment.out.one(&object, || key_sheet(&public));
    Ok(())
}

/// The public half of a private file. A sealed one states it, though unproven before the passphrase is given.
fn public_of(text: &str) -> Option<PublicKey> {
    match HolderKey::open(text, None) {
        Ok(key) => Some(key.signer().public_key()),
        Err(_) => {
            let digits = text.lines().find_map(|line| line.strip_prefix("public "))?;
            PublicKey::from_slice(&crate::args::from_hex(digits)?).ok()
        }
    }
}

fn sign(verb: &Sign, environment: &Environment) -> Outcome {
    let (mut envelope, document) = document::read(&verb.file)?;
    let fingerprint = document::fingerprint(&document);
    if let Some(wanted) = &verb.fingerprint
        && wanted.replace([' ', ':'], "").to_ascii_lowercase() != fingerprint
    {
        return Err(Failure::new(
            ErrorCode::Conflict,
            format!("{} has the fingerprint {}", verb.file.display(), document::grouped(&fingerprint)),
            "ask the vendor for the right file; nothing was signed",
        ));
    }
    let text = zeroize::Zeroizing::new(String::from_utf8(files::read(&verb.key)?).unwrap_or_default());
    if text.len() > MAX_FILE_BYTES {
        return Err(refused(&verb.key, HolderError::Damaged));
    }
    let sealed = HolderKey::is_sealed(&text).map_err(|error| refused(&verb.key, error))?;
    let passphrase = if sealed { Some(verb.passphrase.read(false)?) } else { None };
    let key =
        HolderKey::open(&text, passphrase.as_deref().map(String::as_str)).map_err(|error| refused(&verb.key, error))?;
    let signer = key.signer();
    let public = signer.public_key();
    let already = envelope.open_by_key::<lictor_signing::RootDocument>(&public).is_ok();
    if !already {
        envelope
            .add_signature(&signer)
            .map_err(|error| Failure::local(error.to_string(), "fetch the proposal anew, without signatures"))?;
    }
    let target = verb.output.as_ref().unwrap_or(&verb.file);
    files::replace(target, &envelope.to_bytes(), 0o644)?;
    let mut object = document::object(&envelope, &document);
    object["file"] = json!(target);
    object["key_id"] = public.id().to_string().into();
    environment.out.one(&object, || {
        format!(
            "{}\n\nsigned by {}\nnext: compare the fingerprint with the other holders, then give {} to the vendor, who \
             runs: lictor vendor root sign {1}",
            document::text(&envelope, &document),
            document::grouped(&public.id().to_string()),
            target.display()
        )
    });
    Ok(())
}

fn key_object(public: &PublicKey) -> serde_json::Value {
    json!({ "key_id": public.id().to_string(), "public_key": hex(public.as_bytes()) })
}

fn key_sheet(public: &PublicKey) -> String {
    show::sheet(&[("key", document::grouped(&public.id().to_string())), ("public key", hex(public.as_bytes()))])
}

impl Passphrase {
    /// From the file, the environment, or the terminal; typed twice when it is new.
    fn read(&self, new: bool) -> Outcome<zeroize::Zeroizing<String>> {
        if let Some(path) = &self.passphrase_file {
            let mut text = zeroize::Zeroizing::new(String::from_utf8(files::read(path)?).unwrap_or_default());
            let end = text.find(['\r', '\n']).unwrap_or(text.len());
            text.truncate(end);
            return not_empty(text);
        }
        if let Ok(text) = std::env::var(PASSPHRASE) {
            return not_empty(zeroize::Zeroizing::new(text));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage(
                "there is no terminal to ask for the passphrase",
                format!("give --passphrase-file FILE or {PASSPHRASE}"),
            ));
        }
        let typed = ask("passphrase: ")?;
        if new && *ask("once more: ")? != *typed {
            return Err(Failure::usage("the two passphrases differ", "start again; nothing was written"));
        }
        not_empty(typed)
    }
}

fn not_empty(text: zeroize::Zeroizing<String>) -> Outcome<zeroize::Zeroizing<String>> {
    if text.is_empty() {
        return Err(Failure::usage("the passphrase is empty", "give one, or --no-passphrase for a file without"));
    }
    Ok(text)
}

/// Asks without showing what is typed.
fn ask(question: &str) -> Outcome<zeroize::Zeroizing<String>> {
    let broken = |_| Failure::local("the terminal cannot be used", "give --passphrase-file FILE");
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(broken)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _ = write!(std::io::stderr(), "{question}").and_then(|()| std::io::stderr().flush());
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(broken)?;
    let mut line = zeroize::Zeroizing::new(String::new());
    let read = stdin.lock().take(MAX_PASSPHRASE_BYTES).read_line(&mut line);
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &before);
    crate::output::complain("");
    restored.map_err(broken)?;
    read.map_err(|_| Failure::local("the passphrase cannot be read", "give --passphrase-file FILE"))?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

fn refused(path: &Path, error: HolderError) -> Failure {
    let (code, next) = match error {
        HolderError::NeedsPassphrase => {
            (ErrorCode::InvalidArgument, "give --passphrase-file FILE or LICTOR_PASSPHRASE")
        }
        HolderError::WrongPassphrase => (ErrorCode::Unauthenticated, "try again with the right passphrase"),
        HolderError::System => (ErrorCode::Internal, "free some memory and try again"),
        HolderError::Damaged | HolderError::NotPublic => (ErrorCode::FileDamaged, "take another copy of the file"),
    };
    Failure::new(code, format!("{}: {error}", path.display()), next)
}

/// Writes a key file that was not there. A key is never replaced.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Outcome {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(
            ErrorCode::AlreadyExists,
            format!("{} is there already, and a key is never replaced", path.display()),
            "name another file after -o",
        ),
        kind => Failure::local(format!("{} cannot be written: {kind}", path.display()), "check the folder"),
    })
}
