//! Issuing and importing updates beside bare twins of the same run: single-row commits, and a signature with a seal.
//! Prints ratios and asserts nothing about time. Runs under with-servers; `load-issuing [--rounds N]`.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use lictor_tests_load::bare;
use lictor_tests_load::figures::median;
use lictor_tests_load::issuing::{Generator, IN_FLIGHT, Issued, SEGMENTS, Whole};

/// How long bare commits are measured per round.
const BARE: Duration = Duration::from_secs(2);

fn rounds() -> anyhow::Result<usize> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => Ok(5),
        [name, value] if name == "--rounds" => Ok(value.parse::<usize>().context("a number of rounds")?.clamp(1, 100)),
        _ => bail!("usage: load-issuing [--rounds N]"),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let rounds = rounds()?;
    let mut out = io::stdout();

    let Some(generator) = Generator::start()? else { return Ok(()) };
    writeln!(out, "updates: issued by the push update generator on PostgreSQL, {IN_FLIGHT} in flight")?;
    let mut measured = Vec::new();
    for round in 1..=rounds {
        measured.push(show(&mut out, round, "updates", generator.database(), generator.round().await?).await?);
    }
    let seal = bare::sign_and_seal(measured.first().map_or(1_000, |(_, issued)| issued.segment_bytes))?;
    ratio(&mut out, "updates per second / bare single-row commits per second", &measured, per_commit)?;
    ratio(&mut out, "generator's CPU per update / bare signature and seal", &measured, |_, issued| {
        issued.cpu / issued.count / seal
    })?;
    let bytes = measured.first().map_or(0, |(_, issued)| issued.segment_bytes);
    writeln!(out, "  a bare signature and seal of {bytes} bytes: {:.0} us CPU", seal * 1e6)?;
    statements(&mut out, "update", &measured)?;
    drop(generator);

    let Some(whole) = Whole::start()? else { return Ok(()) };
    writeln!(out, "\nactivations: through activation, license-central and the generator, {IN_FLIGHT} in flight")?;
    let mut measured = Vec::new();
    for round in 1..=rounds {
        measured.push(show(&mut out, round, "activations", whole.database(), whole.round().await?).await?);
    }
    ratio(&mut out, "activations per second / bare single-row commits per second", &measured, per_commit)?;
    ratio(&mut out, "CPU of the three services per activation / bare signature and seal", &measured, |_, issued| {
        issued.cpu / issued.count / seal
    })?;
    statements(&mut out, "activation, all services", &measured)?;

    writeln!(
        out,
        "\nimport: one file with {SEGMENTS} segments at the licence server, everything on disk before the answer"
    )?;
    let (wall, length) = whole.import().await?;
    let each = wall / f64::from(SEGMENTS);
    let open = bare::verify_and_open(length / SEGMENTS as usize)?;
    writeln!(
        out,
        "  {:.1} ms in all, {:.2} ms per segment; a bare verification with opening of its size is {:.3} ms: ratio {:.1}",
        wall * 1e3,
        each * 1e3,
        open * 1e3,
        each / open
    )?;
    Ok(())
}

/// Bare commits right after a round, and both on a line.
async fn show(
    out: &mut impl Write,
    round: usize,
    unit: &str,
    database: &str,
    issued: Issued,
) -> anyhow::Result<(f64, Issued)> {
    let commits = bare::commits_per_second(database, IN_FLIGHT, BARE).await?;
    writeln!(
        out,
        "  round {round}: bare {commits:>6.0} commits/s | {:>6.0} {unit}/s, {:>6.0} us CPU each, {:.1} commits each, machine {:.0} % idle",
        issued.count / issued.wall,
        issued.cpu / issued.count * 1e6,
        issued.commits / issued.count,
        issued.idle * 100.0
    )?;
    Ok((commits, issued))
}

fn per_commit(commits: f64, issued: &Issued) -> f64 {
    issued.count / issued.wall / commits
}

fn ratio(
    out: &mut impl Write,
    what: &str,
    rounds: &[(f64, Issued)],
    figure: impl Fn(f64, &Issued) -> f64,
) -> io::Result<()> {
    let ratios: Vec<f64> = rounds.iter().map(|(commits, issued)| figure(*commits, issued)).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    writeln!(out, "  {what}: {:.2} (from {least:.2} to {most:.2} in {} rounds)", median(&ratios), ratios.len())
}

fn statements(out: &mut impl Write, of: &str, rounds: &[(f64, Issued)]) -> io::Result<()> {
    let counts: Vec<f64> = rounds.iter().filter_map(|(_, issued)| Some(issued.statements? / issued.count)).collect();
    if counts.is_empty() {
        return writeln!(out, "  SQL statements: not counted, PostgreSQL has no pg_stat_statements here");
    }
    writeln!(
        out,
        "  SQL statements per {of}, begin and commit and the relay's reading included: {:.1}",
        median(&counts)
    )
}
