//! A customer: buys, activates, loses files, gets licences withdrawn; in one container after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, ensure};
use lictor_licensing::binding::ContainerKind;
use lictor_test_support::device::Device;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::Story;
use crate::vendor::Sold;

/// Activations after which a customer takes a new container.
const PER_CONTAINER: usize = 20;
/// Share of orders that the vendor pushes, in percent.
const PUSHED: u32 = 20;
/// Share of update files that never arrive.
const LOST: u32 = 15;
/// Chance that a licence is withdrawn after an order.
const WITHDRAWN: u32 = 10;

/// Where a licence has to be in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In the container with this serial.
    In(String),
    /// Nowhere any more.
    Withdrawn,
}

/// What became of every licence.
pub(crate) type Ledger = BTreeMap<String, End>;

pub(crate) struct Customer {
    story: Arc<Story>,
    random: StdRng,
    number: usize,
    /// Names of requests: unique, and the same when a call is repeated.
    requests: usize,
    ledger: Ledger,
}

/// A container with what must be in it once it has taken everything.
struct Home {
    device: Device,
    expected: BTreeSet<String>,
    known: bool,
}

impl Customer {
    pub(crate) fn new(story: Arc<Story>, number: usize) -> Self {
        let random = StdRng::seed_from_u64(story.seed.wrapping_mul(1_000).wrapping_add(number as u64));
        Self { story, random, number, requests: 0, ledger: Ledger::new() }
    }

    pub(crate) async fn work(mut self) -> anyhow::Result<Ledger> {
        loop {
            let mut home = self.move_in()?;
            for _ in 0..PER_CONTAINER {
                let number = self.story.next.fetch_add(1, Ordering::SeqCst);
                if number >= self.story.orders || self.story.failed.load(Ordering::SeqCst) {
                    self.settle(&mut home).await?;
                    return Ok(self.ledger);
                }
                self.buy(&mut home, number).await.with_context(|| format!("order {number}, {}", home.device.serial))?;
                self.story.done.fetch_add(1, Ordering::SeqCst);
            }
            self.settle(&mut home).await?;
        }
    }

    fn move_in(&self) -> anyhow::Result<Home> {
        let number = u32::try_from(self.story.devices.fetch_add(1, Ordering::SeqCst) + 1)?;
        let device = Device::new(number, ContainerKind::Folder, &self.story.vendor.root);
        Ok(Home { device, expected: BTreeSet::new(), known: false })
    }

    fn request(&mut self) -> String {
        self.requests += 1;
        format!("customer-{}-{}", self.number, self.requests)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    async fn buy(&mut self, home: &mut Home, number: usize) -> anyhow::Result<()> {
        let story = Arc::clone(&self.story);
        let Sold { ticket, license } = story.vendor.order(&format!("order-{number}"), "reports").await?;
        let request = self.request();
        let update = if home.known && self.chance(PUSHED) {
            story.vendor.push(&request, &home.device.serial, &ticket).await?
        } else {
            story.vendor.activate(&request, &ticket, home.device.context()?).await?
        };
        home.known = true;
        home.expected.insert(license.clone());
        self.ledger.insert(license, End::In(home.device.serial.clone()));
        if !self.chance(LOST) {
            self.import(home, &update).await?;
        }
        if self.chance(WITHDRAWN) {
            self.withdraw_one(home).await?;
        }
        Ok(())
    }

    async fn import(&mut self, home: &mut Home, update: &[u8]) -> anyhow::Result<()> {
        let receipt = home.device.import(update)?;
        let counter = home.device.state.counter;
        let taken = self.story.vendor.submit(receipt).await?;
        ensure!(taken.verdict == "ok" && taken.counter == counter, "a receipt of {counter}: {taken:?}");
        Ok(())
    }

    async fn withdraw_one(&mut self, home: &mut Home) -> anyhow::Result<()> {
        let Some(license) = home.expected.iter().next().cloned() else { return Ok(()) };
        let request = self.request();
        self.story.vendor.withdraw(&request, &license).await?;
        home.expected.remove(&license);
        self.ledger.insert(license, End::Withdrawn);
        Ok(())
    }

    /// Takes everything that waits; after it the container holds exactly what it should.
    async fn settle(&mut self, home: &mut Home) -> anyhow::Result<()> {
        if !home.known {
            return Ok(());
        }
        let update = self.story.vendor.pending(&home.device.serial).await?;
        if !update.is_empty() {
            self.import(home, &update).await?;
        }
        let held: BTreeSet<String> = home.device.licenses().into_keys().collect();
        ensure!(held == home.expected, "{} holds {held:?}, not {:?}", home.device.serial, home.expected);
        Ok(())
    }
}
