//! `lictor run` from its start until the command begins, which it does with a seat only, beside a bare start of the same command.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use lictor_clock::{Clock as _, SystemClock};
use lictor_test_support::programs::{self, Answer};

use crate::figures::median;
use crate::process::{Kind, Server, Template, folder};
use crate::provision::{FIRM, PRODUCT};
use crate::report::range;

/// The word by which the twin's program says when it began, and ends.
pub const STAMP: &str = "stamp";

/// Prints how long it takes.
///
/// # Errors
/// The command does not come to run.
pub async fn cold(out: &mut impl Write, template: &Template, times: usize) -> anyhow::Result<()> {
    writeln!(out, "\nlictor run: from its start until the command runs, {times} times, one after the other")?;
    let server = template.start(Kind::Real).await?;
    let home = folder()?;
    std::fs::write(home.path().join("client.toml"), "")?;
    let program = programs::path("license-server")?;
    let (mut bare, mut held, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // Nobody measures the first: files come from the disk.
    for number in 0..=times {
        let alone = begins(Command::new(programs::path("load-twin")?).arg(STAMP))?;
        let with_seat = begins(&mut guarded(&program, template, &server, home.path())?)?;
        if number > 0 {
            bare.push(alone.as_secs_f64() * 1e3);
            held.push(with_seat.as_secs_f64() * 1e3);
            ratios.push(with_seat.as_secs_f64() / alone.as_secs_f64());
        }
    }
    let ((least, most), ratio) = (range(&held), median(&ratios));
    writeln!(
        out,
        "  {:.1} ms to the command with a seat (from {least:.1} to {most:.1}; aim: < 50 ms), {:.1} ms bare; ratio {ratio:.1}",
        median(&held),
        median(&bare)
    )?;
    Ok(())
}

fn guarded(program: &PathBuf, template: &Template, server: &Server, home: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    command
        .args(["run", "--firm-code", &FIRM.to_string(), "--product-code", &PRODUCT.to_string(), "--trust"])
        .arg(template.trust())
        .arg("--")
        .arg(programs::path("load-twin")?)
        .arg(STAMP)
        .env_clear()
        .env("LICTOR_CONFIG", home.join("client.toml"))
        .env("CODEMETER_HOST", format!("unix:{}", server.socket().display()))
        .current_dir(home);
    Ok(command)
}

/// Time from the start of a command until what it starts says that it runs.
fn begins(command: &mut Command) -> anyhow::Result<Duration> {
    let before = SystemClock.boottime();
    let answer = Answer::of(command)?;
    ensure!(answer.code == 0, "{command:?}: {}", answer.errors);
    let nanoseconds: u64 =
        answer.output.trim().parse().with_context(|| format!("{command:?} says {:?}", answer.output))?;
    Duration::from_nanos(nanoseconds).checked_sub(before).context("a time after the start")
}
