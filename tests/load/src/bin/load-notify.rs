//! Notifications from the commit of an outbox row to the receiver, beside plain POSTs and a bare broker of the same run.
//! Prints figures and asserts nothing about time. Runs under with-servers; `load-notify [--events N] [--seconds N]`.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use lictor_tests_load::notify::{
    self, Latency,
    bare::{self, in_a_process},
    hook::{Hook, Mood},
    rig::{Cpu, Rig},
};

/// Pieces of a twin's run.
const TWIN: usize = 5_000;
/// Events that wait for the destination that hangs.
const QUEUED: usize = 10_000;

struct Options {
    events: usize,
    length: Duration,
}

fn options(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { events: 20_000, length: Duration::from_secs(15) };
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--events" => options.events = value.parse().context("a number of events")?,
            [name, value] if name == "--seconds" => {
                options.length = Duration::from_secs(value.parse().context("a number of seconds")?);
            }
            _ => bail!("usage: load-notify [--events N] [--seconds N]"),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bare-posts", url, count] => {
            return Ok(writeln!(out, "{}", bare::posts((*url).to_owned(), count.parse()?).await?)?);
        }
        ["bare-messages", count] => return Ok(writeln!(out, "{}", bare::messages(count.parse()?).await?)?),
        _ => {}
    }
    let options = options(&arguments)?;
    let Some(mut rig) = Rig::start().await? else { return Ok(()) };
    let hook = Hook::start(Mood::Take).await?;
    rig.add(&hook.url())?;

    writeln!(
        out,
        "notifications: outbox row -> relay -> RabbitMQ -> dispatcher -> receiver, PostgreSQL, one destination"
    )?;
    // Statements are prepared and connections made before anything is measured.
    notify::burst(&mut rig, &hook, 1_000).await?;
    let mut per_delivery = Vec::new();
    for round in 1..=3 {
        let burst = notify::burst(&mut rig, &hook, options.events).await?;
        writeln!(
            out,
            "  round {round}: {:>6.0} deliveries/s | {} | others {:.0} %",
            burst.count / burst.wall,
            split(&burst.cpu, burst.count),
            burst.others * 100.0
        )?;
        per_delivery.push(burst.cpu.delivering() / burst.count);
    }
    show_statements(&mut out, &rig)?;
    let broker_before = rig.cpu()?.broker;
    let url = Hook::start(Mood::Take).await?;
    let post = twin(&["bare-posts", &url.url(), &TWIN.to_string()]).await?;
    let message = twin(&["bare-messages", &TWIN.to_string()]).await?;
    let broker = (rig.cpu()?.broker - broker_before) / TWIN as f64;
    let least = post + message + broker;
    let median = lictor_tests_load::figures::median(&per_delivery);
    writeln!(
        out,
        "  bare: a POST {:.3} ms + a message taken {:.3} ms + the broker for it {:.3} ms = {:.3} ms; a delivery is {:.3} ms: ratio {:.1}",
        post * 1e3,
        message * 1e3,
        broker * 1e3,
        least * 1e3,
        median * 1e3,
        median / least
    )?;

    let quiet = notify::paced(&mut rig, &hook, 200, options.length).await?;
    latency(&mut out, "200/s, commit of the outbox row to the last byte at the receiver", &quiet)?;
    let beside = notify::beside_a_hanging_one(&mut rig, &hook, QUEUED, options.length).await?;
    latency(&mut out, &format!("the same beside a destination that hangs with {QUEUED} queued"), &beside)?;
    show_statements(&mut out, &rig)?;
    writeln!(out, "  p99 beside it / alone: {:.2}", beside.p99 / quiet.p99)?;

    let (before, most) = notify::endless(&mut rig, &hook, options.length / 3).await?;
    writeln!(
        out,
        "  resident memory of the dispatcher: {:.1} MB, while a receiver answers without end at most {:.1} MB",
        before / 1e6,
        most / 1e6
    )?;
    Ok(())
}

/// Where the database spent its time; shown when it counts statements.
fn show_statements(out: &mut impl Write, rig: &Rig) -> anyhow::Result<()> {
    for line in rig.statements()? {
        writeln!(out, "    {line}")?;
    }
    Ok(())
}

async fn twin(arguments: &[&str]) -> anyhow::Result<f64> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    tokio::task::spawn_blocking(move || in_a_process(&arguments.iter().map(String::as_str).collect::<Vec<_>>())).await?
}

fn split(cpu: &Cpu, count: f64) -> String {
    let each = |seconds: f64| seconds / count * 1e3;
    format!(
        "CPU per delivery {:.3} ms = dispatcher {:.3} + database {:.3} + broker {:.3}; the bench itself {:.3}",
        each(cpu.delivering()),
        each(cpu.dispatcher),
        each(cpu.database),
        each(cpu.broker),
        each(cpu.bench)
    )
}

fn latency(out: &mut impl Write, what: &str, latency: &Latency) -> io::Result<()> {
    writeln!(
        out,
        "  {what}: p50 {:.1} ms, p99 {:.1} ms; {}",
        latency.p50,
        latency.p99,
        split(&latency.cpu, latency.count)
    )
}
