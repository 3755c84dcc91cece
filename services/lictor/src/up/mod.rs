//! `lictor up`: the services in this one process, on SQLite, an in-process broker and keys made on first start.

mod client_file;
mod folder;
mod ports;
mod services;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use lictor_cli::{Extra, Frame};
use lictor_clock::SystemClock;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_runtime::{LogSettings, Reader, StartError, install_crypto_provider};
use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

use folder::Folder;
use services::{Part, Started};

/// Start the services in this process, on SQLite files and without any other server
///
/// Everything is kept in one folder: databases, keys, the licence server's state, and client.toml with addresses and an
/// admin token, which all other verbs can use. It survives kill -9. For one machine: development, trying out, small sites.
///
/// Settings of the single services may be given in the environment as for their own programs (docs/settings.md); where they
/// listen, their databases, keys and tokens are set here.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor up
  lictor up --data /srv/lictor

Then, in another terminal:
  export LICTOR_CONFIG=$PWD/lictor-data/client.toml LICTOR_FIRM_CODE=6000010
  lictor vendor init --name \"Example Software\"

Ports on 127.0.0.1, gRPC and HTTP (/live, /ready, /metrics):
  license-central 7010 7011, activation 7020 7021,
  push-update-generator 7030 7031, notification-dispatcher 7080 7081,
  license-server 22350 22352")]
struct Up {
    /// Folder of everything
    #[arg(long, value_name = "DIR", default_value = "lictor-data")]
    data: PathBuf,

    /// First of ten ports in a row instead of the usual ones; 0 takes free ones, those of the last start as far as they still are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=65_526))]
    port_base: Option<u16>,

    /// Only this service; may be given more than once
    #[arg(long, value_name = "SERVICE", value_parser = Part::NAMES)]
    only: Vec<String>,

    /// Stop when stdin ends: for a program that starts this one and must not leave it behind
    #[arg(long)]
    until_stdin_ends: bool,
}

/// The verb, for the program.
pub(crate) fn verb() -> Extra {
    Extra { command: Up::augment_args(Command::new("up")), run: |matches, frame| run(matches, frame) }
}

fn run(matches: &ArgMatches, frame: Frame) -> ExitCode {
    let up = match Up::from_arg_matches(matches) {
        Ok(up) => up,
        Err(error) => return frame.failed(Problem::new(ErrorCode::InvalidArgument, error.to_string(), "see --help")),
    };
    install_crypto_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let what = format!("no threads can be started: {error}");
            return frame.failed(Problem::new(ErrorCode::Internal, what, "check the limits of this user"));
        }
    };
    let telemetry = {
        // The exporter's client needs the runtime.
        let _inside = runtime.enter();
        match telemetry() {
            Ok(telemetry) => telemetry,
            Err(problem) => return frame.failed(problem),
        }
    };
    let done = runtime.block_on(serve(&up, &frame));
    telemetry.shutdown();
    // Tasks that ignore their end must not hold the process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => frame.failed(problem),
    }
}

fn telemetry() -> Result<lictor_telemetry::Telemetry, Problem> {
    let mut pairs: Vec<(String, String)> = services::environment();
    if !pairs.iter().any(|(name, _)| name == "RUST_LOG") {
        pairs.push(("RUST_LOG".to_owned(), "warn".to_owned()));
    }
    let mut reader = Reader::new(pairs, None);
    let log = LogSettings::read(&mut reader);
    reader
        .finish()
        .map_err(|error| Problem::new(ErrorCode::InvalidArgument, error.to_string(), "correct the environment"))?;
    lictor_telemetry::init(&log.telemetry("lictor", env!("CARGO_PKG_VERSION")))
        .map_err(|error| Problem::new(ErrorCode::InvalidArgument, error.to_string(), "correct the environment"))
}

async fn serve(up: &Up, frame: &Frame) -> Result<(), Problem> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let parts = Part::chosen(&up.only);
    let folder = Folder::open(&up.data)?;
    let clock = SystemClock::shared();
    let ports = ports::choose(up.port_base, &folder)?;
    let keys = folder.keys(&clock)?;
    let starting = services::start(&parts, &folder, &ports, &keys, &clock);
    let started = tokio::select! {
        started = starting => started.map_err(|error| start_problem(&error))?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    ports.held().release();
    let config = client_file::write(&folder, &started, &keys)?;
    frame.result(&told(&started, &config), || told_to_people(&started, &config));
    let ended = tokio::select! {
        ended = started.any_end() => Err(ended),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = end_of_stdin(), if up.until_stdin_ends => Ok(()),
    };
    started.stop().await;
    ended
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Problem> {
    signal(kind).map_err(|error| {
        Problem::new(
            ErrorCode::Internal,
            format!("signals cannot be listened to: {error}"),
            "check the limits of this user",
        )
    })
}

/// Reads stdin away until it ends.
async fn end_of_stdin() {
    let mut stdin = tokio::io::stdin();
    let mut nothing = [0; 64];
    while matches!(stdin.read(&mut nothing).await, Ok(1..)) {}
}

fn start_problem(error: &StartError) -> Problem {
    let code = match error {
        StartError::Settings(_) | StartError::Told { .. } => ErrorCode::InvalidArgument,
        StartError::Unreachable(_) => ErrorCode::Unavailable,
        StartError::Failed { .. } => ErrorCode::Internal,
    };
    let text = error.to_string();
    // The sentence of a start carries its next step behind this word.
    let (message, next) = text.split_once("; next: ").unwrap_or((&text, "correct that and start again"));
    Problem::new(code, message, next)
}

fn told(started: &Started, config: &std::path::Path) -> Value {
    let services: Map<String, Value> = started
        .parts()
        .map(|(part, addresses)| {
            (part.name().to_owned(), json!({ "grpc": addresses.grpc.to_string(), "http": addresses.http.to_string() }))
        })
        .collect();
    json!({ "services": services, "config": config })
}

fn told_to_people(started: &Started, config: &std::path::Path) -> String {
    let mut text = String::new();
    for (part, addresses) in started.parts() {
        text.push_str(&format!("{:<24} {:<22} http://{}\n", part.name(), addresses.grpc.to_string(), addresses.http));
    }
    text.push_str(&format!("\nin another terminal: export LICTOR_CONFIG={}\n", config.display()));
    text.push_str("Ctrl-C stops everything.");
    text
}
