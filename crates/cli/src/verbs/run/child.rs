//! The command that runs with a seat: started, sent signals, waited for.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal as Number, WaitOptions, getpid, kill_process, wait, waitpid};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Outcome};

/// Time between SIGTERM and SIGKILL after the seat was lost.
const STOP_TIME: Duration = Duration::from_secs(10);
/// What shells add to the number of a deadly signal.
const SIGNAL_BASE: i32 = 128;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The command exited with this code.
    Code(u8),
    /// The command died of this signal.
    Signal(i32),
    /// The seat was lost first; the command ended with this code after it was told to stop.
    SeatLost { reason: String, code: u8 },
}

impl Finish {
    /// What we exit with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(number) => u8::try_from(SIGNAL_BASE + number).unwrap_or(u8::MAX),
            Self::SeatLost { .. } => super::EXIT_FAILED,
        }
    }
}

impl From<ExitStatus> for Finish {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, Some(number)) => Self::Signal(number),
            (None, None) => Self::Code(super::EXIT_FAILED),
        }
    }
}

/// Signals that are passed on, each with its number.
pub(super) struct Signals(Vec<(Number, Signal)>);

impl Signals {
    /// Starts to listen. From here on these signals no longer end this process by themselves.
    pub(super) fn listen() -> Outcome<Self> {
        let passed_on = [
            (Number::TERM, SignalKind::terminate()),
            (Number::INT, SignalKind::interrupt()),
            (Number::QUIT, SignalKind::quit()),
            (Number::HUP, SignalKind::hangup()),
            (Number::USR1, SignalKind::user_defined1()),
            (Number::USR2, SignalKind::user_defined2()),
        ];
        let listening: std::io::Result<Vec<_>> =
            passed_on.into_iter().map(|(number, kind)| Ok((number, signal(kind)?))).collect();
        listening.map(Self).map_err(|error| {
            Failure::local(format!("signals cannot be listened to: {}", error.kind()), "check the limits of this user")
        })
    }

    /// Waits for the next one that asks to end, and gives its number.
    pub(super) async fn ending(&mut self) -> i32 {
        loop {
            let number = self.next().await;
            if matches!(number, Number::TERM | Number::INT | Number::QUIT | Number::HUP) {
                return number.as_raw();
            }
        }
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Number {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// A running command. It does not outlive us, whatever ends us: without us nobody would hold its seat or take it away.
pub(super) struct Child {
    pid: Pid,
    /// Tells when some child has ended.
    ends: Signal,
    /// Whether processes that lost their parent become our children: as the first process of a container we reap them.
    is_init: bool,
    finish: Option<Finish>,
}

impl Child {
    /// Starts it with our own standard streams, environment and folder.
    pub(super) fn start(command: &[OsString]) -> std::io::Result<Self> {
        let (name, arguments) = command.split_first().ok_or(std::io::ErrorKind::NotFound)?;
        let mut process = std::process::Command::new(name);
        process.args(arguments).stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        lictor_sys::end_with_parent(&mut process);
        // Listened to before the start, so that no end is missed.
        let ends = signal(SignalKind::child())?;
        let id = process.spawn()?.id();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::Other)?;
        Ok(Self { pid, ends, is_init: getpid().as_raw_nonzero().get() == 1, finish: None })
    }

    /// Waits for its end and passes signals on meanwhile.
    pub(super) async fn wait(&mut self, signals: &mut Signals) -> Outcome<Finish> {
        loop {
            tokio::select! {
                finish = self.ended() => return finish,
                number = signals.next() => self.pass_on(number),
            }
        }
    }

    /// Waits for its end.
    async fn ended(&mut self) -> Outcome<Finish> {
        loop {
            self.reap().map_err(|error| {
                let what = format!("the command cannot be waited for: {}", std::io::Error::from(error).kind());
                Failure::local(what, "check the limits of this user")
            })?;
            if let Some(finish) = &self.finish {
                return Ok(finish.clone());
            }
            self.ends.recv().await;
        }
    }

    /// Looks whether it has ended, and buries what else has ended and is ours to bury.
    fn reap(&mut self) -> rustix::io::Result<()> {
        let finished = |status: rustix::process::WaitStatus| ExitStatus::from_raw(status.as_raw()).into();
        if self.finish.is_none()
            && let Some((_, status)) = waitpid(Some(self.pid), WaitOptions::NOHANG)?
        {
            self.finish = Some(finished(status));
        }
        while self.is_init {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => self.finish = Some(finished(status)),
                Ok(Some(_)) => {}
                // No child is left, or none that has ended.
                Ok(None) | Err(rustix::io::Errno::CHILD) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells it to stop, and after a while makes it stop.
    pub(super) async fn stop(&mut self, signals: &mut Signals) -> Outcome<Finish> {
        self.send(Number::TERM);
        if let Ok(finish) = tokio::time::timeout(STOP_TIME, self.wait(signals)).await {
            return finish;
        }
        self.send(Number::KILL);
        self.wait(signals).await
    }

    fn pass_on(&self, number: Number) {
        // Ctrl-C and Ctrl-\ at a terminal reach the whole foreground group: the command has it already.
        let by_terminal = matches!(number, Number::INT | Number::QUIT) && in_foreground();
        if !by_terminal {
            self.send(number);
        }
    }

    fn send(&self, number: Number) {
        // A process that is gone needs no signal; until it was waited for its number belongs to nobody else.
        if self.finish.is_none() {
            let _ = kill_process(self.pid, number);
        }
    }
}

/// Whether a terminal would send its signals to this process group.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadly_signal_is_told_as_shells_do() {
        assert_eq!(Finish::Signal(15).exit_code(), 143);
        assert_eq!(Finish::Signal(9).exit_code(), 137);
        assert_eq!(Finish::Code(7).exit_code(), 7);
    }

    #[tokio::test]
    async fn exit_codes_come_through_and_signals_reach_the_command() {
        let shell = |script: &str| [OsString::from("/bin/sh"), OsString::from("-c"), OsString::from(script)];
        let mut signals = Signals::listen().expect("signals");
        let mut child = Child::start(&shell("exit 7")).expect("started");
        assert_eq!(child.wait(&mut signals).await.expect("waited"), Finish::Code(7));
        let mut child = Child::start(&shell("kill -9 $$")).expect("started");
        assert_eq!(child.wait(&mut signals).await.expect("waited"), Finish::Signal(9));
        let mut child = Child::start(&shell("exec sleep 60")).expect("started");
        assert_eq!(child.stop(&mut signals).await.expect("waited"), Finish::Signal(15));
    }

    #[test]
    fn a_missing_command_and_one_that_is_no_program_are_told_apart() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let _inside = runtime.enter();
        let start = |name: &str| Child::start(&[OsString::from(name)]).map(|_| ()).expect_err(name).kind();
        assert_eq!(start("/nonexistent/program"), std::io::ErrorKind::NotFound);
        assert_eq!(start("/etc/passwd"), std::io::ErrorKind::PermissionDenied);
    }
}
