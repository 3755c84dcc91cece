//! The notification dispatcher as a program.

use std::process::ExitCode;

use lictor_notification_dispatcher::{Settings, start};
use lictor_runtime::{Program, run};

fn main() -> ExitCode {
    let program = Program {
        name: "notification-dispatcher",
        version: env!("CARGO_PKG_VERSION"),
        about: "takes events in, keeps them, delivers them as signed webhooks",
    };
    run(program, Settings::read, start)
}
