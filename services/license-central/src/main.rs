//! The program `license-central`.

use lictor_license_central::{Settings, start};
use lictor_runtime::{Program, run};

fn main() -> std::process::ExitCode {
    let program = Program {
        name: "license-central",
        version: env!("CARGO_PKG_VERSION"),
        about: "catalogue, customers, orders, tickets and licenses of a vendor",
    };
    run(program, Settings::read, start)
}
