//! The push update generator as a program.

use std::process::ExitCode;

use lictor_push_update_generator::{NAME, Settings, start};
use lictor_runtime::{Program, run};

fn main() -> ExitCode {
    let program = Program {
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        about: "containers, their chains, update files; the only holder of firm keys",
    };
    run(program, Settings::read, start)
}
