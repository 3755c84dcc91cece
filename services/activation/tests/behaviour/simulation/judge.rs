//! What must hold: no more seats than were sold at any time, and all of them in the end.

use std::time::Duration;

use lictor_activation::{domain::state::State, store::Wanted};
use lictor_api::{
    activation::v1::ActivationKind,
    central::v1::{ListTransfersRequest, Transfer, TransferState, license_service_client::LicenseServiceClient},
    types::v1::LicenseState,
};
use lictor_auth::Role;
use lictor_clock::Clock as _;

use super::town::Town;
use crate::world::FIRM;

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
                let receipt = self.places[place].device.import(&update).expect("a good update file");
                self.front.submit(receipt).await.expect("taken");
                self.nothing_is_doubled("a delivery").await;
            }
            self.front.take_proofs().await;
            // What goes to a container that was given up is tried again day after day, until somebody decides.
            let lost = |serial: &str| self.places.iter().any(|place| place.lost && place.device.serial == serial);
            let open = self.front.open().await;
            let open = open.iter().any(|saga| saga.kind() != ActivationKind::Arrive || !lost(&saga.serial));
            if quiet && !open && round > 14 {
                return;
            }
        }
        panic!("never at rest: {:?}; {}", self.front.open().await, self.told());
    }

    /// Sagas that were refused, and why: for the one who looks at a failed run.
    async fn print_refusals(&self) {
        let wanted = Wanted { firm: FIRM, all: true, after: None, limit: 1_000 };
        for saga in self.front.runner.store().list(&wanted).await.expect("a store") {
            if saga.state != State::Confirmed {
                let serial = saga.container.as_ref().map_or("", |container| &container.serial);
                eprintln!("{} {} of {} in {serial}: {:?}", saga.kind(), saga.state, saga.request_id, saga.problem);
            }
        }
        for transfer in self.transfers().await {
            eprintln!("{transfer:?}");
        }
    }

    async fn transfers(&self) -> Vec<Transfer> {
        let mut licenses = LicenseServiceClient::new(self.world.vendor.central(&[Role::Support]));
        let request = ListTransfersRequest { firm_code: FIRM, ..ListTransfersRequest::default() };
        licenses.list_transfers(request).await.expect("transfers").into_inner().transfers
    }

    /// Seats that left for a container which was then given up as lost: they wait, and support sees where.
    async fn waiting(&self, license: &str) -> u32 {
        let lost = |serial: &str| self.places.iter().any(|place| place.lost && place.device.serial == serial);
        let transfers = self.transfers().await.into_iter().filter(|transfer| transfer.license_id == license);
        let waiting = transfers.filter(|it| it.state() == TransferState::Departed && lost(&it.to_serial));
        waiting.map(|transfer| transfer.quantity).sum()
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
            // Seats of a container that was given up wait for a replacement by their own ticket, and nobody may have asked yet.
            let lost = license.allocations.iter().filter(|part| part.state() == LicenseState::Lost);
            let lost: u32 = lost.map(|part| part.quantity).sum();
            let there = usable + license.available + lost + self.waiting(&sold.license).await;
            if there != sold.seats {
                self.print_refusals().await;
            }
            assert_eq!(there, sold.seats, "{license:?}; {}", self.told());
        }
    }
}
