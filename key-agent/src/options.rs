//! What the agent is told when it starts. The PIN is never among the arguments: any user of a machine may read those.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// How it is called.
pub const USAGE: &str = "lictor-key-agent --module FILE.so --token LABEL --socket PATH [--pin-file FILE]; without a file \
                         the PIN is taken from LICTOR_KEY_AGENT_PIN";
/// Exit code of wrong arguments.
pub const EXIT_USAGE: u8 = 64;
/// Exit code of a PIN that cannot be read, or that the token refused.
pub const EXIT_PIN: u8 = 77;
/// Exit code of a module or token that failed; the next worker may have more luck.
pub const EXIT_TOKEN: u8 = 75;

const PIN_VARIABLE: &str = "LICTOR_KEY_AGENT_PIN";
const MAX_PIN_BYTES: u64 = 256;

/// The arguments.
#[derive(Clone, Debug)]
pub struct Options {
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Where to listen.
    pub socket: PathBuf,
    /// File with the PIN.
    pub pin_file: Option<PathBuf>,
    /// True in the process that loads the module.
    pub worker: bool,
}

/// Why a process ends, and with which code.
#[derive(Clone, Debug)]
pub struct End {
    /// One sentence.
    pub text: String,
    /// Exit code.
    pub code: u8,
}

impl End {
    /// An end with this code.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), code }
    }
}

impl Options {
    /// Reads them.
    pub fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let (mut module, mut token, mut socket, mut pin_file, mut worker) = (None, None, None, None, false);
        while let Some(name) = arguments.next() {
            let name = name.to_string_lossy().into_owned();
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--module" => module = Some(PathBuf::from(value()?)),
                "--token" => token = Some(value()?.to_string_lossy().into_owned()),
                "--socket" => socket = Some(PathBuf::from(value()?)),
                "--pin-file" => pin_file = Some(PathBuf::from(value()?)),
                "--worker" => worker = true,
                _ => return Err(format!("{name} is no option of the key agent")),
            }
        }
        Ok(Self {
            module: module.ok_or("--module is missing")?,
            token: token.ok_or("--token is missing")?,
            socket: socket.ok_or("--socket is missing")?,
            pin_file,
            worker,
        })
    }

    /// The PIN, from the file or the environment.
    pub fn pin(&self) -> Result<Zeroizing<String>, End> {
        let unreadable = |text: String| End::new(EXIT_PIN, text);
        let mut pin = Zeroizing::new(String::new());
        match &self.pin_file {
            Some(path) => {
                let broken = |error: std::io::Error| unreadable(format!("{}: {}", path.display(), error.kind()));
                let file = File::open(path).map_err(broken)?;
                if file.metadata().map_err(broken)?.mode() & 0o077 != 0 {
                    return Err(unreadable(format!("{} is open to others: give it mode 0600", path.display())));
                }
                file.take(MAX_PIN_BYTES).read_to_string(&mut pin).map_err(broken)?;
            }
            None => {
                let text = std::env::var(PIN_VARIABLE)
                    .map_err(|_| unreadable(format!("no PIN: give --pin-file or {PIN_VARIABLE}")))?;
                pin.push_str(&text);
            }
        }
        let length = pin.trim_end_matches(['\r', '\n']).len();
        pin.truncate(length);
        if pin.is_empty() { Err(unreadable("the PIN is empty".to_owned())) } else { Ok(pin) }
    }
}
