//! Starts private PostgreSQL, Redis and RabbitMQ, runs the given command with their addresses in its environment, stops
//! them again. The exit code is the command's; whoever is interrupted or told to end passes that on to the command and
//! still stops the servers.
//!
//! `with-servers [--only postgres,redis,rabbitmq] [--] COMMAND ARGS…`

use std::process::ExitCode;

use anyhow::Context as _;
use lictor_test_support::servers::{Kind, Servers};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

/// What a shell says of a command that a signal ended: 128 and the signal's number.
const BY_SIGNAL: u8 = 128;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("with-servers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> anyhow::Result<u8> {
    let (kinds, command, arguments) = asked()?;
    // Taken from the start on: the servers live in process groups of their own, so nobody else would end them.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut told_to_end = signal(SignalKind::terminate())?;

    let servers = Servers::start(&kinds)?;
    let mut running = Command::new(command).args(arguments).envs(servers.environment()).spawn()?;
    let pid = running.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("a command that runs has an id")?;
    let status = loop {
        let told = tokio::select! {
            status = running.wait() => break status?,
            _ = interrupted.recv() => Signal::INT,
            _ = told_to_end.recv() => Signal::TERM,
        };
        // A terminal has told the command already, and twice is no harm.
        let _ = kill_process(pid, told);
    };
    drop(servers);
    let ended_by = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().or_else(|| ended_by.map(|number| number + i32::from(BY_SIGNAL)));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The servers, the command and its arguments.
fn asked() -> anyhow::Result<(Vec<Kind>, String, Vec<String>)> {
    let mut arguments = std::env::args().skip(1);
    let mut kinds = Kind::ALL.to_vec();
    let command = loop {
        match arguments.next().as_deref() {
            // `cargo run -- …` keeps one `--` for itself.
            Some("--") => {}
            Some("--only") => {
                let list = arguments.next().ok_or_else(usage)?;
                kinds = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            Some(command) if !command.starts_with('-') => break command.to_owned(),
            _ => return Err(usage()),
        }
    };
    Ok((kinds, command, arguments.collect()))
}

fn usage() -> anyhow::Error {
    anyhow::anyhow!("usage: with-servers [--only postgres,redis,rabbitmq] [--] COMMAND ARGS…")
}
