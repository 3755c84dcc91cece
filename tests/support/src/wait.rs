//! Waiting for conditions of other processes: often, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine before the test calls it a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer; fails after [`PATIENCE`] with `what` and the last reason.
///
/// # Errors
/// The condition did not come true in time.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let started = Instant::now();
    let mut last = String::from("no reason was given");
    while started.elapsed() < PATIENCE {
        match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) => last = format!("{error:#}"),
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the condition lies in another process: nothing here can be woken by it"
        )]
        thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("{what} did not come true within {PATIENCE:?}: {last}")
}
