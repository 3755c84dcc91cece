//! Thousands of activations through five processes on PostgreSQL and RabbitMQ, each process killed at random again and
//! again: every ticket ends exactly once, and every event arrives.
//!
//! Containers are the real format code in memory, hundreds of them. `LICTOR_TEST_SCALE` is a percentage of the full run
//! (10,000 activations, 50 kills of each process); `LICTOR_TEST_SEED` repeats one.

mod aging;
mod customer;
mod proof;
mod vendor;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use lictor_test_support::fleet::{Fleet, Service};
use lictor_test_support::receiver::Receiver;
use lictor_test_support::wait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime;

use customer::{Customer, Ledger};
use vendor::Vendor;

/// Customers that work side by side.
const CUSTOMERS: usize = 16;
/// Activations and kills of each process in the full run.
const FULL: (usize, usize) = (10_000, 50);
/// The least of both.
const LEAST: (usize, usize) = (160, 2);

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What all customers share.
pub(crate) struct Story {
    vendor: Vendor,
    orders: usize,
    seed: u64,
    next: AtomicUsize,
    done: AtomicUsize,
    devices: AtomicUsize,
    failed: AtomicBool,
}

impl Story {
    /// Kills every process `each` times in random order, spread over the work.
    fn kill(&self, fleet: &Fleet, each: usize) -> anyhow::Result<usize> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut left: Vec<Service> = Service::ALL.iter().flat_map(|service| vec![*service; each]).collect();
        let total = left.len();
        while !left.is_empty() && !self.failed.load(Ordering::SeqCst) {
            let due = (total - left.len()) * self.orders / total;
            wait::until("the work goes on", || {
                Ok((self.done.load(Ordering::SeqCst) >= due || self.failed.load(Ordering::SeqCst)).then_some(()))
            })?;
            let victim = left.swap_remove(random.random_range(0..left.len()));
            fleet.kill_and_restart(victim)?;
            fleet.wait_until_alive(victim)?;
        }
        Ok(total - left.len())
    }
}

#[test]
fn every_ticket_ends_exactly_once_and_every_event_arrives_whatever_is_killed() -> anyhow::Result<()> {
    let settings = BTreeMap::from([
        ("LICTOR_RETRY_WAITS".to_owned(), "100ms,500ms,1s".to_owned()),
        ("LICTOR_DELIVERY_LEASE".to_owned(), "1s".to_owned()),
        // A process that is killed while it looks a ticket up keeps the try: that of all customers, who call from one address.
        ("TICKET_GUESSES".to_owned(), "100000".to_owned()),
        ("TICKET_GUESSES_ALL".to_owned(), "100000".to_owned()),
        ("PUBLIC_CALLS".to_owned(), "100000".to_owned()),
        ("PUBLIC_CALL_REFILL".to_owned(), "1ms".to_owned()),
        ("PUBLIC_KIB".to_owned(), "100000".to_owned()),
        ("PUBLIC_KIB_REFILL".to_owned(), "1ms".to_owned()),
    ]);
    let Some(fleet) = Fleet::start_with(settings)? else { return Ok(()) };
    let scale = number("LICTOR_TEST_SCALE", 1);
    let orders = (FULL.0 * scale / 100).max(LEAST.0);
    let kills = (FULL.1 * scale / 100).max(LEAST.1);
    let seed = u64::try_from(number("LICTOR_TEST_SEED", 1))?;

    let back_office = Receiver::start()?;
    fleet.set_up()?;
    fleet.ok(&["notify", "destination", "add", "--url", &back_office.url()])?;

    let runtime = Runtime::new()?;
    let vendor = runtime.block_on(async { Vendor::of(&fleet) })?;
    let story = Arc::new(Story {
        vendor,
        orders,
        seed,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        devices: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    });
    let began = Instant::now();
    let (ledger, killed) = thread::scope(|scope| -> anyhow::Result<_> {
        let customers: Vec<_> = (0..CUSTOMERS)
            .map(|number| {
                let (story, runtime) = (&story, &runtime);
                scope.spawn(move || {
                    let worked = runtime.block_on(Customer::new(Arc::clone(story), number).work());
                    worked.inspect_err(|_| story.failed.store(true, Ordering::SeqCst))
                })
            })
            .collect();
        let killed = story.kill(&fleet, kills).inspect_err(|_| story.failed.store(true, Ordering::SeqCst));
        let mut ledger = Ledger::default();
        for customer in customers {
            ledger.join(customer.join().map_err(|_| anyhow::anyhow!("a customer panicked"))??);
        }
        Ok((ledger, killed?))
    })?;
    let worked = began.elapsed();

    runtime.block_on(proof::licenses(&story.vendor, &ledger))?;
    runtime.block_on(proof::containers(&story.vendor))?;
    runtime.block_on(proof::activations(&story.vendor))?;
    let events = runtime.block_on(proof::events(&story.vendor, &back_office, &ledger))?;
    writeln!(
        std::io::stderr(),
        "{orders} orders into {} containers, {killed} kills, seed {seed}: {worked:.1?}; {} licenses renewed; \
         {events} events delivered after {:.1?}",
        story.devices.load(Ordering::SeqCst),
        ledger.renewed.len(),
        began.elapsed()
    )?;
    Ok(())
}
