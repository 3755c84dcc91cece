//! `make bench`: the licence server beside its bare twin. Prints ratios and asserts nothing about time.
//!
//! `load-bench [--rounds N] [--seconds N] [--clients N]`

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, bail};
use lictor_tests_load::{
    client,
    figures::median,
    process::{Kind, Template},
    scenario::{self, Stretch},
};

struct Wish {
    rounds: usize,
    seconds: u64,
    clients: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let wish = wish(std::env::args().skip(1))?;
    let tls = client::tls();
    let template = Template::make().await?;
    let mut out = io::stdout();

    writeln!(
        out,
        "seats: acquire + release, 4 connections x 16 clients, TLS 1.3; `others` is the share of the machine that other programs used"
    )?;
    let mut rounds = Vec::new();
    let (real, twin) = (template.start(Kind::Real).await?, template.start(Kind::Twin).await?);
    let length = Duration::from_secs(wish.seconds);
    for round in 1..=wish.rounds {
        let of_twin = scenario::pairs(&twin, &tls, Duration::from_secs(1), length).await?;
        let of_real = scenario::pairs(&real, &tls, Duration::from_secs(1), length).await?;
        show(&mut out, round, "pairs/s", &of_twin, &of_real)?;
        rounds.push((of_twin, of_real));
    }
    drop((real, twin));
    let cpu = |stretch: &Stretch| stretch.server_cpu / stretch.count;
    let speed = |stretch: &Stretch| stretch.count / stretch.wall;
    ratio(&mut out, "server CPU per acquire + release, licence server / twin", &rounds, cpu)?;
    ratio(&mut out, "acquire + release per second, licence server / twin", &rounds, speed)?;

    writeln!(out, "\nfresh clients: {} of them, each connects, takes a seat and holds it", wish.clients)?;
    let mut rounds = Vec::new();
    for round in 1..=wish.rounds.div_ceil(2) {
        // Memory is not given back, so each round has processes of its own.
        let of_twin = scenario::storm(&template.start(Kind::Twin).await?, &tls, wish.clients).await?;
        let of_real = scenario::storm(&template.start(Kind::Real).await?, &tls, wish.clients).await?;
        show(&mut out, round, "clients/s", &of_twin, &of_real)?;
        let bytes = |stretch: &Stretch| stretch.grown / stretch.count / 1024.0;
        writeln!(
            out,
            "           KiB per held seat: twin {:.1}, licence server {:.1}",
            bytes(&of_twin),
            bytes(&of_real)
        )?;
        rounds.push((of_twin, of_real));
    }
    ratio(&mut out, "server CPU per fresh client with a seat, licence server / twin", &rounds, cpu)?;
    ratio(&mut out, "time per fresh client with a seat, licence server / twin", &rounds, |stretch| stretch.wall)?;
    ratio(&mut out, "bytes per held seat, licence server / twin", &rounds, |stretch| stretch.grown / stretch.count)?;
    Ok(())
}

fn show(out: &mut impl Write, round: usize, unit: &str, twin: &Stretch, real: &Stretch) -> io::Result<()> {
    let side = |stretch: &Stretch| {
        format!(
            "{:>6.0} {unit}, {:>6.1} us CPU each, others {:>3.0} %",
            stretch.count / stretch.wall,
            stretch.server_cpu / stretch.count * 1e6,
            stretch.others * 100.0
        )
    };
    writeln!(out, "  round {round}: twin {} | licence server {}", side(twin), side(real))
}

/// The median over the rounds of what one side has to the other, with the range.
fn ratio(
    out: &mut impl Write,
    what: &str,
    rounds: &[(Stretch, Stretch)],
    figure: impl Fn(&Stretch) -> f64,
) -> io::Result<()> {
    let ratios: Vec<f64> = rounds.iter().map(|(twin, real)| figure(real) / figure(twin)).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    writeln!(out, "  {what}: {:.2} (from {least:.2} to {most:.2} in {} rounds)", median(&ratios), ratios.len())
}

fn wish(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Wish> {
    let mut wish = Wish { rounds: 5, seconds: 3, clients: 2_000 };
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a number"))?;
        let number: u64 = value.parse().with_context(|| format!("{value:?} is no number"))?;
        match name.as_str() {
            "--rounds" => wish.rounds = usize::try_from(number.clamp(1, 100))?,
            "--seconds" => wish.seconds = number.clamp(1, 60),
            "--clients" => wish.clients = usize::try_from(number.clamp(1, 9_000))?,
            _ => bail!("usage: load-bench [--rounds N] [--seconds N] [--clients N]"),
        }
    }
    Ok(wish)
}
