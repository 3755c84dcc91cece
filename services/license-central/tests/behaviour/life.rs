//! Carrying licenses through plans, for the tests of dates and records.

use lictor_clock::{Clock as _, Timestamp, duration::days};
use lictor_license_central::{
    domain::{
        license::License,
        plan::{Change, Place, PlanRequest, Purpose},
    },
    failure::Failure,
};
use lictor_licensing::{
    ContainerKind,
    id::{ActivationId, LicenseId, TicketId},
};

use crate::world::{START, World, container};

pub(crate) fn day(number: u64) -> Timestamp {
    START.saturating_add(days(number))
}

/// The machine whose id is this digit.
pub(crate) fn place(digit: char) -> Place {
    Place {
        id: container(digit),
        serial: format!("130-{digit}"),
        kind: Some(ContainerKind::Machine),
        virtual_machine: false,
    }
}

impl World {
    pub(crate) fn go_to(&self, number: u64) {
        self.clock.set_now(day(number));
    }

    pub(crate) async fn plan_for(&self, digit: char, purpose: Purpose) -> Result<ActivationId, Failure> {
        let activation = self.activation();
        let request = PlanRequest { activation, place: Some(place(digit)), purpose };
        let moment = self.moment();
        self.store.plan(&request, &moment, |_| Vec::new()).await?;
        Ok(activation)
    }

    /// What a plan of this purpose would have issued.
    pub(crate) async fn changes_of(&self, digit: char, purpose: Purpose) -> Vec<Change> {
        let request = PlanRequest { activation: self.activation(), place: Some(place(digit)), purpose };
        let moment = self.moment();
        let told = std::sync::Mutex::new(Vec::new());
        let keep = |plan: &lictor_license_central::store::Plan| {
            told.lock().expect("not poisoned").clone_from(&plan.draft.changes);
            Vec::new()
        };
        self.store.plan(&request, &moment, keep).await.expect("a plan");
        self.store.release(request.activation, "only asked", true, &moment).await.expect("released");
        told.into_inner().expect("not poisoned")
    }

    pub(crate) async fn issue(&self, activation: ActivationId, counter: u64) {
        self.store.keep(activation, self.clock.now()).await.expect("kept");
        self.store.commit(activation, counter, &self.moment()).await.expect("committed");
    }

    pub(crate) async fn prove(&self, activation: ActivationId) {
        self.store.confirm(activation, &self.moment()).await.expect("confirmed");
    }

    pub(crate) async fn plan_in(&self, ticket: TicketId, digit: char) -> Result<ActivationId, Failure> {
        self.plan_for(digit, Purpose::Activate { ticket: Some(ticket), picks: Vec::new(), withdraw: Vec::new() }).await
    }

    /// Activates a ticket up to the proof.
    pub(crate) async fn carry_in(&self, ticket: TicketId, digit: char) {
        let activation = self.plan_in(ticket, digit).await.expect("a plan");
        self.issue(activation, 1).await;
        self.prove(activation).await;
    }

    /// Gives everything of a ticket back, up to the proof.
    pub(crate) async fn give_back(&self, ticket: TicketId, digit: char) -> Result<(), Failure> {
        let activation = self.plan_for(digit, Purpose::GiveBack { ticket, picks: Vec::new() }).await?;
        self.issue(activation, 2).await;
        self.prove(activation).await;
        Ok(())
    }

    /// A ticket with one license of an item.
    pub(crate) async fn ticket_of(&self, item: &str) -> (TicketId, LicenseId) {
        let license = self.order(&[(item, 0)]).await.tickets[0].licenses[0].clone();
        (license.ticket, license.id)
    }

    pub(crate) async fn look(&self, id: LicenseId) -> License {
        self.store.license(id).await.expect("a store").expect("the license")
    }

    /// When the license's only entry ends.
    pub(crate) async fn end_of(&self, id: LicenseId) -> Option<Timestamp> {
        let license = self.look(id).await;
        license.allocations.iter().find(|part| part.state.is_issued()).and_then(|part| part.expires_at)
    }
}
