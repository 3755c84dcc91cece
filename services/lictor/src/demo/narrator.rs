//! What the demo says and counts.

use std::io::Write;

/// Something that should have held and did not.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl Broken {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every part of the story gives back.
pub(crate) type Story<T = ()> = Result<T, Broken>;

/// Tells the story and counts what held.
#[derive(Debug)]
pub(crate) struct Narrator {
    verbose: bool,
    steps: u32,
    checks: u32,
}

impl Narrator {
    pub(crate) const fn new(verbose: bool) -> Self {
        Self { verbose, steps: 0, checks: 0 }
    }

    pub(crate) const fn steps(&self) -> u32 {
        self.steps
    }

    pub(crate) const fn checks(&self) -> u32 {
        self.checks
    }

    /// Begins a step of the main job.
    pub(crate) fn step(&mut self, title: &str) {
        self.steps += 1;
        line(&format!("\n{}. {title}", self.steps));
    }

    /// Tells what is done.
    pub(crate) fn say(&self, text: &str) {
        line(&format!("   {text}"));
    }

    /// Tells what only the curious want to know.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            for part in text.lines() {
                line(&format!("     | {part}"));
            }
        }
    }

    /// Something must hold. When it does, it is told and counted; when not, the demo ends with what was seen instead.
    pub(crate) fn check(&mut self, what: &str, holds: bool, seen: impl FnOnce() -> String) -> Story {
        if !holds {
            return Err(Broken::new(format!("this did not hold: {what}\n  seen: {}", seen())));
        }
        self.checks += 1;
        line(&format!("   ok  {what}"));
        Ok(())
    }

    /// As [`Self::check`], for the equality of two things.
    pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, seen: &T, wanted: &T) -> Story {
        self.check(what, seen == wanted, || format!("{seen:?} instead of {wanted:?}"))
    }
}

/// One line on stdout; a reader that went away is no fault.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
