//! `lictor run`: a seat around a command.

mod child;
mod status;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use lictor_api::types::v1::{Refusal, RefusalReason};
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_sdk::{AccessMode, AcquireError, Client, EndReason, Reason, Request, Seat, Standing};

use crate::args::number;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::{files, output};

use child::{Child, Finish};
use status::StatusFile;

/// Exit code when the license refuses; CMD was not started.
const EXIT_REFUSED: u8 = 120;
/// Exit code of every other failure of our own.
const EXIT_FAILED: u8 = 125;
/// Exit code when CMD is there but cannot be executed.
const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Exit code when there is no CMD.
const EXIT_NOT_FOUND: u8 = 127;

/// The words for access modes.
pub(crate) const MODES: [&str; 4] = ["user-limit", "station-share", "exclusive", "no-user-limit"];

/// The number of an access mode on the wire.
pub(crate) fn mode_number(name: &str) -> i32 {
    use lictor_api::server::v1::AccessMode as Wire;
    let mode = match name {
        "station-share" => Wire::StationShare,
        "exclusive" => Wire::Exclusive,
        "no-user-limit" => Wire::NoUserLimit,
        _ => Wire::UserLimit,
    };
    mode.into()
}

/// Take a seat, run a command with it, give the seat back
///
/// CMD is started only with a seat, never without. The seat is held as long as CMD runs and given back when it ends. Signals
/// are passed on and orphans reaped, so it can be a container's entrypoint. If the seat is lost for good while CMD runs, CMD
/// gets SIGTERM and, ten seconds later, SIGKILL. CMD does not outlive this program: if it is killed, so is CMD.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor run --firm-code 6000010 --product-code 201 -- ./simulator --level 3
  lictor run --firm-code 6000010 --product-code 201 --mode station-share \\
    --trust example.lif -- ./simulator

Waiting for a seat, at most two hours:
  lictor run --wait 2h --firm-code 6000010 --product-code 201 -- ./simulator

As a container's entrypoint:
  ENTRYPOINT [\"lictor\", \"run\", \"--firm-code\", \"6000010\", \\
    \"--product-code\", \"201\", \"--trust\", \"/example.lif\", \"--\"]
  CMD [\"/simulator\"]

Exit codes: 120 refused, 125 another failure of its own, 126 CMD cannot be
executed, 127 CMD does not exist, 128+n CMD died of signal n or the wait for a
seat was ended by it, else what CMD exited with.")]
pub(crate) struct Run {
    /// The product
    #[arg(long, value_name = "P", value_parser = number)]
    product_code: u32,

    /// Features that must be there, decimal or 0x
    #[arg(long, value_name = "M", default_value = "0", value_parser = number)]
    feature_map: u32,

    /// How the seat is counted
    #[arg(long, value_name = "MODE", default_value = "user-limit", value_parser = MODES)]
    mode: String,

    /// When all seats are taken, wait in the queue for one, at most so long, such as 10m or 2h
    #[arg(long, value_name = "DURATION", value_parser = span)]
    wait: Option<std::time::Duration>,

    /// Licence information file of the vendor: whoever it does not certify cannot hand out seats [default: LICTOR_TRUST,
    /// else `trust` in client.toml]
    #[arg(long, value_name = "F.lif")]
    trust: Vec<PathBuf>,

    /// Keep this file up to date with what happens, as JSON
    #[arg(long, value_name = "FILE")]
    status_file: Option<PathBuf>,

    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Run {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let status = StatusFile::new(self.status_file.clone(), environment.clock.clone());
        match self.guarded(environment, &status).await {
            Ok(finish) => match finish.exit_code() {
                0 => Ok(()),
                code => Err(Failure::Told(code)),
            },
            Err(failure) => {
                environment.out.failure(&failure);
                Err(Failure::Told(match &failure {
                    Failure::Refused(refusal) => {
                        status.refused(refusal);
                        EXIT_REFUSED
                    }
                    Failure::Problem(problem) => {
                        status.failed(problem);
                        EXIT_FAILED
                    }
                    Failure::Told(code) => *code,
                }))
            }
        }
    }

    async fn guarded(&self, environment: &Environment, status: &StatusFile) -> Outcome<Finish> {
        let client = client(environment, &self.trust)?;
        let name = self.command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let request = Request::new(environment.firm_code()?, self.product_code)
            .features(self.feature_map)
            .mode(mode(&self.mode))
            .wait(self.wait.unwrap_or_default())
            .program(program_of(&name));
        // Signals that come while a seat is being asked for must find somebody who listens.
        let mut signals = child::Signals::listen()?;
        let seat = match ask(&client, request, &mut signals).await {
            Ok(seat) => seat.map_err(acquire_failure)?,
            Err(number) => return Ok(Finish::Signal(number)),
        };
        status.running(&seat);
        let child = match Child::start(&self.command) {
            Ok(child) => child,
            Err(error) => {
                seat.release().await;
                return Err(start_failure(&name, &error, environment, status));
            }
        };
        let finish = hold(child, signals, &seat).await;
        seat.release().await;
        let finish = finish?;
        status.ended(&finish);
        if let Finish::SeatLost { reason, .. } = &finish {
            output::complain(&format!("error: the seat was lost, {name} had to stop: {reason}"));
            output::complain("next: lictor server explain says what a new request would be answered");
        }
        Ok(finish)
    }
}

/// A client that trusts these vendors, or those of the settings when none is given.
pub(crate) fn client(environment: &Environment, trust: &[PathBuf]) -> Outcome<Client> {
    let trust = if trust.is_empty() { &environment.settings.trust } else { trust };
    let mut builder = Client::builder().clock(environment.clock.clone());
    for path in trust {
        builder = builder.trust_lif(&files::read(path)?);
    }
    if let Some(server) = &environment.settings.server {
        builder = builder.server(server);
    }
    builder.build().map_err(|error| match error {
        lictor_sdk::BuildError::NoTrust => Failure::usage(
            "it is not known which vendor may hand out seats",
            "give the vendor's licence information file with --trust, LICTOR_TRUST, or trust in client.toml",
        ),
        other => Failure::usage(other.to_string(), "check --trust and --server"),
    })
}

/// How long an answer is waited for after a signal: a seat that comes now is given back.
const LATE_SEAT: std::time::Duration = std::time::Duration::from_secs(2);

/// Asks for a seat; gives the signal that ended the wait, if one did.
async fn ask(
    client: &Client,
    request: Request,
    signals: &mut child::Signals,
) -> Result<Result<Seat, AcquireError>, i32> {
    let mut asking = std::pin::pin!(client.acquire_telling(request, |standing| tell(&standing)));
    tokio::select! {
        seat = &mut asking => Ok(seat),
        number = signals.ending() => {
            if let Ok(Ok(seat)) = tokio::time::timeout(LATE_SEAT, asking).await {
                seat.release().await;
            }
            Err(number)
        }
    }
}

/// Says how this program stands in the queue.
fn tell(standing: &Standing) {
    // Whole seconds are enough for an estimate.
    let estimate = standing.estimate.map(|span| std::time::Duration::from_secs(span.as_secs().max(1)));
    let estimate = estimate.map(|span| format!(", perhaps for {}", lictor_clock::duration::format(span)));
    let (position, waiting, estimate) =
        (standing.position, standing.waiting.max(standing.position), estimate.unwrap_or_default());
    output::complain(&format!("waiting for a seat: place {position} of {waiting}{estimate}"));
}

/// Reads a time to wait.
fn span(text: &str) -> Result<std::time::Duration, String> {
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
    match lictor_clock::duration::parse(text) {
        Ok(span) if span <= LONGEST => Ok(span),
        Ok(_) => Err("nobody may wait for longer than a day".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Waits for CMD while the seat is held; ends CMD when the seat is gone for good.
async fn hold(mut child: Child, mut signals: child::Signals, seat: &Seat) -> Outcome<Finish> {
    let reason = tokio::select! {
        finish = child.wait(&mut signals) => return finish,
        reason = seat.ended() => reason,
    };
    let reason = match reason {
        EndReason::NoContact => "the licence server could not be reached in time".to_owned(),
        EndReason::ByServer(reason) => reason.reason,
        EndReason::Released => "it was given back".to_owned(),
    };
    child.stop(&mut signals).await.map(|finish| Finish::SeatLost { reason, code: finish.exit_code() })
}

fn mode(name: &str) -> AccessMode {
    match name {
        "station-share" => AccessMode::StationShare,
        "exclusive" => AccessMode::Exclusive,
        "no-user-limit" => AccessMode::NoUserLimit,
        _ => AccessMode::UserLimit,
    }
}

/// The name that others see among the holders of seats.
fn program_of(command: &str) -> String {
    command.rsplit('/').next().unwrap_or(command).to_owned()
}

pub(crate) fn acquire_failure(error: AcquireError) -> Failure {
    match error {
        AcquireError::Refused(refusal) => {
            Failure::Refused(Box::new(Refusal { reasons: refusal.reasons.into_iter().map(wire_reason).collect() }))
        }
        AcquireError::Failed { problem, .. } => problem.into(),
        error @ AcquireError::Unreachable(_) => Failure::new(
            ErrorCode::Unavailable,
            error.to_string(),
            "check that the licence server runs and that --server or CODEMETER_HOST names it",
        ),
        error @ AcquireError::NotTrusted { .. } => Failure::new(
            ErrorCode::FileForged,
            error.to_string(),
            "check that --trust names the file of this vendor, and who answers at that address",
        ),
    }
}

fn wire_reason(reason: Reason) -> RefusalReason {
    RefusalReason {
        serial: reason.serial,
        product_code: reason.product_code,
        code: reason.code,
        reason: reason.reason,
        holders: reason.holders,
        free_at: reason.free_at.map(lictor_api::convert::timestamp),
        instead: reason.instead,
        server: reason.server,
    }
}

fn start_failure(name: &str, error: &std::io::Error, environment: &Environment, status: &StatusFile) -> Failure {
    let (code, exit, message) = match error.kind() {
        std::io::ErrorKind::NotFound => (ErrorCode::NotFound, EXIT_NOT_FOUND, format!("there is no command {name}")),
        _ => (ErrorCode::InvalidArgument, EXIT_NOT_EXECUTABLE, format!("{name} cannot be executed: {error}")),
    };
    let problem = Problem::new(code, message, "check the path behind --; the seat was given back");
    environment.out.failure(&Failure::Problem(problem.clone()));
    status.failed(&problem);
    Failure::Told(exit)
}
