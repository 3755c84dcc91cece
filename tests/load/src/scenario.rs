//! What is done to a server, and what it cost.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use rustls::ClientConfig;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::{
    client::{Connection, Instance},
    figures::{cpu_seconds, fine_cpu_seconds, machine_seconds, resident_bytes},
    process::{Kind, Server},
};

/// Connections of the scenario of calls.
const CONNECTIONS: usize = 4;
/// Client instances on each of them, each with one call under way.
const INSTANCES: usize = 16;
/// Fresh clients that connect at the same time.
const CONNECTING: usize = 32;

/// One measured stretch.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Things done.
    pub count: f64,
    /// CPU seconds of the server.
    pub server_cpu: f64,
    /// Seconds on the wall.
    pub wall: f64,
    /// Bytes that the server grew by.
    pub grown: f64,
    /// Share of the machine that others used, 0 to 1.
    pub others: f64,
}

struct Meter {
    pid: u32,
    server: f64,
    own: f64,
    machine: (f64, f64),
    resident: f64,
    began: Instant,
}

impl Meter {
    fn start(pid: u32) -> anyhow::Result<Self> {
        Ok(Self {
            pid,
            server: fine_cpu_seconds(pid)?,
            own: cpu_seconds(std::process::id())?,
            machine: machine_seconds()?,
            resident: resident_bytes(pid)?,
            began: Instant::now(),
        })
    }

    fn stop(&self, count: usize) -> anyhow::Result<Stretch> {
        let wall = self.began.elapsed().as_secs_f64();
        let server_cpu = fine_cpu_seconds(self.pid)? - self.server;
        let own = cpu_seconds(std::process::id())? - self.own;
        let (all, busy) = machine_seconds()?;
        let (all, busy) = (all - self.machine.0, busy - self.machine.1);
        let others = ((busy - server_cpu - own) / all.max(0.01)).clamp(0.0, 1.0);
        let grown = resident_bytes(self.pid)? - self.resident;
        Ok(Stretch { count: f64::from(u32::try_from(count)?), server_cpu, wall, grown, others })
    }
}

/// The three calls of a seat's life, each measured by itself.
#[derive(Debug, Clone, Copy)]
pub struct Calls {
    /// Seats taken.
    pub acquire: Stretch,
    /// Seats kept.
    pub revalidate: Stretch,
    /// Seats given back.
    pub release: Stretch,
}

/// A client instance with the seats that it has.
struct Holder {
    instance: Instance,
    sessions: Vec<String>,
}

/// Client instances that take so many seats each, keep each of them once, and give them back.
///
/// # Errors
/// The server refuses or breaks off.
pub async fn calls(server: &Server, tls: &Arc<ClientConfig>, seats_each: usize) -> anyhow::Result<Calls> {
    let mut holders = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(server.address, tls).await?;
        for _ in 0..INSTANCES {
            let mut instance = connection.instance()?;
            // The proof of the client belongs to the connection, not to the call.
            let session = instance.acquire().await?;
            instance.release(session).await?;
            holders.push(Holder { instance, sessions: Vec::with_capacity(seats_each) });
        }
    }
    let acquire = together(server, seats_each, &mut holders, Act::Acquire).await?;
    let revalidate = together(server, seats_each, &mut holders, Act::Revalidate).await?;
    let release = together(server, seats_each, &mut holders, Act::Release).await?;
    Ok(Calls { acquire, revalidate, release })
}

#[derive(Clone, Copy)]
enum Act {
    Acquire,
    Revalidate,
    Release,
}

impl Holder {
    async fn act(&mut self, act: Act, seats: usize) -> anyhow::Result<()> {
        for number in 0..seats {
            match act {
                Act::Acquire => self.sessions.push(self.instance.acquire().await?),
                Act::Revalidate => self.instance.revalidate(self.sessions[number].clone()).await?,
                Act::Release => self.instance.release(self.sessions.pop().context("a seat")?).await?,
            }
        }
        Ok(())
    }
}

/// Lets all of them do the same at once, and measures it.
async fn together(server: &Server, seats: usize, holders: &mut Vec<Holder>, act: Act) -> anyhow::Result<Stretch> {
    let count = seats * holders.len();
    let meter = Meter::start(server.pid())?;
    let mut tasks = JoinSet::new();
    for mut holder in holders.drain(..) {
        tasks.spawn(async move { holder.act(act, seats).await.map(|()| holder) });
    }
    while let Some(ended) = tasks.join_next().await {
        holders.push(ended??);
    }
    meter.stop(count)
}

/// So many client instances in all that take a seat and give it back, over and over; what is counted is such pairs.
///
/// # Errors
/// The server refuses or breaks off.
pub async fn pairs(
    server: &Server,
    tls: &Arc<ClientConfig>,
    instances: usize,
    length: Duration,
) -> anyhow::Result<Stretch> {
    let end = Instant::now() + length;
    let meter = Meter::start(server.pid())?;
    let mut tasks: JoinSet<anyhow::Result<usize>> = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(server.address, tls).await?;
        for _ in 0..instances.div_ceil(CONNECTIONS) {
            let mut instance = connection.instance()?;
            tasks.spawn(async move {
                let mut done = 0;
                while Instant::now() < end {
                    let session = instance.acquire().await?;
                    instance.release(session).await?;
                    done += 1;
                }
                Ok(done)
            });
        }
    }
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        done += ended??;
    }
    meter.stop(done)
}

/// What a fresh client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// Takes a seat; at the twin: one call.
    Seat,
    /// Takes a seat and holds it by a stream; at the twin: the same messages.
    Held,
}

/// `count` fresh clients, each with a connection of its own, which stay until all have come.
///
/// # Errors
/// The server refuses or breaks off.
pub async fn fresh(
    (kind, server): (Kind, &Server),
    tls: &Arc<ClientConfig>,
    count: usize,
    what: Fresh,
) -> anyhow::Result<Stretch> {
    // The first clients of a process pay for its tables and thread stacks.
    let mut first = Connection::open(server.address, tls).await?.instance()?;
    let held_first = first.hold().await?;
    let places = Arc::new(Semaphore::new(CONNECTING));
    let meter = Meter::start(server.pid())?;
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let place = Arc::clone(&places).acquire_owned().await?;
        let (address, tls) = (server.address, Arc::clone(tls));
        tasks.spawn(async move {
            let bare = kind == Kind::Twin && what == Fresh::Seat;
            let connection = match bare {
                true => Connection::dial(address, &tls).await?,
                false => Connection::open(address, &tls).await?,
            };
            let mut instance = connection.instance()?;
            let held = match what {
                Fresh::Seat => (instance.acquire().await?, None),
                Fresh::Held => instance.hold().await.map(|(session, beats)| (session, Some(beats)))?,
            };
            drop(place);
            Ok::<_, anyhow::Error>((connection, instance, held))
        });
    }
    let mut held = Vec::with_capacity(count);
    while let Some(ended) = tasks.join_next().await {
        held.push(ended??);
    }
    let stretch = meter.stop(held.len())?;
    drop((held, held_first));
    Ok(stretch)
}
