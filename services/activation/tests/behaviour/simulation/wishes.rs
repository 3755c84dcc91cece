//! What the customer and the vendor's staff ask for. Everything may be refused, or die half-way; a file that comes out is
//! kept, or lost.

use std::time::Duration;

use lictor_api::{
    activation::v1::{ActivateRequest, TransferLicenseRequest},
    convert::timestamp,
};
use lictor_clock::Clock as _;

use super::town::Town;
use crate::front::moving;

const DAY: Duration = Duration::from_hours(24);

impl Town {
    fn request_id(&mut self) -> String {
        self.requests += 1;
        format!("wish-{}", self.requests)
    }

    /// A container in use, a license, and a number of seats (0: all).
    fn some(&mut self) -> (usize, usize, u32) {
        let used = self.used();
        let place = used[self.chance.below(used.len())];
        let sold = self.chance.below(self.sold.len());
        let most = self.sold[sold].seats as usize;
        let seats = if self.chance.once_in(3) { 0 } else { 1 + self.chance.below(most) };
        (place, sold, u32::try_from(seats).unwrap_or(0))
    }

    /// The same, mostly where some of it lies.
    fn some_there(&mut self) -> (usize, usize, u32) {
        let now = self.world.vendor.clock.now();
        let mut held = Vec::new();
        for place in self.used() {
            for (at, sold) in self.sold.iter().enumerate() {
                let seats = self.places[place].device.seats(&sold.license, now);
                held.extend((seats > 0).then_some((place, at, seats)));
            }
        }
        if held.is_empty() || self.chance.once_in(6) {
            return self.some();
        }
        let (place, sold, most) = held[self.chance.below(held.len())];
        let seats = if self.chance.once_in(3) { 0 } else { 1 + self.chance.below(most as usize) };
        (place, sold, u32::try_from(seats).unwrap_or(0))
    }

    fn keep(&mut self, place: usize, update: Vec<u8>) {
        if !update.is_empty() && !self.chance.once_in(6) {
            self.places[place].files.push(update);
        }
    }

    pub(super) async fn wish_to_activate(&mut self) -> &'static str {
        let (place, sold, seats) = self.some();
        let request = ActivateRequest {
            request_id: self.request_id(),
            ticket: self.sold[sold].ticket.ticket.clone(),
            license_ids: vec![self.sold[sold].license.clone()],
            context: self.places[place].device.context(),
            quantities: vec![seats],
        };
        match self.front.activate_as(request.clone()).await {
            Ok(answer) => {
                self.keep(place, answer.update);
                "activated"
            }
            Err(_) if self.chance.once_in(2) => {
                // Asked once more, of whichever process answers then.
                let front = self.world.front().await;
                if let Ok(answer) = front.activate_as(request).await {
                    self.keep(place, answer.update);
                }
                "activation repeated"
            }
            Err(_) => "activation refused",
        }
    }

    pub(super) async fn wish_to_transfer(&mut self) -> &'static str {
        let (from, sold, seats) = self.some_there();
        let used = self.used();
        let at = used.iter().position(|place| *place == from).unwrap_or(0);
        let to = used[self.chance.other(at, used.len())];
        let until = self.world.vendor.clock.now().saturating_add(DAY * (1 + self.chance.below(10)) as u32);
        let lend = self.chance.once_in(2);
        let context = self.front.fresh(&mut self.places[from].device).await;
        let by_staff = self.chance.once_in(3);
        let request = TransferLicenseRequest {
            to_serial: self.places[to].device.serial.clone(),
            from_serial: self.places[from].device.serial.clone(),
            lend_until: lend.then(|| timestamp(until)),
            ..moving(&self.request_id(), &self.sold[sold].ticket, seats, context)
        };
        let outcome = if by_staff {
            self.front.transfer_by_staff(TransferLicenseRequest { ticket: String::new(), ..request }).await
        } else {
            self.front.transfer(request).await
        };
        match outcome {
            Ok(answer) => {
                if lend {
                    self.loans.extend(answer.transfer.map(|transfer| transfer.transfer_id));
                }
                self.keep(from, answer.update);
                if lend { "lent" } else { "moved" }
            }
            Err(_) => "transfer refused",
        }
    }

    pub(super) async fn wish_to_end_a_loan(&mut self) -> &'static str {
        if self.loans.is_empty() {
            return "no loan";
        }
        let loan = self.loans[self.chance.below(self.loans.len())].clone();
        let transfer = self.front.transfer_now(&loan).await;
        let Some(place) = self.places.iter().position(|place| place.device.serial == transfer.to_serial) else {
            return "no loan";
        };
        let request = TransferLicenseRequest {
            firm_code: crate::world::FIRM,
            request_id: self.request_id(),
            from_serial: transfer.to_serial,
            returns_transfer_id: loan,
            ..TransferLicenseRequest::default()
        };
        match self.front.transfer_by_staff(request).await {
            Ok(answer) => {
                self.keep(place, answer.update);
                "loan given back"
            }
            Err(_) => "loan stays",
        }
    }

    pub(super) async fn wish_to_give_back(&mut self) -> &'static str {
        let (place, sold, seats) = self.some_there();
        let context = self.front.fresh(&mut self.places[place].device).await;
        let id = self.request_id();
        match self.front.give_back(&id, &self.sold[sold].ticket, seats, context).await {
            Ok(answer) => {
                self.keep(place, answer.update);
                "given back"
            }
            Err(_) => "return refused",
        }
    }

    /// A container is lost, and another one takes over what it held of one ticket, and of the others as far as they go.
    pub(super) async fn wish_to_replace(&mut self) -> &'static str {
        if self.places.len() >= 7 {
            return "nothing is lost";
        }
        let used = self.used();
        let lost = used[self.chance.below(used.len())];
        let new = self.another_container().await;
        let mut replaced = false;
        for sold in 0..self.sold.len() {
            let context = self.places[new].device.context();
            let id = self.request_id();
            let (ticket, device) = (&self.sold[sold].ticket, &self.places[lost].device);
            let outcome = self.front.replace_by_staff(&id, ticket, device, context).await;
            if let Ok(answer) = outcome {
                replaced = true;
                self.keep(new, answer.update);
            } else {
                // A process that died half-way left it to the next one.
                let front = self.world.front().await;
                front.resume().await;
            }
        }
        let blocked = self.is_blocked(lost).await;
        self.places[lost].lost = blocked;
        if replaced { "replaced" } else { "replacement refused" }
    }

    /// The vendor's word about a container: blocked or not, as its context is answered.
    async fn is_blocked(&mut self, place: usize) -> bool {
        let front = self.world.front().await;
        front.resume().await;
        let peers = front.runner.peers();
        let context = self.places[place].device.context();
        peers.take_context(context).await.expect("taken").blocked
    }

    pub(super) async fn wish_to_withdraw(&mut self) -> &'static str {
        // Seldom, and never the largest: there has to be something left to move.
        if !self.chance.once_in(3) {
            return "nothing withdrawn";
        }
        let sold = 1 + self.chance.below(self.sold.len() - 1);
        let id = self.request_id();
        let outcome = self.front.withdraw(&id, &self.sold[sold].license.clone()).await;
        if outcome.is_err() {
            // Begun or refused: the next process and the license itself tell.
            let front = self.world.front().await;
            front.resume().await;
        }
        let license = self.world.vendor.license(&self.sold[sold].license).await;
        self.sold[sold].withdrawn |= outcome.is_ok()
            || matches!(
                license.state(),
                lictor_api::types::v1::LicenseState::Withdrawn | lictor_api::types::v1::LicenseState::Returning
            );
        "withdrawn"
    }
}
