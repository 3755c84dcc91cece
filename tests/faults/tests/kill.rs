//! kill -9 of each of the five processes, at random, while orders become licences and programs take seats: nothing lost,
//! nothing doubled, every webhook delivered.
//!
//! `LICTOR_TEST_SCALE` is a percentage of the full run (200 orders, 50 kills of each process); `LICTOR_TEST_SEED` repeats one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, ensure};
use lictor_test_support::fleet::{Fleet, Service};
use lictor_test_support::receiver::Receiver;
use lictor_test_support::vendor::{EDITOR, REPORTS, ticket_of};
use lictor_test_support::wait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const WORKERS: usize = 4;
/// Seats of the pool that all workers share: one less than there are workers, so that refusals happen too.
const SEATS: usize = WORKERS - 1;

fn scale() -> usize {
    std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

struct Story<'a> {
    fleet: &'a Fleet,
    orders: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicBool,
    refusals: AtomicUsize,
}

impl Story<'_> {
    /// Runs a verb until it succeeds: whatever was killed meanwhile, repeating must be safe.
    fn insist(&self, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
        wait::until(&format!("lictor {}", arguments.join(" ")), || {
            let answer = self.fleet.run(arguments)?;
            match answer.code {
                0 => answer.json().map(Some),
                // 6: unreachable, 1: an inner fault while something is away. Anything else is wrong.
                1 | 6 => Err(anyhow::anyhow!("{}", answer.errors)),
                _ => Ok(Some(answer.json()?)),
            }
        })
    }

    fn work(&self) -> anyhow::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.orders || self.failed.load(Ordering::SeqCst) {
                return Ok(());
            }
            let id = format!("order-{number}");
            let order = self.insist(&[
                "order",
                "create",
                "--customer",
                "Nova",
                "--item",
                "reports",
                "--reference",
                &id,
                "--request-id",
                &id,
            ])?;
            let (ticket, _) = ticket_of(&order)?;
            self.insist(&["activate", &ticket])?;
            self.take_a_seat()?;
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Holds a seat for a moment; the command inside counts who else is there.
    fn take_a_seat(&self) -> anyhow::Result<()> {
        let script = "mkdir -p seats && touch seats/$$ && ls seats | wc -l >> counts && rm seats/$$";
        wait::until("a seat is had", || {
            let answer = self.fleet.run_protected(EDITOR, &["sh", "-c", script])?;
            match answer.code {
                0 => Ok(Some(())),
                120 => {
                    self.refusals.fetch_add(1, Ordering::SeqCst);
                    Ok(None)
                }
                125 => Err(anyhow::anyhow!("{}", answer.errors)),
                code => anyhow::bail!("exit code {code}: {}", answer.errors),
            }
        })
    }

    /// Kills every service `each` times, in random order, spread over the work.
    fn kill(&self, each: usize, seed: u64) -> anyhow::Result<usize> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut left: Vec<Service> = Service::ALL.iter().flat_map(|service| vec![*service; each]).collect();
        let total = left.len();
        while !left.is_empty() && !self.failed.load(Ordering::SeqCst) {
            let due = (total - left.len()) * self.orders / total;
            wait::until("the work goes on", || {
                Ok((self.done.load(Ordering::SeqCst) >= due || self.failed.load(Ordering::SeqCst)).then_some(()))
            })?;
            let victim = left.swap_remove(random.random_range(0..left.len()));
            self.fleet.kill_and_restart(victim)?;
            self.fleet.wait_until_alive(victim)?;
        }
        Ok(total - left.len())
    }
}

#[test]
fn killed_processes_lose_nothing_and_double_nothing() -> anyhow::Result<()> {
    let settings = BTreeMap::from([
        ("LICTOR_RETRY_WAITS".to_owned(), "100ms,500ms,1s".to_owned()),
        // A killed server frees what nobody comes back for after this; the usual minute is longer than a test's patience.
        ("LICTOR_REVALIDATE_WITHIN".to_owned(), "10s".to_owned()),
        ("LICTOR_RECONNECT_GRACE".to_owned(), "10s".to_owned()),
        ("LICTOR_BEAT_INTERVAL".to_owned(), "2s".to_owned()),
    ]);
    let Some(fleet) = Fleet::start_with(settings)? else { return Ok(()) };
    let orders = (200 * scale() / 100).max(20);
    let kills = (50 * scale() / 100).max(3);
    let seed = std::env::var("LICTOR_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    eprintln!("{orders} orders, {kills} kills of each of five processes, seed {seed}");

    let back_office = Receiver::start()?;
    let serial = fleet.set_up()?;
    fleet.ok(&["notify", "destination", "add", "--url", &back_office.url()])?;
    fleet.ok(&["activate", &fleet.order(&format!("editor={SEATS}"))?.0])?;

    let story = Story {
        fleet: &fleet,
        orders,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        refusals: AtomicUsize::new(0),
    };
    let killed = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| scope.spawn(|| story.work().inspect_err(|_| story.failed.store(true, Ordering::SeqCst))))
            .collect();
        let killed = story.kill(kills, seed).inspect_err(|_| story.failed.store(true, Ordering::SeqCst));
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        killed
    })?;
    eprintln!("{killed} kills, {} refusals of a seat", story.refusals.load(Ordering::SeqCst));

    check_orders(&fleet, orders)?;
    check_container(&fleet, &serial, orders)?;
    check_seats(&fleet)?;
    check_webhooks(&back_office, orders)
}

/// Each order exists once, with one licence that was confirmed once.
fn check_orders(fleet: &Fleet, orders: usize) -> anyhow::Result<()> {
    wait::until("every licence is confirmed", || {
        let answer = fleet.run(&["license", "list"])?;
        ensure!(answer.code == 0, "{}", answer.errors);
        let mut states = HashMap::<String, usize>::new();
        for line in answer.output.lines() {
            let license: serde_json::Value = serde_json::from_str(line)?;
            *states.entry(license["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            let allocations = license["allocations"].as_array().context("allocations are a list")?;
            ensure!(allocations.len() == 1, "a licence lies in one container: {license}");
        }
        ensure!(states.len() == 1 && states.get("confirmed") == Some(&(orders + 1)), "states are {states:?}");
        Ok(Some(()))
    })
}

/// The chain has one segment for each activation, and each licence is in the container once.
fn check_container(fleet: &Fleet, serial: &str, orders: usize) -> anyhow::Result<()> {
    let chain = fleet.ok(&["container", "show", serial])?;
    ensure!(chain["latest"] == orders + 1 && chain["confirmed"] == orders + 1, "{chain}");
    ensure!(chain["suspicion"].as_array().is_some_and(Vec::is_empty), "{chain}");
    let listed = fleet.ok(&["server", "list"])?;
    let entries = listed["containers"][0]["firms"][0]["entries"].as_array().context("entries are a list")?;
    let reports = entries.iter().filter(|entry| entry["product_code"] == REPORTS).count();
    ensure!(reports == orders, "{reports} entries for {orders} activations");
    Ok(())
}

/// No more programs ran at once than there are seats, and all seats are free again.
fn check_seats(fleet: &Fleet) -> anyhow::Result<()> {
    let counts = fs::read_to_string(fleet.path("counts"))?;
    let most =
        counts.lines().filter_map(|line| line.trim().parse::<usize>().ok()).max().context("somebody held a seat")?;
    ensure!(most <= SEATS, "{most} programs ran on {SEATS} seats");
    wait::until("all seats are free", || {
        let listed = fleet.ok(&["server", "sessions"])?;
        Ok(listed["sessions"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
}

/// Every order and every activation arrived, under one id each.
fn check_webhooks(back_office: &Receiver, orders: usize) -> anyhow::Result<()> {
    wait::until("every webhook is delivered", || {
        let mut ids = HashMap::<(String, String), HashSet<String>>::new();
        for received in back_office.taken() {
            let body = received.json();
            let kind = body["type"].as_str().unwrap_or_default().to_owned();
            let of = match kind.as_str() {
                "lictor.order.created.v1" => body["data"]["order_id"].as_str(),
                "lictor.activation.completed.v1" | "lictor.activation.confirmed.v1" => {
                    body["data"]["activation_id"].as_str()
                }
                _ => continue,
            };
            let key = (kind, of.context("an id")?.to_owned());
            ids.entry(key).or_default().insert(received.header("webhook-id").to_owned());
        }
        for kind in ["lictor.order.created.v1", "lictor.activation.completed.v1", "lictor.activation.confirmed.v1"] {
            let count = ids.keys().filter(|(name, _)| name == kind).count();
            ensure!(count == orders + 1, "{kind}: {count} of {}", orders + 1);
        }
        ensure!(ids.values().all(|ids| ids.len() == 1), "a fact came under two ids");
        Ok(Some(()))
    })
}
