//! The operator's own program: started for each delivery, fed with one JSON line, judged by its exit code.
//!
//! Exit code 0 means taken, [`GONE`] means that nothing more shall come (as status 410 of a webhook), everything else is
//! a failure, and the delivery comes again. The program gets an empty environment but for `PATH` and three variables of
//! ours, its folder as working directory, and the deadline; then it is killed with everything that it started.

use std::{
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use lictor_clock::Clock;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest, unix::AsyncFd},
    process::{Child, Command},
    time::Instant,
};

use super::{
    Shipment,
    names::{PlainName, one_line},
};
use crate::domain::outcome::{ANSWER_READ_BYTES, Attempt, AttemptResult, kept};

/// The exit code of a program that wants nothing more.
pub const GONE: i32 = 69;
/// What programs find other programs by.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Others than the owner must not be able to change the program or its folder.
const OTHERS_WRITE: u32 = 0o022;

/// Starts programs of one folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ExecutableSender {
    folder: Option<PathBuf>,
    deadline: Duration,
}

/// Why a program is not started.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// The operator named no folder.
    #[error("the operator allows no programs; next: set LICTOR_EXECUTABLE_FOLDER")]
    NoFolder,
    /// There is nothing of this name.
    #[error("there is no program {0} in the operator's folder")]
    Missing(PlainName),
    /// A link, a folder, something that cannot be executed.
    #[error("{0} is no plain executable file of the operator's folder itself")]
    NotPlain(PlainName),
    /// Others could put something else in its place.
    #[error("{0} or its folder can be changed by others than its owner; next: chmod go-w")]
    Writable(PlainName),
}

impl ExecutableSender {
    /// A sender for the programs of `folder`; without one nothing is started.
    pub fn new(folder: Option<PathBuf>, deadline: Duration) -> Self {
        Self { folder, deadline }
    }

    /// Looks whether a program may be started, as before each start.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, name: &PlainName) -> Result<PathBuf, ExecutableError> {
        let folder = self.folder.as_deref().ok_or(ExecutableError::NoFolder)?;
        let path = folder.join(name.as_str());
        let missing = |_: io::Error| ExecutableError::Missing(name.clone());
        let of_folder = std::fs::metadata(folder).map_err(missing)?;
        let found = std::fs::symlink_metadata(&path).map_err(missing)?;
        if !found.is_file() || found.mode() & 0o111 == 0 {
            return Err(ExecutableError::NotPlain(name.clone()));
        }
        if (found.mode() | of_folder.mode()) & OTHERS_WRITE != 0 {
            return Err(ExecutableError::Writable(name.clone()));
        }
        Ok(path)
    }

    /// Makes one attempt.
    pub async fn send(&self, name: &PlainName, shipment: &Shipment, clock: &dyn Clock) -> Attempt {
        let at = clock.now();
        let begun = Instant::now();
        let (result, answer) = self.attempt(name, shipment).await;
        Attempt { at, status: 0, latency: begun.elapsed(), result, answer: kept(&answer), retry_after: None }
    }

    async fn attempt(&self, name: &PlainName, shipment: &Shipment) -> (AttemptResult, Vec<u8>) {
        let path = match self.check(name) {
            Ok(path) => path,
            Err(error) => return (AttemptResult::Failed, error.to_string().into_bytes()),
        };
        let Some(mut line) = one_line(&shipment.body) else {
            return (AttemptResult::Failed, b"the body is no JSON and cannot be a line".to_vec());
        };
        line.push(b'\n');
        let mut running = match Running::start(&path, shipment) {
            Ok(running) => running,
            Err(error) => return (AttemptResult::Failed, format!("{name} cannot be started: {error}").into_bytes()),
        };
        match tokio::time::timeout(shipment.timeout.unwrap_or(self.deadline), running.finish(line)).await {
            Ok(Ok((status, output))) => judged(status, output),
            Ok(Err(error)) => (AttemptResult::Failed, format!("{name} cannot be followed: {error}").into_bytes()),
            Err(_) => (AttemptResult::Timeout, b"the program did not end within the deadline and was killed".to_vec()),
        }
    }
}

fn judged(status: ExitStatus, output: Vec<u8>) -> (AttemptResult, Vec<u8>) {
    let result = match status.code() {
        Some(0) => return (AttemptResult::Taken, output),
        Some(GONE) => AttemptResult::Gone,
        _ => AttemptResult::Failed,
    };
    let mut answer = format!("{status}: ").into_bytes();
    answer.extend_from_slice(&output);
    (result, answer)
}

/// A program that runs, with all that it started: dropped, they are killed.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn start(path: &Path, shipment: &Shipment) -> io::Result<Self> {
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LICTOR_EVENT_ID", shipment.event_id.as_str())
            .env("LICTOR_DESTINATION_ID", shipment.destination_id.to_string())
            .env("LICTOR_ATTEMPT", shipment.number.to_string())
            .current_dir(path.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(trace) = shipment.traceparent() {
            command.env("TRACEPARENT", trace);
        }
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// Feeds the line, reads the output, waits for the end.
    async fn finish(&mut self, line: Vec<u8>) -> io::Result<(ExitStatus, Vec<u8>)> {
        let (input, output, errors) = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let feed = async move {
            if let Some(mut input) = input {
                // A program that does not read its line may still end well.
                let _ = input.write_all(&line).await;
            }
        };
        let mut said = Vec::new();
        let mut complained = Vec::new();
        {
            let reading = async { tokio::join!(feed, capped(output, &mut said), capped(errors, &mut complained)) };
            let mut reading = std::pin::pin!(reading);
            tokio::select! {
                biased;
                _ = reading.as_mut() => self.ended().await?,
                ended = self.ended() => {
                    ended?;
                    // Whatever it left running holds the pipes; with it gone they come to their end.
                    self.kill();
                    reading.await;
                }
            }
        }
        self.kill();
        let status = self.child.wait().await?;
        self.group = None;
        said.extend_from_slice(&complained);
        said.truncate(ANSWER_READ_BYTES);
        Ok((status, said))
    }

    /// Waits for the program's end without reaping it: until then its number, and so its group's, belongs to nobody else.
    async fn ended(&self) -> io::Result<()> {
        let Some(group) = self.group else {
            return Ok(());
        };
        let handle = watched(pidfd_open(group, PidfdFlags::NONBLOCK)?)?;
        let _ended = handle.readable().await?;
        Ok(())
    }

    fn kill(&self) {
        if let Some(group) = self.group {
            // Nobody left is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(deprecated, reason = "its successor needs unsafe code; this descriptor is owned by the handle until both end")]
fn watched(process: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(process, Interest::READABLE)
}

/// Reads to the end and keeps the beginning: a program that writes for ever costs no memory.
async fn capped(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else {
        return;
    };
    let mut buffer = [0; 4 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let room = ANSWER_READ_BYTES - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}
