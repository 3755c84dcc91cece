//! `make bench`: the licence server beside its bare twin. Prints ratios and asserts nothing about time.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use lictor_tests_load::{
    blocks::blocks,
    client,
    cold::cold,
    crowd::crowd,
    process::{Kind, Template},
    report::{Round, bytes, cpu, ratio, show},
    scenario::{self, Calls, Fresh, Stretch},
    wish::Wish,
};
use rustls::ClientConfig;

/// Calls of one client instance per second that a side of a round shall take, roughly.
const CALLS_PER_SECOND: usize = 100;
/// Client instances that ask at the same time where syncs are counted.
const IN_FLIGHT: usize = 256;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let wish = Wish::read(std::env::args().skip(1))?;
    let tls = client::tls();
    let template = Template::make().await?;
    let mut out = io::stdout();
    if wish.wants("calls") {
        calls(&mut out, &template, &tls, &wish).await?;
    }
    if wish.wants("fresh") {
        fresh(&mut out, &template, &tls, &wish).await?;
    }
    if wish.wants("crowd") {
        crowd(&mut out, &template, wish.crowd).await?;
    }
    if wish.wants("blocks") {
        blocks(&mut out, &template, &tls, wish.hosts).await?;
    }
    if wish.wants("run") {
        cold(&mut out, &template, 4 * wish.rounds).await?;
    }
    if wish.wants("syncs") {
        syncs(&mut out, &template, &tls, wish.seconds).await?;
    }
    Ok(())
}

async fn calls(out: &mut impl Write, template: &Template, tls: &Arc<ClientConfig>, wish: &Wish) -> anyhow::Result<()> {
    writeln!(
        out,
        "calls: 64 clients on 4 connections, TLS 1.3, a call under way each; `others` is the share of the machine that other \
         programs used"
    )?;
    let (real, twin) = (template.start(Kind::Real).await?, template.start(Kind::Twin).await?);
    let mut rounds = Vec::new();
    for round in 0..=wish.rounds {
        let of_twin = scenario::calls(&twin, tls, wish.seconds * CALLS_PER_SECOND).await?;
        let of_real = scenario::calls(&real, tls, wish.seconds * CALLS_PER_SECOND).await?;
        // The first warms up.
        if round > 0 {
            rounds.push((of_twin, of_real));
        }
    }
    let split = |all: &Calls| [all.acquire, all.revalidate, all.release];
    for (kind, name) in ["acquire", "revalidate", "release"].into_iter().enumerate() {
        let rounds: Vec<Round> = rounds.iter().map(|(twin, real)| (split(twin)[kind], split(real)[kind])).collect();
        for (number, round) in rounds.iter().enumerate() {
            show(out, number + 1, name, round)?;
        }
        ratio(out, &format!("server CPU per {name}"), "aim: <= 1.5", &rounds, cpu)?;
        ratio(out, &format!("{name} per second"), "no aim", &rounds, |stretch| stretch.count / stretch.wall)?;
    }
    Ok(())
}

async fn fresh(out: &mut impl Write, template: &Template, tls: &Arc<ClientConfig>, wish: &Wish) -> anyhow::Result<()> {
    let count = wish.clients;
    for what in [Fresh::Seat, Fresh::Held] {
        let does = match what {
            Fresh::Seat => "connects and takes a seat; at the twin: connects and does one call",
            Fresh::Held => "connects, takes a seat and holds it; at the twin: the same messages",
        };
        writeln!(out, "\nfresh clients: {count} of them, each {does}")?;
        let mut rounds = Vec::new();
        for round in 1..=wish.rounds {
            // Memory is not given back, so each round has processes of its own.
            let twin = template.start(Kind::Twin).await?;
            let of_twin = scenario::fresh((Kind::Twin, &twin), tls, count, what).await?;
            drop(twin);
            let real = template.start(Kind::Real).await?;
            let of_real = scenario::fresh((Kind::Real, &real), tls, count, what).await?;
            show(out, round, "clients", &(of_twin, of_real))?;
            rounds.push((of_twin, of_real));
        }
        match what {
            Fresh::Seat => ratio(out, "server CPU per fresh connection with a seat", "aim: <= 1.3", &rounds, cpu)?,
            Fresh::Held => {
                ratio(out, "server CPU per fresh client with a held seat", "no aim", &rounds, cpu)?;
                ratio(out, "bytes per held seat", "aim: <= 1.25", &rounds, bytes)?;
                let (twin, real) = rounds[rounds.len() - 1];
                let kibibytes = |stretch: &Stretch| bytes(stretch) / 1024.0;
                writeln!(out, "  last round: {:.1} KiB, twin {:.1} KiB", kibibytes(&real), kibibytes(&twin))?;
            }
        }
    }
    Ok(())
}

async fn syncs(
    out: &mut impl Write,
    template: &Template,
    tls: &Arc<ClientConfig>,
    seconds: usize,
) -> anyhow::Result<()> {
    writeln!(out, "\nsyncs: {IN_FLIGHT} clients take a seat and give it back, each over and over")?;
    let server = template.start(Kind::Real).await?;
    let before = (server.metric("lictor_journal_syncs").await?, server.metric("lictor_seats_granted_total").await?);
    scenario::pairs(&server, tls, IN_FLIGHT, Duration::from_secs(u64::try_from(seconds)?)).await?;
    let syncs = server.metric("lictor_journal_syncs").await? - before.0;
    let grants = server.metric("lictor_seats_granted_total").await? - before.1;
    writeln!(out, "  {syncs} syncs of the journal for {grants} grants: 1 for {:.0} (aim: <= 1/8)", grants / syncs)?;
    Ok(())
}
