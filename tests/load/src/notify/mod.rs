//! Notifications from the commit of an outbox row to the receiver: through the relay, RabbitMQ and the dispatcher as a
//! process of its own.

pub mod bare;
pub mod hook;
pub mod rig;

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval};

use crate::figures::machine_seconds;
use hook::{Hook, Mood};
use rig::{Cpu, Rig};

/// Subjects among which the events go round.
const SUBJECTS: usize = 1_000;
/// Events of one transaction of the producer while it announces as fast as it can.
const BURST: usize = 100;
/// How long everything that was announced may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a burst came to.
#[derive(Debug)]
pub struct Burst {
    /// Deliveries.
    pub count: f64,
    /// Seconds from the first commit to the last arrival.
    pub wall: f64,
    /// CPU seconds of each process.
    pub cpu: Cpu,
    /// Share of the machine that other programs used.
    pub others: f64,
}

/// What arrived late and what soon.
#[derive(Debug)]
pub struct Latency {
    /// Milliseconds from the commit of the outbox row to the last byte at the receiver.
    pub p50: f64,
    /// The same for the slowest of a hundred.
    pub p99: f64,
    /// CPU seconds of each process, and how many deliveries.
    pub cpu: Cpu,
    /// Deliveries.
    pub count: f64,
}

/// Announces `count` events as fast as it can, and waits until the receiver has them all.
///
/// # Errors
/// Something does not arrive.
pub async fn burst(rig: &mut Rig, hook: &Hook, count: usize) -> anyhow::Result<Burst> {
    let expected = hook.count() + count;
    let before = rig.cpu()?;
    let (all, busy) = machine_seconds()?;
    let began = Instant::now();
    for first in (0..count).step_by(BURST) {
        let subjects: Vec<String> =
            (first..count.min(first + BURST)).map(|number| format!("lic_{}", number % SUBJECTS)).collect();
        rig.producer.announce(&subjects).await?;
    }
    hook.until(expected, PATIENCE).await?;
    let wall = began.elapsed().as_secs_f64();
    let cpu = rig.cpu()?.since(&before);
    let (all_now, busy_now) = machine_seconds()?;
    let others = ((busy_now - busy) - cpu.sum()).max(0.0) / (all_now - all);
    Ok(Burst { count: count as f64, wall, cpu, others })
}

/// Announces at an even pace, each event in a transaction of its own, and measures each one's way to the receiver.
///
/// # Errors
/// Something does not arrive.
pub async fn paced(rig: &mut Rig, hook: &Hook, per_second: u32, length: Duration) -> anyhow::Result<Latency> {
    let before = rig.cpu()?;
    let count = (length.as_secs_f64() * f64::from(per_second)) as usize;
    let expected = hook.count() + count;
    let mut pace = interval(Duration::from_secs(1) / per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut committed = Vec::with_capacity(count);
    for number in 0..count {
        pace.tick().await;
        let announced = rig.producer.announce(&[format!("lic_{}", number % SUBJECTS)]).await?;
        let event = announced.into_iter().next().context("an event")?;
        committed.push((event.id, Instant::now()));
    }
    hook.until(expected, PATIENCE).await?;
    let arrived = hook.arrivals();
    let mut ways: Vec<f64> = Vec::with_capacity(count);
    for (id, at) in &committed {
        let there = arrived.get(id).with_context(|| format!("{id} arrived"))?;
        ways.push(there.saturating_duration_since(*at).as_secs_f64() * 1e3);
    }
    ways.sort_by(f64::total_cmp);
    let at = |part: f64| ways[((ways.len() as f64 * part) as usize).min(ways.len() - 1)];
    Ok(Latency { p50: at(0.5), p99: at(0.99), cpu: rig.cpu()?.since(&before), count: count as f64 })
}

/// How one destination fares at 200 per second while another one hangs with this many events queued.
///
/// # Errors
/// Something does not arrive.
pub async fn beside_a_hanging_one(
    rig: &mut Rig,
    hook: &Hook,
    queued: usize,
    length: Duration,
) -> anyhow::Result<Latency> {
    let hanging = Hook::start(Mood::Hang).await?;
    let id = rig.add(&hanging.url())?;
    burst(rig, hook, queued).await?;
    let latency = paced(rig, hook, 200, length).await?;
    rig.disable(&id)?;
    Ok(latency)
}

/// Resident bytes of the dispatcher before and while a destination answers without end.
///
/// # Errors
/// The kernel tells no figures.
pub async fn endless(rig: &mut Rig, hook: &Hook, length: Duration) -> anyhow::Result<(f64, f64)> {
    burst(rig, hook, BURST).await?;
    let before = rig.resident()?;
    let endless = Hook::start(Mood::Endless).await?;
    let id = rig.add(&endless.url())?;
    let end = Instant::now() + length;
    let mut most = before;
    while Instant::now() < end {
        burst(rig, hook, BURST).await?;
        most = f64::max(most, rig.resident()?);
    }
    rig.disable(&id)?;
    Ok((before, most))
}
