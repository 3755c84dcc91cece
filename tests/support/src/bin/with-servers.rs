//! Starts private PostgreSQL, Redis and RabbitMQ, runs the given command with their addresses in its environment, stops
//! them again. The exit code is the command's.
//!
//! `with-servers [--only postgres,redis,rabbitmq] [--] COMMAND ARGS…`

use std::process::{Command, ExitCode};

use lictor_test_support::servers::{Kind, Servers};

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("with-servers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<u8> {
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

    let servers = Servers::start(&kinds)?;
    let status = Command::new(command).args(arguments).envs(servers.environment()).status()?;
    drop(servers);
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn usage() -> anyhow::Error {
    anyhow::anyhow!("usage: with-servers [--only postgres,redis,rabbitmq] [--] COMMAND ARGS…")
}
