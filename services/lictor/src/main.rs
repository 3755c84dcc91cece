//! The all-in-one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lictor_program::program().run(std::env::args_os())
}
