//! The program `activation`.

use lictor_activation::{Settings, start};
use lictor_runtime::{Program, run};

fn main() -> std::process::ExitCode {
    let program =
        Program { name: "activation", version: env!("CARGO_PKG_VERSION"), about: "every change of a container" };
    run(program, Settings::read, start)
}
