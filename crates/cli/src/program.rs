//! From a command line to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use lictor_clock::SystemClock;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_telemetry::TelemetryOptions;
use serde_json::Value;
use tracing::Instrument;

use crate::args::{BACK_OFFICE_OPTIONS, Global, mask_tickets};
use crate::config::Settings;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output};
use crate::verbs::{CustomerVerb, VendorVerb};

/// Which verbs a program offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of the vendor and those of customers.
    All,
    /// Those of customers alone.
    Customer,
}

/// What a verb of the surrounding program may use of this one.
#[derive(Clone, Debug)]
pub struct Frame {
    out: Output,
}

impl Frame {
    /// True when results are to be JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.out.is_json()
    }

    /// Prints one result.
    pub fn result(&self, object: &Value, people: impl FnOnce() -> String) {
        self.out.one(object, people);
    }

    /// Tells of a problem and gives the exit code that belongs to it.
    #[must_use]
    pub fn failed(&self, problem: Problem) -> ExitCode {
        let failure = Failure::Problem(problem);
        self.out.failure(&failure);
        ExitCode::from(failure.exit_code())
    }
}

/// A verb that the surrounding program adds.
pub struct Extra {
    /// Its arguments.
    pub command: Command,
    /// What it does. It makes its own runtime and sets up its own telemetry.
    pub run: fn(&ArgMatches, Frame) -> ExitCode,
}

/// A program with verbs.
pub struct Program {
    scope: Scope,
    extras: Vec<Extra>,
}

/// Runs one command line, the program's name first, and gives the exit code.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>, scope: Scope) -> ExitCode {
    Program::new(scope).run(args)
}

const ABOUT: &str = "Licences from the order to the protected program";

const AFTER_HELP: &str = "\
Exit codes:
  0 done                  4 not found
  1 anything else         5 conflict
  2 wrong usage           6 service unreachable
  3 refused by license    7 file damaged, forged or for another container

Every verb explains itself: lictor VERB --help. All of them take --json.";

impl Program {
    /// A program with the verbs of `scope`.
    #[must_use]
    pub const fn new(scope: Scope) -> Self {
        Self { scope, extras: Vec::new() }
    }

    /// Adds a verb.
    #[must_use]
    pub fn with(mut self, extra: Extra) -> Self {
        self.extras.push(extra);
        self
    }

    /// The definition of the whole command line.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("lictor")
            .version(env!("CARGO_PKG_VERSION"))
            .after_help(AFTER_HELP)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
            .max_term_width(110);
        for extra in &self.extras {
            command = command.subcommand(extra.command.clone());
        }
        command = Global::augment_args(command);
        // The groups of verbs bring descriptions of their own, which are not the program's.
        let command = match self.scope {
            Scope::All => CustomerVerb::augment_subcommands(VendorVerb::augment_subcommands(command)),
            Scope::Customer => {
                for name in BACK_OFFICE_OPTIONS {
                    command = command.mut_arg(name, |arg| arg.hide(true));
                }
                CustomerVerb::augment_subcommands(command)
            }
        };
        command.about(ABOUT).long_about(None)
    }

    /// Runs one command line, the program's name first, and gives the exit code.
    #[must_use]
    pub fn run(self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        let args: Vec<OsString> = args.into_iter().collect();
        // Asked for by hand, because arguments that cannot be read still deserve an answer in the wanted form.
        let out = Output::new(args.iter().skip(1).take_while(|arg| *arg != "--").any(|arg| arg == "--json"));
        match self.command().try_get_matches_from(args) {
            Ok(matches) => self.dispatch(&matches),
            Err(error) => usage(&error, &out),
        }
    }

    fn dispatch(&self, matches: &ArgMatches) -> ExitCode {
        let global = match Global::from_arg_matches(matches) {
            Ok(global) => global,
            Err(error) => return usage(&error, &Output::new(false)),
        };
        let out = Output::new(global.json);
        if let Some((name, inner)) = matches.subcommand()
            && let Some(extra) = self.extras.iter().find(|extra| extra.command.get_name() == name)
        {
            return (extra.run)(inner, Frame { out });
        }
        let verb = match Verb::read(matches, self.scope) {
            Ok(verb) => verb,
            Err(error) => return usage(&error, &out),
        };
        if let Verb::Customer(CustomerVerb::Completions(verb)) = &verb {
            return finish(&out, verb.run(self.command()));
        }
        let done = match Settings::load(&global, &|name| std::env::var(name).ok()) {
            Ok(settings) => {
                let environment = Environment { settings, out: out.clone(), clock: SystemClock::shared() };
                on_runtime(verb, environment, &verb_name(matches))
            }
            Err(failure) => Err(failure),
        };
        finish(&out, done)
    }
}

enum Verb {
    Vendor(VendorVerb),
    Customer(CustomerVerb),
}

impl Verb {
    fn read(matches: &ArgMatches, scope: Scope) -> Result<Self, clap::Error> {
        let name = matches.subcommand_name().unwrap_or_default();
        if scope == Scope::Customer || CustomerVerb::has_subcommand(name) {
            return CustomerVerb::from_arg_matches(matches).map(Self::Customer);
        }
        VendorVerb::from_arg_matches(matches).map(Self::Vendor)
    }

    async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Vendor(verb) => verb.run(environment).await,
            Self::Customer(verb) => verb.run(environment).await,
        }
    }
}

/// The words of a verb, such as `order create`: the name of its span.
fn verb_name(matches: &ArgMatches) -> String {
    let mut words = vec!["lictor"];
    let mut level = matches;
    while let Some((name, inner)) = level.subcommand() {
        words.push(name);
        level = inner;
    }
    words.join(" ")
}

fn on_runtime(verb: Verb, environment: Environment, name: &str) -> Outcome {
    let fault = |_| Failure::local("the program cannot start its threads", "check the limits of this user");
    // Fails when a surrounding program installed one already, and then that one is meant.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(fault)?;
    let telemetry = runtime.block_on(async {
        let options = TelemetryOptions {
            filter: std::env::var("LICTOR_LOG").unwrap_or_else(|_| "error".to_owned()),
            otlp_endpoint: std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|text| !text.is_empty()),
            ..TelemetryOptions::plain("lictor")
        };
        // A verb does its work also where nobody listens to its spans.
        lictor_telemetry::init(&options).ok()
    });
    let span = tracing::info_span!("verb", otel.name = name, otel.kind = "client");
    lictor_telemetry::set_parent(&span, std::env::var("TRACEPARENT").ok().as_deref());
    let done = runtime.block_on(with_patience(verb.run(&environment).instrument(span), &environment.out));
    if let Some(telemetry) = telemetry {
        telemetry.shutdown();
    }
    // Threads that still wait for a name look-up or a terminal must not hold the exit up.
    runtime.shutdown_background();
    done
}

/// How long people wait before they think of stopping a verb. From then on they know what stopping means.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs a verb; one that asked for a change and waits for the answer says under which name it asked.
async fn with_patience(verb: impl Future<Output = Outcome>, out: &Output) -> Outcome {
    tokio::pin!(verb);
    tokio::select! {
        done = &mut verb => return done,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    if let Some(request) = out.asked() {
        out.note(&format!("still waiting for the answer; if this is stopped: {}", request.repetition()));
    }
    verb.await
}

fn finish(out: &Output, done: Outcome) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let failure = match failure {
                Failure::Problem(problem) => Failure::Problem(Problem {
                    message: mask_tickets(&problem.message),
                    next: mask_tickets(&problem.next),
                    ..problem
                }),
                other => other,
            };
            out.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn usage(error: &clap::Error, out: &Output) -> ExitCode {
    let text = mask_tickets(&error.render().to_string());
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::raw(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        _ => output::complain(text.trim_end()),
    }
    if out.is_json() {
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let message = match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a verb is missing",
            _ => message,
        };
        out.one(&output::error_object(ErrorCode::InvalidArgument.name(), message, "see --help"), String::new);
    }
    ExitCode::from(ErrorCode::InvalidArgument.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scope: Scope) -> Vec<String> {
        Program::new(scope).command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
    }

    #[test]
    fn the_command_line_is_sound_in_both_scopes() {
        Program::new(Scope::All).command().debug_assert();
        Program::new(Scope::Customer).command().debug_assert();
    }

    #[test]
    fn customers_are_not_offered_the_vendors_verbs() {
        let customers = [
            "activate",
            "return",
            "move",
            "transfer",
            "replace",
            "rebase",
            "pull",
            "challenge",
            "file",
            "server",
            "run",
            "completions",
        ];
        assert_eq!(names(Scope::Customer), customers);
        for verb in
            ["vendor", "catalogue", "order", "ticket", "customer", "license", "container", "content", "push", "notify"]
        {
            assert!(names(Scope::All).contains(&verb.to_owned()), "{verb}");
        }
    }

    #[test]
    fn every_verb_has_help_with_an_example() {
        fn walk(command: &Command, path: &str, wide: &mut Vec<String>) {
            for verb in command.get_subcommands() {
                let path = format!("{path} {}", verb.get_name());
                assert!(verb.get_about().is_some(), "{path} has no description");
                if verb.get_subcommands().next().is_none() {
                    let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.contains("Example"), "{path} has no example");
                    // Commands are copied: none may be broken up by a terminal of 80 columns.
                    let lines = help.lines().filter(|line| line.chars().count() > 80);
                    wide.extend(lines.map(|line| format!("{path}: {line}")));
                }
                walk(verb, &path, wide);
            }
        }
        let mut wide = Vec::new();
        walk(&Program::new(Scope::All).command(), "lictor", &mut wide);
        assert_eq!(wide, Vec::<String>::new());
    }

    #[test]
    fn no_argument_of_a_verb_takes_the_name_of_an_option_of_every_verb() {
        fn walk(command: &Command, path: &str) {
            let global: Vec<_> =
                Global::augment_args(Command::new("x")).get_arguments().map(|arg| arg.get_id().clone()).collect();
            for verb in command.get_subcommands() {
                let path = format!("{path} {}", verb.get_name());
                for arg in verb.get_arguments() {
                    // The parser would hand the value of one to the other, without a word.
                    assert!(!global.contains(arg.get_id()), "{path}: {}", arg.get_id());
                }
                walk(verb, &path);
            }
        }
        walk(&Program::new(Scope::All).command(), "lictor");
    }

    #[test]
    fn verbs_are_named_in_traces_by_their_words() {
        let matches = Program::new(Scope::All)
            .command()
            .try_get_matches_from(["lictor", "order", "create", "--customer", "C", "--item", "I"])
            .expect("parsed");
        assert_eq!(verb_name(&matches), "lictor order create");
    }

    #[test]
    fn a_command_behind_two_dashes_keeps_its_own_options() {
        let matches = Program::new(Scope::Customer)
            .command()
            .try_get_matches_from(["lictor", "run", "--firm-code", "1", "--product-code", "2", "--", "ls", "--json"])
            .expect("parsed");
        assert!(!Global::from_arg_matches(&matches).expect("global").json);
    }
}
