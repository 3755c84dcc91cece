//! The licence server as a program.

use std::process::ExitCode;

use lictor_license_server::{Settings, VERSION, start};
use lictor_runtime::{Program, run};

fn main() -> ExitCode {
    let program = Program {
        name: "license-server",
        version: VERSION,
        about: "keeps licences in a container and hands out seats to protected programs",
    };
    run(program, Settings::read, start)
}
