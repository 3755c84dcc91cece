//! What must hold: no more seats than were sold at any time, and all of them in the end.

use std::time::Duration;

use lictor_api::types::v1::LicenseState;
use lictor_clock::Clock as _;

use super::town::Town;

/// Rounds of delivery after which everything must have come to rest.
const ROUNDS: u32 = 40;

impl Town {
    /// Seats of a license that can be used now, over all containers that are not lost.
    fn usable(&self, sold: usize) -> u32 {
        let now = self.world.vendor.clock.now();
        let used = self.places.iter().filter(|place| !place.lost);
        used.map(|place| place.device.seats(&self.sold[sold].license, now)).sum()
    }

    pub(super) async fn nothing_is_doubled(&self, step: &str) {
        for (place, sold) in self.sold.iter().enumerate() {
            let usable = self.usable(place);
            assert!(
                usable <= sold.seats,
                "{usable} seats of {} can be used after {step}, {} were sold: {}",
                sold.license,
                sold.seats,
                self.told()
            );
        }
    }

    /// Nobody dies any more, loans end, and every file arrives.
    pub(super) async fn deliver_everything(&mut self) {
        self.front = self.world.front().await;
        for round in 0..ROUNDS {
            self.world.vendor.clock.advance(Duration::from_hours(30));
            self.front.time_passes().await;
            let mut quiet = true;
            for place in 0..self.places.len() {
                let update = self.front.pending(&self.places[place].device).await;
                if update.is_empty() {
                    continue;
                }
                quiet = false;
                let receipt = self.places[place].device.import(&update);
                self.front.submit(receipt).await.expect("taken");
                self.nothing_is_doubled("a delivery").await;
            }
            self.front.take_proofs().await;
            let open = self.front.open().await;
            if quiet && open.is_empty() && round > 14 {
                return;
            }
        }
        panic!("never at rest: {:?}; {}", self.front.open().await, self.told());
    }

    pub(super) async fn nothing_is_lost(&self) {
        for (place, sold) in self.sold.iter().enumerate() {
            let license = self.world.vendor.license(&sold.license).await;
            let usable = self.usable(place);
            if license.state() == LicenseState::Withdrawn {
                assert_eq!(usable, 0, "{license:?}; {}", self.told());
                continue;
            }
            assert!(!sold.withdrawn, "a withdrawal was forgotten: {license:?}; {}", self.told());
            assert_eq!(usable + license.available, sold.seats, "{license:?}; {}", self.told());
        }
    }
}
