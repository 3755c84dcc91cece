//! What is done to a server, and what it cost.

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::{
    client::Connection,
    figures::{cpu_seconds, machine_seconds, resident_bytes},
    process::Server,
};

/// Connections of the seat scenario.
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
            server: cpu_seconds(pid)?,
            own: cpu_seconds(std::process::id())?,
            machine: machine_seconds()?,
            resident: resident_bytes(pid)?,
            began: Instant::now(),
        })
    }

    fn stop(&self, count: f64) -> anyhow::Result<Stretch> {
        let wall = self.began.elapsed().as_secs_f64();
        let server_cpu = cpu_seconds(self.pid)? - self.server;
        let own = cpu_seconds(std::process::id())? - self.own;
        let (all, busy) = machine_seconds()?;
        let (all, busy) = (all - self.machine.0, busy - self.machine.1);
        let others = ((busy - server_cpu - own) / all.max(0.01)).clamp(0.0, 1.0);
        Ok(Stretch { count, server_cpu, wall, grown: resident_bytes(self.pid)? - self.resident, others })
    }
}

/// Client instances that take a seat and give it back, over and over; what is counted is such pairs.
///
/// # Errors
/// The server refuses or breaks off.
pub async fn pairs(
    server: &Server,
    tls: &Arc<ClientConfig>,
    warm_up: Duration,
    length: Duration,
) -> anyhow::Result<Stretch> {
    let done = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(server.address, tls).await?;
        for _ in 0..INSTANCES {
            let mut instance = connection.instance()?;
            let done = Arc::clone(&done);
            tasks.spawn(async move {
                loop {
                    let session = instance.acquire().await?;
                    instance.release(session).await?;
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    }
    let measured = async {
        tokio::time::sleep(warm_up).await;
        let before = done.load(std::sync::atomic::Ordering::Relaxed);
        let meter = Meter::start(server.pid())?;
        tokio::time::sleep(length).await;
        let count = done.load(std::sync::atomic::Ordering::Relaxed) - before;
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        meter.stop(count as f64)
    };
    tokio::select! {
        measured = measured => measured,
        // Only an error ends one of them.
        Some(ended) = tasks.join_next() => match ended? {
            Ok(()) => anyhow::bail!("a client ended by itself"),
            Err(error) => Err(error),
        },
    }
}

/// `count` fresh clients, each with a connection of its own, that take a seat and hold it.
///
/// # Errors
/// The server refuses or breaks off.
pub async fn storm(server: &Server, tls: &Arc<ClientConfig>, count: usize) -> anyhow::Result<Stretch> {
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
            let connection = Connection::open(address, &tls).await?;
            let mut instance = connection.instance()?;
            let held = instance.hold().await?;
            drop(place);
            Ok::<_, anyhow::Error>((connection, instance, held))
        });
    }
    let mut held = Vec::with_capacity(count);
    while let Some(ended) = tasks.join_next().await {
        held.push(ended??);
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let stretch = meter.stop(held.len() as f64)?;
    drop((held, held_first));
    Ok(stretch)
}
