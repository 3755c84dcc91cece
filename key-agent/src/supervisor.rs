//! The process that owns the socket and keeps a worker alive. It loads nothing foreign, so nothing foreign can end it.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::Mode;

use crate::options::{EXIT_PIN, EXIT_USAGE, End, Options};

/// Between two workers: long enough not to burn a processor, short beside the patience of a caller.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs until it is stopped, or until a worker finds what no next one can mend.
pub fn run(options: &Options) -> Result<Infallible, End> {
    // What is wrong with the PIN or the arguments shows now, not at the first signature.
    drop(options.pin()?);
    let listener = bind(options)?;
    eprintln!("listening on {}", options.socket.display());
    loop {
        let code = work(options, &listener)?;
        if code == Some(i32::from(EXIT_PIN)) || code == Some(i32::from(EXIT_USAGE)) {
            let _ = std::fs::remove_file(&options.socket);
            return Err(End::new(EXIT_PIN, "the worker cannot log in, and trying again could lock the token"));
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing here can be woken: the pause itself keeps the loop from racing")]
fn pause() {
    std::thread::sleep(PAUSE);
}

fn bind(options: &Options) -> Result<UnixListener, End> {
    let socket = &options.socket;
    if std::fs::symlink_metadata(socket).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        if UnixStream::connect(socket).is_ok() {
            return Err(End::new(EXIT_USAGE, format!("another agent answers on {}", socket.display())));
        }
        // Left behind by one that was killed.
        let _ = std::fs::remove_file(socket);
    }
    // The socket is this user's from its first moment on.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(socket);
    rustix::process::umask(before);
    listener.map_err(|error| End::new(EXIT_USAGE, format!("{}: {}", socket.display(), error.kind())))
}

fn work(options: &Options, listener: &UnixListener) -> Result<Option<i32>, End> {
    let failed = |error: std::io::Error| End::new(EXIT_USAGE, format!("no worker can be started: {error}"));
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.arg("--worker").arg("--module").arg(&options.module).arg("--token").arg(&options.token);
    command.arg("--socket").arg(&options.socket);
    if let Some(path) = &options.pin_file {
        command.arg("--pin-file").arg(path);
    }
    // The worker finds the listening socket where others have their standard input.
    let listening = OwnedFd::from(listener.try_clone().map_err(failed)?);
    let mut child = command.stdin(Stdio::from(listening)).spawn().map_err(failed)?;
    let ended = child.wait().map_err(failed)?;
    if !ended.success() {
        eprintln!("the worker ended ({ended}); the next one starts");
    }
    Ok(ended.code())
}
