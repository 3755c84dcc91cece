//! The licence server as a program; under the name `lictor`, or with a customer's verb, it is the client of one.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use lictor_license_server::attestor::{ENTRY_POINT, child};
use lictor_license_server::{Settings, VERSION, start};
use lictor_runtime::{Program, run};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let [_, word, socket] = args.as_slice()
        && word == ENTRY_POINT
    {
        return attestor(Path::new(socket));
    }
    if is_customers_verb(&args) {
        return lictor_cli::run(args, lictor_cli::Scope::Customer);
    }
    let program = Program {
        name: "license-server",
        version: VERSION,
        about: "keeps licences in a container and hands out seats to protected programs",
    };
    run(program, Settings::read, |settings, clock| start(Settings { confine: true, ..settings }, clock))
}

/// The process beside the server that asks the container engine; the server starts it.
fn attestor(socket: &Path) -> ExitCode {
    match child::run(socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Nobody else hears why; without a standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "the attestor ends: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// One image serves both: `lictor …` by its name, `license-server run …` by the first word.
fn is_customers_verb(args: &[OsString]) -> bool {
    let name = args.first().and_then(|path| Path::new(path).file_name());
    let word = args.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let verbs = lictor_cli::Program::new(lictor_cli::Scope::Customer).command();
    name.is_some_and(|name| name == "lictor") || verbs.get_subcommands().any(|verb| verb.get_name() == word)
}
