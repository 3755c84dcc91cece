//! The vendor, a customer with his containers, files on their way between them, and the process that may die.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lictor_activation::saga::Step;
use lictor_api::central::v1::Ticket;

use super::chance::Chance;
use lictor_test_support::device::TestDevice;

use crate::{
    front::Front,
    world::{Killer, World},
};

/// Containers that the customer uses at any time.
pub(super) const CONTAINERS: usize = 4;

/// A license on its ticket.
pub(super) struct Sold {
    pub(super) ticket: Ticket,
    pub(super) license: String,
    pub(super) seats: u32,
    pub(super) withdrawn: bool,
}

/// A container with the update files that were made for it and not thrown away.
pub(super) struct Place {
    pub(super) device: TestDevice,
    pub(super) files: Vec<Vec<u8>>,
    /// It was given up as lost: what it still holds is written off.
    pub(super) lost: bool,
}

pub(super) struct Town {
    pub(super) world: World,
    pub(super) chance: Chance,
    pub(super) front: Front,
    killer: Option<Arc<Killer>>,
    pub(super) sold: Vec<Sold>,
    pub(super) places: Vec<Place>,
    /// Receipts on their way to the vendor.
    pub(super) receipts: Vec<Vec<u8>>,
    /// Loans that were asked for.
    pub(super) loans: Vec<String>,
    pub(super) requests: u32,
    counted: BTreeMap<&'static str, u32>,
}

impl Town {
    pub(super) async fn new(world: World, chance: Chance) -> Self {
        let mut sold = Vec::new();
        for seats in [10, 6, 1] {
            let ticket = world.floating(seats).await;
            let license = ticket.licenses[0].license_id.clone();
            sold.push(Sold { ticket, license, seats, withdrawn: false });
        }
        let front = world.front().await;
        let mut town = Self {
            world,
            chance,
            front,
            killer: None,
            sold,
            places: Vec::new(),
            receipts: Vec::new(),
            loans: Vec::new(),
            requests: 0,
            counted: BTreeMap::new(),
        };
        for _ in 0..CONTAINERS {
            town.another_container().await;
        }
        for (place, sold, seats) in [(0, 0, 4), (1, 0, 3), (2, 1, 6)] {
            let Sold { ticket, .. } = &town.sold[sold];
            town.front.put_in(&mut town.places[place].device, ticket, seats).await;
        }
        town
    }

    /// A container that the vendor has seen.
    pub(super) async fn another_container(&mut self) -> usize {
        let mut device = self.world.device();
        self.front.submit(device.context()).await.expect("seen");
        self.places.push(Place { device, files: Vec::new(), lost: false });
        self.places.len() - 1
    }

    /// Containers that are not lost.
    pub(super) fn used(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|place| !self.places[*place].lost).collect()
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counted.entry(what).or_default() += 1;
    }

    /// What happened, for people.
    pub(super) fn told(&self) -> String {
        let parts: Vec<String> = self.counted.iter().map(|(what, times)| format!("{what} {times}")).collect();
        parts.join(", ")
    }

    /// One thing happens. Its name is given back.
    pub(super) async fn step(&mut self) -> String {
        if self.chance.once_in(3) {
            self.process_that_dies().await;
        }
        let name = match self.chance.below(20) {
            0..=1 => self.wish_to_activate().await,
            2..=6 => self.wish_to_transfer().await,
            7 => self.wish_to_give_back().await,
            8 => self.wish_to_end_a_loan().await,
            9 => self.wish_to_replace().await,
            10 => self.wish_to_withdraw().await,
            11..=13 => self.file_arrives(),
            14..=16 => self.receipt_arrives().await,
            17..=18 => self.file_is_fetched().await,
            _ => self.time_passes().await,
        };
        self.count(name);
        self.process_is_replaced().await;
        name.to_owned()
    }

    async fn process_that_dies(&mut self) {
        let step = Step::ALL[self.chance.below(Step::ALL.len())];
        let skip = u32::try_from(self.chance.below(3)).unwrap_or(0);
        let (front, killer) = self.world.front_killed_after(step, skip).await;
        self.front = front;
        self.killer = Some(killer);
    }

    /// A process that died is started again; what it left is taken up, now or later.
    async fn process_is_replaced(&mut self) {
        let Some(killer) = self.killer.take() else { return };
        if killer.has_struck() {
            self.count("(killed)");
        }
        self.front = self.world.front().await;
        if self.chance.once_in(2) {
            self.front.resume().await;
        }
    }

    fn file_arrives(&mut self) -> &'static str {
        let with_files: Vec<usize> =
            self.used().into_iter().filter(|place| !self.places[*place].files.is_empty()).collect();
        if with_files.is_empty() {
            return "no file";
        }
        let place = with_files[self.chance.below(with_files.len())];
        let files = self.places[place].files.len();
        // Any of them, the newest or one that was put aside long ago; it may come again.
        let file = self.places[place].files[self.chance.below(files)].clone();
        match self.places[place].device.import(&file) {
            Ok(receipt) => {
                // The receipt may be lost.
                if !self.chance.once_in(4) {
                    self.receipts.push(receipt);
                }
                "file imported"
            }
            Err(_) => "file refused",
        }
    }

    async fn receipt_arrives(&mut self) -> &'static str {
        if self.receipts.is_empty() {
            return "no receipt";
        }
        let place = self.chance.below(self.receipts.len());
        let receipt = self.receipts.swap_remove(place);
        if self.chance.once_in(5) {
            // It comes once more, later.
            self.receipts.push(receipt.clone());
        }
        let taken = self.front.submit(receipt).await.expect("taken");
        assert!(matches!(taken.verdict.as_str(), "ok" | "old"), "{taken:?}");
        self.front.take_proofs().await;
        "receipt taken"
    }

    async fn file_is_fetched(&mut self) -> &'static str {
        let used = self.used();
        let place = used[self.chance.below(used.len())];
        let context = self.front.fresh(&mut self.places[place].device).await;
        let pulled = self.front.pull(context).await.expect("pulled");
        if !pulled.update.is_empty() {
            self.places[place].files.push(pulled.update);
        }
        self.front.take_proofs().await;
        "pulled"
    }

    async fn time_passes(&mut self) -> &'static str {
        let hours = 1 + self.chance.below(72);
        self.world.vendor.clock.advance(Duration::from_hours(hours as u64));
        if !self.chance.once_in(4) {
            self.front.time_passes().await;
        }
        "time passes"
    }
}
