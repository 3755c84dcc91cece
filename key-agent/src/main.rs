//! The key agent: holds a PKCS#11 token for the push update generator.
//!
//! Two processes. The first binds the socket and does nothing else but start the second, the worker, again whenever it
//! ends. The worker loads the foreign module, logs in and answers. It does not try to mend a module that failed: it
//! tells the caller, ends, and the next one begins with a fresh module and a fresh log-in. So a crash of foreign code, a
//! token that was pulled and a session that was closed are all healed in the same way, and requests meanwhile wait in
//! the socket. A PIN that the token refuses ends both at once, so that no loop locks the token.

mod options;
mod supervisor;
mod token;
mod worker;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("error: {text}");
            eprintln!("next: {}", options::USAGE);
            return ExitCode::from(options::EXIT_USAGE);
        }
    };
    let done = if options.worker { worker::run(options) } else { supervisor::run(&options) };
    match done {
        Ok(never) => match never {},
        Err(end) => {
            eprintln!("error: {}", end.text);
            ExitCode::from(end.code)
        }
    }
}
