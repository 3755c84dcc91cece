//! The process that loads the module and answers, one thread per connection.

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use lictor_key_store::agent::wire::{self, Fault, MAX_NAME_BYTES, MAX_REQUEST_BYTES, Reply, Request};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::options::{EXIT_PIN, EXIT_TOKEN, End, Options};
use crate::token::{Failure, Session, Token};

/// Most callers at the same time; more of them wait in the socket.
const MAX_CONNECTIONS: usize = 32;
/// A caller that begins a frame ends it within this time.
const FRAME_TIME: Duration = Duration::from_secs(10);

/// Answers until the module fails.
pub fn run(options: Options) -> Result<Infallible, End> {
    // Without the other process nobody could ever end this one.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let broken = |error: std::io::Error| End::new(EXIT_TOKEN, format!("the socket failed: {error}"));
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(broken)?);
    let token = Arc::new(Token::new(options));
    // A place per caller: sending takes one, and it is given back when the caller left.
    let (places, left) = sync_channel(MAX_CONNECTIONS);
    let left = Arc::new(std::sync::Mutex::new(left));
    loop {
        let _ = places.send(());
        let (stream, _) = listener.accept().map_err(broken)?;
        let (token, left) = (Arc::clone(&token), Arc::clone(&left));
        std::thread::spawn(move || {
            serve(stream, &token);
            let _ = left.lock().unwrap_or_else(std::sync::PoisonError::into_inner).try_recv();
        });
    }
}

/// Answers one caller, request by request, until it leaves.
fn serve(mut stream: UnixStream, token: &Token) {
    let mut session: Option<Session> = None;
    let _ = stream.set_write_timeout(Some(FRAME_TIME));
    while let Ok(Some(request)) = wire::receive::<Request>(&mut stream, MAX_REQUEST_BYTES) {
        let outcome = answer(token, &mut session, request);
        let end = outcome.as_ref().err().and_then(Failure::ends_with);
        let reply = outcome.unwrap_or_else(|failure| failure.reply());
        let sent = wire::send(&mut stream, &reply);
        if let Some(code) = end {
            // The next worker begins with a fresh module.
            std::process::exit(i32::from(code));
        }
        if sent.is_err() {
            return;
        }
    }
}

fn answer(token: &Token, session: &mut Option<Session>, request: Request) -> Result<Reply, Failure> {
    let session = match session {
        Some(session) => session,
        None => session.insert(token.session()?),
    };
    match request {
        Request::List => Ok(Reply::Keys(session.keys()?.into_iter().map(|key| (key.name, key.public)).collect())),
        Request::Sign { key, message } => Ok(Reply::Signature(session.sign(&key, &message)?)),
        Request::Generate { name } => {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
                return Err(Failure::new(
                    Fault::Refused,
                    "a key name consists of lower-case letters, digits and hyphens",
                ));
            }
            Ok(Reply::Key(token.making(|| session.generate(&name))?))
        }
    }
}

impl Failure {
    /// The exit code when this process must not go on after it.
    fn ends_with(&self) -> Option<u8> {
        if self.pin {
            return Some(EXIT_PIN);
        }
        self.broken.then_some(EXIT_TOKEN)
    }

    fn reply(self) -> Reply {
        eprintln!("not done: {}", self.text);
        Reply::Fault(self.fault, self.text)
    }
}
