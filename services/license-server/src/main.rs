//! The licence server as a program; under the name `lictor`, or with a customer's verb, it is the client of one.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use lictor_license_server::attestor::child;
use lictor_license_server::{Settings, VERSION, start};
use lictor_runtime::{Program, run};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(ended) = child::run_if_asked(&args) {
        return ended;
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

/// One image serves both: `lictor …` by its name, `license-server run …` by the first word.
fn is_customers_verb(args: &[OsString]) -> bool {
    let name = args.first().and_then(|path| Path::new(path).file_name());
    let word = args.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let verbs = lictor_cli::Program::new(lictor_cli::Scope::Customer).command();
    name.is_some_and(|name| name == "lictor") || verbs.get_subcommands().any(|verb| verb.get_name() == word)
}
