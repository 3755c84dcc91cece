//! A customer: buys, activates, loses files, gives licences back, moves seats, gets licences withdrawn; in two containers
//! at a time, and then in the next two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, ensure};
use lictor_licensing::binding::ContainerKind;
use lictor_test_support::device::TestDevice;
use lictor_test_support::wait;
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

/// Chance that a licence is given back and activated again.
const RETURNED: u32 = 8;
/// Chance that seats of a licence go on to the customer's other container.
const MOVED: u32 = 8;

/// Seats of a licence by the serial of the container that has to hold them in the end; none for one that was withdrawn.
pub(crate) type End = BTreeMap<String, u32>;

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

/// A container.
struct Home {
    device: TestDevice,
    known: bool,
}

impl Customer {
    pub(crate) fn new(story: Arc<Story>, number: usize) -> Self {
        let random = StdRng::seed_from_u64(story.seed.wrapping_mul(1_000).wrapping_add(number as u64));
        Self { story, random, number, requests: 0, ledger: Ledger::new() }
    }

    pub(crate) async fn work(mut self) -> anyhow::Result<Ledger> {
        loop {
            let mut homes = [self.move_in()?, self.move_in()?];
            for _ in 0..PER_CONTAINER {
                let number = self.story.next.fetch_add(1, Ordering::SeqCst);
                if number >= self.story.orders || self.story.failed.load(Ordering::SeqCst) {
                    self.settle(&mut homes).await?;
                    return Ok(self.ledger);
                }
                let serial = homes[0].device.serial.clone();
                self.buy(&mut homes, number).await.with_context(|| format!("order {number}, {serial}"))?;
                self.story.done.fetch_add(1, Ordering::SeqCst);
                homes.reverse();
            }
            self.settle(&mut homes).await?;
        }
    }

    fn move_in(&self) -> anyhow::Result<Home> {
        let number = u32::try_from(self.story.devices.fetch_add(1, Ordering::SeqCst) + 1)?;
        Ok(Home { device: TestDevice::new(number, ContainerKind::Folder, &self.story.vendor.root), known: false })
    }

    fn request(&mut self) -> String {
        self.requests += 1;
        format!("customer-{}-{}", self.number, self.requests)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    async fn buy(&mut self, homes: &mut [Home; 2], number: usize) -> anyhow::Result<()> {
        let story = Arc::clone(&self.story);
        let sold = story.vendor.order(&format!("order-{number}"), "roaming").await?;
        let [home, other] = homes;
        let request = self.request();
        let update = if home.known && self.chance(PUSHED) {
            story.vendor.push(&request, &home.device.serial, &sold.ticket).await?
        } else {
            story.vendor.activate(&request, &sold.ticket, home.device.context()).await?
        };
        home.known = true;
        self.ledger.insert(sold.license.clone(), BTreeMap::from([(home.device.serial.clone(), sold.seats)]));
        if self.chance(LOST) {
            return Ok(());
        }
        self.import(home, &update).await?;
        if self.chance(RETURNED) {
            self.give_back_and_take_again(home, &sold).await?;
        }
        if other.known && self.chance(MOVED) {
            self.move_on(home, other, &sold).await?;
        } else if self.chance(WITHDRAWN) {
            let request = self.request();
            story.vendor.withdraw(&request, &sold.license).await?;
            self.ledger.insert(sold.license, End::new());
        }
        Ok(())
    }

    async fn import(&self, home: &mut Home, update: &[u8]) -> anyhow::Result<()> {
        let receipt = home.device.import(update)?;
        let counter = home.device.state.counter;
        let taken = self.story.vendor.submit(receipt).await?;
        ensure!(taken.verdict == "ok" && taken.counter == counter, "a receipt of {counter}: {taken:?}");
        Ok(())
    }

    async fn give_back_and_take_again(&mut self, home: &mut Home, sold: &Sold) -> anyhow::Result<()> {
        let story = Arc::clone(&self.story);
        let request = self.request();
        let context = home.device.fresh_context(story.vendor.challenge().await?);
        let update = story.vendor.give_back(&request, &sold.ticket, context).await?;
        self.import(home, &update).await?;
        ensure!(!home.device.holds(&sold.license), "{} was given back and is still there", sold.license);
        until(
            "the receipt makes it available",
            async || Ok(story.vendor.available(&sold.license).await? == sold.seats),
        )
        .await?;
        let request = self.request();
        let update = story.vendor.activate(&request, &sold.ticket, home.device.context()).await?;
        self.import(home, &update).await
    }

    /// Some of the seats go to the other container.
    async fn move_on(&mut self, home: &mut Home, other: &mut Home, sold: &Sold) -> anyhow::Result<()> {
        let story = Arc::clone(&self.story);
        let seats = self.random.random_range(1..=sold.seats);
        let request = self.request();
        let context = home.device.fresh_context(story.vendor.challenge().await?);
        let (transfer, update) = story.vendor.transfer(&request, sold, seats, context, &other.device.serial).await?;
        self.import(home, &update).await?;
        until("the seats are issued for the other container", async || {
            Ok(matches!(story.vendor.transfer_state(&transfer).await?.as_str(), "arriving" | "arrived"))
        })
        .await?;
        let mut end = BTreeMap::from([(other.device.serial.clone(), seats)]);
        if seats < sold.seats {
            end.insert(home.device.serial.clone(), sold.seats - seats);
        }
        self.ledger.insert(sold.license.clone(), end);
        Ok(())
    }

    /// Takes everything that waits; after it the containers hold exactly what they should.
    async fn settle(&mut self, homes: &mut [Home; 2]) -> anyhow::Result<()> {
        for home in homes {
            let serial = home.device.serial.clone();
            if !home.known {
                continue;
            }
            // A step may still be on its way: an arrival is issued a moment after it was announced.
            let ledger = &self.ledger;
            let expected = || -> BTreeMap<String, u32> {
                let in_here = ledger.iter().filter_map(|(license, end)| Some((license.clone(), *end.get(&serial)?)));
                in_here.collect()
            };
            let vendor = &self.story.vendor;
            let began = tokio::time::Instant::now();
            loop {
                let update = vendor.pending(&serial).await?;
                if !update.is_empty() {
                    self.import(home, &update).await?;
                }
                if home.device.licenses() == expected() {
                    break;
                }
                let held = home.device.licenses();
                ensure!(began.elapsed() < wait::PATIENCE, "{serial} holds {held:?}, not {:?}", expected());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = tokio::time::Instant::now();
    while !holds().await? {
        ensure!(began.elapsed() < wait::PATIENCE, "not in {:?}: {what}", wait::PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
