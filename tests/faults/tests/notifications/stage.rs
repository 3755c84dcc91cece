//! What a test stands on: a dispatcher as a process, a producer with a real outbox, a receiver.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lictor_test_support::fleet::{Fleet, Service};
use lictor_test_support::producer::{Announced, Producer};
use lictor_test_support::programs::Answer;
use lictor_test_support::servers::{AMQP_URL, POSTGRES_URL};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Mutex, MutexGuard};

use crate::receiver::{Arrival, Receiver};

/// How long everything that was announced may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Subjects among which the events go round.
const SUBJECTS: usize = 40;

/// Tests that break servers of this run do it one after the other.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// This part of the full number, and never less than `least`.
pub(crate) fn scaled(full: usize, least: usize) -> usize {
    let percent = std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    (full * percent / 100).max(least)
}

pub(crate) fn random() -> StdRng {
    let seed = std::env::var("LICTOR_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    StdRng::seed_from_u64(seed)
}

pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) producer: Producer,
    pub(crate) receiver: Receiver,
    pub(crate) announced: Vec<Announced>,
    pub(crate) amqp: String,
    pub(crate) postgres: String,
}

impl Stage {
    /// With one destination for everything; nothing, said loudly, without servers.
    pub(crate) async fn new() -> anyhow::Result<Option<Self>> {
        Self::over(true, BTreeMap::new()).await
    }

    /// The same with or without the broker at the producer, and with further settings of the dispatcher.
    pub(crate) async fn over(broker: bool, more: BTreeMap<String, String>) -> anyhow::Result<Option<Self>> {
        let (Ok(postgres), Ok(amqp)) = (std::env::var(POSTGRES_URL), std::env::var(AMQP_URL)) else {
            eprintln!("SKIPPED: no {POSTGRES_URL} and {AMQP_URL}; run under with-servers, as `make test` does");
            return Ok(None);
        };
        let receiver = Receiver::start().await?;
        let name = format!("faults_{:08x}", rand::rng().random::<u32>());
        let make = format!("create database {name}");
        let made = Answer::of(std::process::Command::new("psql").arg(&postgres).args(["-qc", &make]))?;
        ensure!(made.code == 0, "{}", made.errors);
        let (server, _) = postgres.rsplit_once('/').context("a URL has a path")?;
        let producer = Producer::start(&format!("{server}/{name}"), broker.then_some((&*amqp, &*name))).await?;
        let extra = [
            ("LICTOR_PRODUCERS", producer.entry()),
            ("AMQP_PREFIX", name),
            ("LICTOR_PULL_EVERY", "1s".to_owned()),
            ("LICTOR_WEBHOOK_DEADLINE", "500ms".to_owned()),
            ("LICTOR_RETRY_WAITS", "50ms,200ms,500ms".to_owned()),
            ("LICTOR_DELIVERY_LEASE", "1s".to_owned()),
        ];
        let mut extra: BTreeMap<String, String> =
            extra.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        extra.extend(more);
        let Some(fleet) = Fleet::start_some(&[Service::Notification], extra)? else { return Ok(None) };
        fleet.ok(&["notify", "destination", "add", "--url", &receiver.url()])?;
        Ok(Some(Self { fleet, producer, receiver, announced: Vec::new(), amqp, postgres }))
    }

    /// Announces so many more, a few with each commit.
    pub(crate) async fn announce(&mut self, count: usize) -> anyhow::Result<()> {
        let first = self.announced.len();
        for from in (first..first + count).step_by(10) {
            let subjects: Vec<String> =
                (from..(first + count).min(from + 10)).map(|number| format!("lic_{}", number % SUBJECTS)).collect();
            self.announced.extend(self.producer.announce(&subjects).await?);
        }
        Ok(())
    }

    /// Waits until the receiver has taken this many different events.
    pub(crate) async fn until_taken(&self, count: usize) -> anyhow::Result<()> {
        self.receiver.until_taken(count, PATIENCE).await.with_context(|| {
            let log = self.fleet.log(Service::Notification);
            let last: Vec<&str> = log.lines().rev().take(10).collect();
            format!("the dispatcher's last lines: {last:#?}")
        })
    }

    /// Everything that was announced arrives under its own id with one body, in the order of its subject.
    pub(crate) async fn everything_arrives_in_order(&self) -> anyhow::Result<()> {
        self.until_taken(self.announced.len()).await?;
        check(&self.announced, &self.receiver.arrivals())
    }

    /// Waits until the broker has confirmed everything: it is of use again.
    pub(crate) async fn until_published(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let waiting = lictor_storage::outbox::backlog(self.producer.database()).await;
            if matches!(waiting, Ok((0, _))) {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "events still wait for the broker: {waiting:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The property that all of these tests are about.
fn check(announced: &[Announced], arrivals: &[Arrival]) -> anyhow::Result<()> {
    let mut bodies = BTreeMap::<&str, &[u8]>::new();
    let mut reached = BTreeMap::<&str, u64>::new();
    for arrival in arrivals {
        let first = bodies.entry(&arrival.id).or_insert(&arrival.body);
        ensure!(*first == arrival.body.as_slice(), "{} came with two bodies", arrival.id);
        let so_far = reached.entry(&arrival.subject).or_default();
        // Whatever comes, taken or not, comes when everything before it was taken; repetitions may come late.
        ensure!(
            arrival.place <= *so_far + 1,
            "number {} of {} came when only {so_far} were taken",
            arrival.place,
            arrival.subject
        );
        if arrival.taken {
            *so_far = (*so_far).max(arrival.place);
        }
    }
    for event in announced {
        ensure!(bodies.contains_key(event.id.as_str()), "{event:?} was lost");
    }
    let ids: std::collections::HashSet<&str> = announced.iter().map(|event| event.id.as_str()).collect();
    for arrival in arrivals.iter().filter(|arrival| arrival.subject.starts_with("lic_")) {
        ensure!(ids.contains(arrival.id.as_str()), "{} was never announced", arrival.id);
    }
    Ok(())
}
