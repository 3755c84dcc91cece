//! Crowds of clients that hold seats at two servers, as processes of their own.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use lictor_test_support::programs;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::figures::{fine_cpu_seconds, resident_bytes};
use crate::process::{Kind, Server, Template, until};

/// Servers that share the crowd: a process may open 20,000 files on a usual machine.
const SERVERS: usize = 2;
/// A crowd that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long it may take until memory is given back after a crowd has left, and how often it is looked.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// One process of clients.
struct Clients {
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
    child: Child,
}

impl Clients {
    fn start(server: &Server, count: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(programs::path("load-crowd")?);
        command.arg(server.address.to_string()).arg(count.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("load-crowd does not start")?;
        let (input, output) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
        Ok(Self { lines: BufReader::new(output).lines(), input, child })
    }

    async fn until(&mut self, word: &str) -> anyhow::Result<()> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.context("the crowd is stuck")??;
        let line = line.with_context(|| format!("the crowd ended before `{word}`: a client failed"))?;
        ensure!(line == word, "the crowd says {line:?} and not {word:?}");
        Ok(())
    }

    async fn leave(mut self) -> anyhow::Result<()> {
        drop(self.input);
        self.child.wait().await?;
        Ok(())
    }
}

/// Two servers with their clients.
struct Stage {
    servers: Vec<Server>,
    clients: Vec<Clients>,
    count: usize,
}

/// What the servers use together.
#[derive(Clone, Copy)]
struct Use {
    cpu: f64,
    resident: f64,
}

impl Stage {
    async fn start(template: &Template, kind: Kind, count: usize) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for _ in 0..SERVERS {
            servers.push(template.start(kind).await?);
        }
        Ok(Self { servers, clients: Vec::new(), count })
    }

    /// Lets all come; gives the seconds until every one of them holds a seat.
    async fn come(&mut self) -> anyhow::Result<f64> {
        let began = Instant::now();
        for server in &self.servers {
            self.clients.push(Clients::start(server, self.count / SERVERS)?);
        }
        self.all("held").await?;
        Ok(began.elapsed().as_secs_f64())
    }

    async fn all(&mut self, word: &str) -> anyhow::Result<()> {
        for clients in &mut self.clients {
            clients.until(word).await?;
        }
        Ok(())
    }

    fn used(&self) -> anyhow::Result<Use> {
        let mut used = Use { cpu: 0.0, resident: 0.0 };
        for server in &self.servers {
            used.cpu += fine_cpu_seconds(server.pid())?;
            used.resident += resident_bytes(server.pid())?;
        }
        Ok(used)
    }

    async fn sessions(&self) -> anyhow::Result<f64> {
        let mut sessions = 0.0;
        for server in &self.servers {
            sessions += server.metric("lictor_sessions").await?;
        }
        Ok(sessions)
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        for clients in self.clients.drain(..) {
            clients.leave().await?;
        }
        Ok(())
    }
}

/// Fresh clients at two twins and at two licence servers; these are then killed with all seats held.
///
/// # Errors
/// A client is refused, a session is lost or there twice.
pub async fn crowd(out: &mut impl Write, template: &Template, count: usize) -> anyhow::Result<()> {
    let count = count / SERVERS * SERVERS;
    let clients = f64::from(u32::try_from(count)?);
    writeln!(out, "\ncrowd: {count} fresh clients at {SERVERS} servers, a connection and a held seat each")?;
    let twin = {
        let mut stage = Stage::start(template, Kind::Twin, count).await?;
        let before = stage.used()?;
        let wall = stage.come().await?;
        let with_all = stage.used()?;
        told(out, "twin", wall, clients, before, with_all)?;
        stage.leave().await?;
        wall
    };
    let mut stage = Stage::start(template, Kind::Real, count).await?;
    let before = stage.used()?;
    let wall = stage.come().await?;
    let with_all = stage.used()?;
    told(out, "licence server", wall, clients, before, with_all)?;
    writeln!(out, "  all hold a seat after {:.2} of the twins' time (aim: <= 20 s for 30,000)", wall / twin)?;
    ensure!(stage.sessions().await? == clients, "as many sessions as clients");

    killed(out, &mut stage, clients).await?;
    let with_all = stage.used()?.resident;
    stage.leave().await?;
    until("all connections are closed", async || {
        let mut open = 0.0;
        for server in &stage.servers {
            open += server.metric("lictor_seat_connections").await.unwrap_or(1.0);
        }
        open == 0.0
    })
    .await?;
    // The server looks every few seconds whether a crowd has left.
    let left = Instant::now();
    while stage.used()?.resident > with_all / 2.0 && left.elapsed() < GIVEN_BACK_WITHIN {
        tokio::time::sleep(PAUSE).await;
    }
    let after = stage.used()?.resident;
    let mebibytes = |bytes: f64| bytes / 1024.0 / 1024.0;
    writeln!(
        out,
        "  resident: {:.0} MiB with all, {:.0} MiB when they had left, {:.0} MiB before they came",
        mebibytes(with_all),
        mebibytes(after),
        mebibytes(before.resident)
    )?;
    Ok(())
}

fn told(out: &mut impl Write, who: &str, wall: f64, clients: f64, before: Use, with_all: Use) -> std::io::Result<()> {
    writeln!(
        out,
        "  {who}: {wall:.1} s, {:.0} us CPU and {:.1} KiB per client",
        (with_all.cpu - before.cpu) / clients * 1e6,
        (with_all.resident - before.resident) / clients / 1024.0
    )
}

/// Kills the servers with all seats held, starts them again, and looks at who is back.
async fn killed(out: &mut impl Write, stage: &mut Stage, clients: f64) -> anyhow::Result<()> {
    let began = Instant::now();
    for server in &mut stage.servers {
        server.kill_and_start()?;
    }
    for server in &mut stage.servers {
        server.until_up().await?;
    }
    let up = began.elapsed().as_secs_f64();
    ensure!(stage.sessions().await? == clients, "{clients} sessions after the kill");
    // Whoever does not find its own seat ends the crowd with an error.
    stage.all("back").await?;
    let back = began.elapsed().as_secs_f64();
    ensure!(stage.sessions().await? == clients, "still {clients} sessions once all are back");
    writeln!(
        out,
        "  kill -9 of both: {clients} sessions back after {up:.2} s (aim: < 5 s), none lost, none doubled; all clients hold \
         them again, over fresh connections, after {back:.1} s"
    )?;
    Ok(())
}
