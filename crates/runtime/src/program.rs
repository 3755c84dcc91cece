//! A service as a program: its command line, its start, its signals, its exit code.

use std::{future::Future, io::Write, path::PathBuf, process::ExitCode};

use lictor_clock::{SharedClock, SystemClock};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    LogSettings, Reader, Running, StartError, error::chain, health, install_crypto_provider, settings::HTTP_LISTEN,
};

/// Exit code when the program was called wrongly or its settings are wrong.
const USAGE: u8 = 2;
/// Exit code when a part of the service failed.
const FAILED: u8 = 1;
/// Exit code after a second signal.
const ABORTED: u8 = 130;

/// What a program says about itself.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Name of the binary.
    pub name: &'static str,
    /// Its version; `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One phrase.
    pub about: &'static str,
}

enum Verb {
    Serve,
    CheckConfig,
    SettingsDoc,
    Health,
    Help,
    Version,
}

/// The whole of a service's `main`: reads settings, starts, waits for the end, tells the exit code.
pub fn run<S, F, Fut>(program: Program, read: fn(&mut Reader) -> S, start: F) -> ExitCode
where
    F: FnOnce(S, SharedClock) -> Fut,
    Fut: Future<Output = Result<Running, StartError>>,
{
    let (verb, config) = match arguments(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(mistake) => {
            say_error(&format!("{mistake}; next: {} --help", program.name));
            return ExitCode::from(USAGE);
        }
    };
    match verb {
        Verb::Help => {
            say(&help(program));
            return ExitCode::SUCCESS;
        }
        Verb::Version => {
            say(&format!("{} {}\n", program.name, program.version));
            return ExitCode::SUCCESS;
        }
        Verb::SettingsDoc => {
            let mut reader = Reader::new([], None);
            read(&mut reader);
            LogSettings::read(&mut reader);
            say(&reader.documentation());
            return ExitCode::SUCCESS;
        }
        Verb::Serve | Verb::CheckConfig | Verb::Health => {}
    }
    install_crypto_provider();
    let mut reader = Reader::of_process(config.as_deref());
    let settings = read(&mut reader);
    let log = LogSettings::read(&mut reader);
    if let Verb::Health = verb {
        // The port that the service itself would take from the same settings, whatever else is wrong with them.
        let Some(listen) = reader.address_asked(&HTTP_LISTEN) else {
            say_error("this program has no HTTP listener");
            return ExitCode::from(USAGE);
        };
        return match health::ask(listen) {
            Ok(report) => {
                say(&format!("{report}\n"));
                ExitCode::SUCCESS
            }
            Err(reason) => {
                say_error(&reason);
                ExitCode::from(FAILED)
            }
        };
    }
    if let Err(mistakes) = reader.finish() {
        say_error(&mistakes.to_string());
        return ExitCode::from(USAGE);
    }
    if let Verb::CheckConfig = verb {
        say("the settings are good\n");
        return ExitCode::SUCCESS;
    }
    serve(program, settings, &log, start)
}

fn serve<S, F, Fut>(program: Program, settings: S, log: &LogSettings, start: F) -> ExitCode
where
    F: FnOnce(S, SharedClock) -> Fut,
    Fut: Future<Output = Result<Running, StartError>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say_error(&format!("no threads can be started: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let telemetry = {
        // The exporter's client needs the runtime.
        let _inside = runtime.enter();
        match lictor_telemetry::init(&log.telemetry(program.name, program.version)) {
            Ok(telemetry) => telemetry,
            Err(error) => {
                say_error(&error.to_string());
                return ExitCode::from(USAGE);
            }
        }
    };
    let code = runtime.block_on(async {
        // A signal during a slow start ends it as well.
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                say_error(&format!("signals cannot be watched: {error}"));
                return FAILED;
            }
        };
        let started = tokio::select! {
            started = start(settings, SystemClock::shared()) => started,
            () = signals.next() => return 0,
        };
        match started {
            Ok(running) => until_end(&running, &mut signals).await,
            Err(error) => {
                tracing::error!(cause = chain(&error), "the service cannot start");
                say_error(&error.to_string());
                error.exit_code()
            }
        }
    });
    telemetry.shutdown();
    // Tasks that ignore their cancellation must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn until_end(running: &Running, signals: &mut Signals) -> u8 {
    let ended = tokio::select! {
        ended = running.wait() => ended,
        () = signals.next() => {
            tracing::info!("stopping");
            running.shutdown();
            tokio::select! {
                ended = running.wait() => ended,
                () = signals.next() => {
                    tracing::warn!("stopping at once");
                    return ABORTED;
                }
            }
        }
    };
    match ended {
        Ok(()) => 0,
        Err(error) => {
            say_error(&error.to_string());
            FAILED
        }
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<(Verb, Option<PathBuf>), String> {
    let mut verb = Verb::Serve;
    let mut config = None;
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--config" => config = Some(PathBuf::from(given.next().ok_or("--config needs a file")?)),
            "--check-config" => verb = Verb::CheckConfig,
            "--settings-doc" => verb = Verb::SettingsDoc,
            "health" => verb = Verb::Health,
            "--help" | "-h" => verb = Verb::Help,
            "--version" | "-V" => verb = Verb::Version,
            other => match other.strip_prefix("--config=") {
                Some(path) => config = Some(PathBuf::from(path)),
                None => return Err(format!("{other:?} is no argument of this program")),
            },
        }
    }
    Ok((verb, config))
}

fn help(program: Program) -> String {
    let Program { name, version, about } = program;
    format!(
        "{name} {version}: {about}\n\n\
         {name} [--config FILE]                serves until SIGTERM\n\
         {name} [--config FILE] --check-config tells all mistakes in the settings\n\
         {name} [--config FILE] health         exit code 0 when the running service is ready\n\
         {name} --settings-doc                 all settings as a table\n"
    )
}

/// To stdout; a closed pipe is the reader's wish.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn say_error(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
