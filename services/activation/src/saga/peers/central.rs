//! What is asked of license-central.

use lictor_api::{
    central::v1::{
        CommitRequest, ConfirmRequest, DueWork, GetTransferRequest, GetTransferResponse, KeepReservationRequest,
        ListDueRequest, NoteBlockedRequest, NoteRebaseRequest, PlanRequest, PlanResponse, RedirectTransferRequest,
        ReleaseRequest, ResolveTicketRequest, ResolveTicketResponse,
    },
    event::v1::ContainerBlocked,
    types::v1::ContainerKind as WireKind,
};
use lictor_licensing::id::TransferId;

use super::{Peers, within};
use crate::{
    domain::{purpose::Container, saga::Saga},
    failure::Failure,
};

const CENTRAL: &str = "license-central";
/// Most bytes of a reason that license-central takes.
const REASON_BYTES: usize = 256;

impl Peers {
    /// What a ticket holds.
    pub async fn resolve_ticket(&self, ticket: String) -> Result<ResolveTicketResponse, Failure> {
        within(CENTRAL, self.allocations().resolve_ticket(ResolveTicketRequest { ticket })).await
    }

    /// Decides what a saga changes and sets it aside; gives the same answer for the same saga.
    pub async fn plan(&self, request: PlanRequest) -> Result<PlanResponse, Failure> {
        within(CENTRAL, self.allocations().plan(request)).await
    }

    /// Lifts the time limit.
    pub async fn keep(&self, saga: &Saga) -> Result<(), Failure> {
        let request = KeepReservationRequest { activation_id: saga.id.to_string() };
        within(CENTRAL, self.allocations().keep_reservation(request)).await.map(|_| ())
    }

    /// Tells that the update was issued.
    pub async fn commit(&self, saga: &Saga) -> Result<(), Failure> {
        let request = CommitRequest { activation_id: saga.id.to_string(), counter: saga.to };
        within(CENTRAL, self.allocations().commit(request)).await.map(|_| ())
    }

    /// Tells that the container proved it.
    pub async fn confirm(&self, saga: &Saga) -> Result<(), Failure> {
        let request = ConfirmRequest { activation_id: saga.id.to_string() };
        within(CENTRAL, self.allocations().confirm(request)).await.map(|_| ())
    }

    /// Gives back what was set aside; nothing was issued.
    pub async fn release(&self, saga: &Saga, reason: &str) -> Result<(), Failure> {
        let request = ReleaseRequest { activation_id: saga.id.to_string(), reason: short(reason), not_issued: true };
        within(CENTRAL, self.allocations().release(request)).await.map(|_| ())
    }

    /// Counts a rebase for the container's customer.
    pub async fn note_rebase(&self, saga: &Saga, by_hand: bool) -> Result<(), Failure> {
        let container = saga.container.clone();
        let request = NoteRebaseRequest {
            activation_id: saga.id.to_string(),
            firm_code: saga.firm,
            container_id: container.as_ref().map(|container| container.id.clone()).unwrap_or_default(),
            serial: container.map(|container| container.serial).unwrap_or_default(),
            by_hand,
        };
        within(CENTRAL, self.allocations().note_rebase(request)).await.map(|_| ())
    }

    /// Tells that a container gets withdrawals only from now on.
    pub async fn note_blocked(&self, firm_code: u32, blocked: &ContainerBlocked) -> Result<(), Failure> {
        let request = NoteBlockedRequest {
            firm_code,
            container_id: blocked.container_id.clone(),
            serial: blocked.serial.clone(),
            reason: short(&blocked.reason),
        };
        within(CENTRAL, self.allocations().note_blocked(request)).await.map(|_| ())
    }

    /// A transfer and its containers.
    pub async fn transfer(&self, transfer: TransferId) -> Result<GetTransferResponse, Failure> {
        let request = GetTransferRequest { transfer_id: transfer.to_string() };
        within(CENTRAL, self.allocations().get_transfer(request)).await
    }

    /// Sends the seats of a transfer into another container than they were to go into.
    pub async fn redirect(&self, transfer: TransferId, target: &Container) -> Result<(), Failure> {
        let request = RedirectTransferRequest {
            transfer_id: transfer.to_string(),
            container_id: target.id.clone(),
            serial: target.serial.clone(),
            kind: WireKind::from(target.kind).into(),
            virtual_machine: target.virtual_machine,
        };
        within(CENTRAL, self.allocations().redirect_transfer(request)).await.map(|_| ())
    }

    /// What has become due, oldest first.
    pub async fn due_work(&self, limit: u32) -> Result<Vec<DueWork>, Failure> {
        Ok(within(CENTRAL, self.allocations().list_due(ListDueRequest { limit })).await?.work)
    }
}

/// A reason without control characters and no longer than license-central takes it.
fn short(reason: &str) -> String {
    let mut reason: String = reason.chars().filter(|symbol| !symbol.is_control()).collect();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
    reason
}

/// The question for a saga's plan, without its purpose.
pub(in crate::saga) fn question(saga: &Saga) -> PlanRequest {
    // A repeat asks what was asked first, when license-central had not yet picked the container.
    let container = saga.container.as_ref().filter(|_| !saga.gets_container_by_plan());
    let kind = WireKind::from(container.and_then(|container| container.kind));
    PlanRequest {
        activation_id: saga.id.to_string(),
        container_id: container.map(|container| container.id.clone()).unwrap_or_default(),
        serial: container.map(|container| container.serial.clone()).unwrap_or_default(),
        kind: kind.into(),
        virtual_machine: container.is_some_and(|container| container.virtual_machine),
        purpose: None,
    }
}
