//! Running a whole page.

use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lictor_test_support::wait;

use crate::form::fits;
use crate::page::{self, Step};
use crate::shell::{Outcome, Shell};

/// How often pages may ask for other pages before them.
const DEPTH: usize = 4;
/// How long a state may take to settle before it is written onto a page.
const SETTLING: Duration = Duration::from_secs(2);

/// How a page went.
pub struct Walk {
    /// Commands that ran, those of pages before it not counted.
    pub steps: usize,
    /// Output to write onto the page, if it was asked for: lines and text.
    pub outputs: Vec<(Range<usize>, String)>,
}

/// Runs a page in a session of its own. With `rewrite` its output is collected in place of being compared.
///
/// # Errors
/// A command failed or printed something else; the text names page, line and both outputs.
pub fn walk(repository: &Path, path: &Path, rewrite: bool) -> anyhow::Result<Walk> {
    let mut shell = Shell::start(repository)?;
    let page = page::read(&fs::read_to_string(path)?);
    for before in &page.before {
        prepare(&mut shell, &beside(path, before), DEPTH, rewrite)?;
    }
    let mut walk = Walk { steps: 0, outputs: Vec::new() };
    for step in &page.steps {
        let place = format!("{}:{}", path.strip_prefix(repository).unwrap_or(path).display(), step.line);
        let output = run(&mut shell, step, rewrite).with_context(|| place.clone())?;
        walk.steps += step.commands.lines().count();
        let Some(shown) = &step.shown else { continue };
        if !fits(&shown.text, &output) {
            if !rewrite {
                bail!("{place}\n{}shows:\n{}\nprints:\n{output}", step.commands, shown.text);
            }
            if !shown.text.lines().any(|line| line == "...") {
                walk.outputs.push((shown.lines.clone(), output));
            }
        }
    }
    Ok(walk)
}

/// Runs a page that another one builds on: its output is compared when it runs by itself.
fn prepare(shell: &mut Shell, path: &Path, depth: usize, rewrite: bool) -> anyhow::Result<()> {
    let depth = depth.checked_sub(1).context("the pages before each other have no end")?;
    let page = page::read(&fs::read_to_string(path).with_context(|| path.display().to_string())?);
    for before in &page.before {
        prepare(shell, &beside(path, before), depth, rewrite)?;
    }
    for step in &page.steps {
        run(shell, step, rewrite).with_context(|| format!("{}:{}", path.display(), step.line))?;
    }
    Ok(())
}

/// Runs a step. One that only reads is run until it prints what the page shows: services tell each other by events.
fn run(shell: &mut Shell, step: &Step, rewrite: bool) -> anyhow::Result<String> {
    let mut once = || -> anyhow::Result<String> {
        let Outcome { succeeded, output } = shell.run(&step.commands)?;
        if !succeeded {
            bail!("failed:\n{}\n{output}", step.commands);
        }
        Ok(output)
    };
    let started = Instant::now();
    let limit = if rewrite { SETTLING } else { wait::PATIENCE };
    loop {
        let output = once()?;
        let Some(shown) = step.shown.as_ref().filter(|_| only_reads(&step.commands)) else { return Ok(output) };
        if fits(&shown.text, &output) || started.elapsed() > limit {
            return Ok(output);
        }
        #[expect(clippy::disallowed_methods, reason = "the condition lies in another process")]
        thread::sleep(Duration::from_millis(50));
    }
}

fn only_reads(commands: &str) -> bool {
    commands.lines().all(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first() == Some(&"lictor")
            && words.iter().any(|word| matches!(*word, "list" | "show" | "history" | "deliveries" | "sessions"))
            && !line.contains(['|', ';', '&', '>'])
    })
}

fn beside(page: &Path, target: &str) -> PathBuf {
    page.parent().unwrap_or(Path::new("")).join(target)
}

/// What went wrong on several pages, as one text.
#[must_use]
pub fn report(failures: &[anyhow::Error]) -> String {
    failures.iter().fold(String::new(), |mut text, failure| {
        let _ = writeln!(text, "\n{failure:#}");
        text
    })
}
