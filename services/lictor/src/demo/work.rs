//! The protected program of the demo: works until its stdin ends.

use std::io::Read;
use std::process::ExitCode;

use clap::{Arg, Command, value_parser};
use lictor_cli::Extra;

const CODE: &str = "code";

/// A hidden verb, so that the demo needs no other program than this one.
pub(crate) fn work_verb() -> Extra {
    Extra {
        command: Command::new("work")
            .hide(true)
            .about("Work until stdin ends: the protected program of the demo")
            .after_help("Example:\n  lictor run --firm-code 6000010 --product-code 201 -- lictor work")
            .arg(Arg::new(CODE).value_parser(value_parser!(u8)).default_value("0").help("What to exit with")),
        run: |matches, _| {
            let mut nothing = [0; 64];
            let mut stdin = std::io::stdin().lock();
            while matches!(stdin.read(&mut nothing), Ok(1..)) {}
            ExitCode::from(matches.get_one::<u8>(CODE).copied().unwrap_or(0))
        },
    }
}
