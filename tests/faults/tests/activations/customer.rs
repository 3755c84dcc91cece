//! A customer: buys, activates, loses files, gives licences back, moves seats, gets licences renewed and withdrawn; in two
//! containers at a time, and then in the next two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, ensure};
use lictor_clock::Timestamp;
use lictor_licensing::binding::ContainerKind;
use lictor_test_support::device::TestDevice;
use lictor_test_support::wait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::Story;
use crate::aging::{self, Ends};
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
/// Share of orders for a licence that has to be renewed.
const RENEWING: u32 = 12;

/// Seats of a licence by the serial of the container that has to hold them in the end; none for one that was withdrawn.
pub(crate) type End = BTreeMap<String, u32>;

/// What became of every licence.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) ends: BTreeMap<String, End>,
    /// Licences that grew old, and what their containers have to hold once they are renewed; nothing for those that were
    /// withdrawn afterwards.
    pub(crate) renewed: BTreeMap<String, Ends>,
}

impl Ledger {
    pub(crate) fn join(&mut self, other: Self) {
        self.ends.extend(other.ends);
        self.renewed.extend(other.renewed);
    }
}

pub(crate) struct Customer {
    story: Arc<Story>,
    random: StdRng,
    number: usize,
    /// Names of requests: unique, and the same when a call is repeated.
    requests: usize,
    ledger: Ledger,
    /// Containers that he does not use any more. What has to be renewed in them is, some day.
    left: Vec<Home>,
}

/// A container.
struct Home {
    device: TestDevice,
    known: bool,
}

impl Customer {
    pub(crate) fn new(story: Arc<Story>, number: usize) -> Self {
        let random = StdRng::seed_from_u64(story.seed.wrapping_mul(1_000).wrapping_add(number as u64));
        Self { story, random, number, requests: 0, ledger: Ledger::default(), left: Vec::new() }
    }

    pub(crate) async fn work(mut self) -> anyhow::Result<Ledger> {
        loop {
            let mut homes = [self.move_in()?, self.move_in()?];
            for _ in 0..PER_CONTAINER {
                let number = self.story.next.fetch_add(1, Ordering::SeqCst);
                if number >= self.story.orders || self.story.failed.load(Ordering::SeqCst) {
                    self.settle(&mut homes).await?;
                    self.left.extend(homes);
                    self.renew().await?;
                    return Ok(self.ledger);
                }
                let serial = homes[0].device.serial.clone();
                self.buy(&mut homes, number).await.with_context(|| format!("order {number}, {serial}"))?;
                self.story.done.fetch_add(1, Ordering::SeqCst);
                homes.reverse();
            }
            self.settle(&mut homes).await?;
            self.left.extend(homes);
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
        let renewing = self.chance(RENEWING);
        let item = if renewing { "renewing" } else { "roaming" };
        let sold = story.vendor.order(&format!("order-{number}"), item).await?;
        let [home, other] = homes;
        let request = self.request();
        let update = if home.known && self.chance(PUSHED) {
            story.vendor.push(&request, &home.device.serial, &sold.ticket).await?
        } else {
            story.vendor.activate(&request, &sold.ticket, home.device.context()).await?
        };
        home.known = true;
        self.ledger.ends.insert(sold.license.clone(), BTreeMap::from([(home.device.serial.clone(), sold.seats)]));
        if self.chance(LOST) {
            return Ok(());
        }
        self.import(home, &update).await?;
        if self.chance(RETURNED) {
            self.give_back_and_take_again(home, &sold).await?;
        }
        if other.known && self.chance(MOVED) {
            self.move_on(home, other, &sold).await?;
        }
        if renewing {
            let ends = aging::older(&story.vendor.database, &sold.license).await?;
            self.ledger.renewed.insert(sold.license.clone(), ends);
        }
        if self.chance(WITHDRAWN) {
            let request = self.request();
            story.vendor.withdraw(&request, &sold.license).await?;
            self.ledger.renewed.remove(&sold.license);
            self.ledger.ends.insert(sold.license, End::new());
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
        self.ledger.ends.insert(sold.license.clone(), end);
        Ok(())
    }

    /// Every container takes what the scheduler made for it meanwhile; after it each entry ends on the date of its renewal.
    async fn renew(&mut self) -> anyhow::Result<()> {
        for mut home in std::mem::take(&mut self.left) {
            let serial = home.device.serial.clone();
            let wanted: BTreeMap<&String, i64> =
                self.ledger.renewed.iter().filter_map(|(license, ends)| Some((license, *ends.get(&serial)?))).collect();
            let began = tokio::time::Instant::now();
            loop {
                let late = wanted.iter().find_map(|(license, end)| {
                    let held = home.device.end_of(license).map(Timestamp::as_micros);
                    (held != Some(*end)).then(|| format!("{license} ends at {held:?}, not {end}"))
                });
                let Some(late) = late else { break };
                ensure!(began.elapsed() < wait::PATIENCE, "{serial} is not renewed: {late}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                let update = self.story.vendor.pending(&serial).await?;
                if !update.is_empty() {
                    self.import(&mut home, &update).await?;
                }
            }
        }
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
                let in_here =
                    ledger.ends.iter().filter_map(|(license, end)| Some((license.clone(), *end.get(&serial)?)));
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
