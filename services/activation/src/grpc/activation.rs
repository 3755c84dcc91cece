//! Licenses of a ticket into a container.

use std::net::IpAddr;

use lictor_api::{
    activation::v1::{ActivateRequest, Activation},
    central::v1::ResolveTicketResponse,
    types::v1::{License, LicenseState},
    update::v1::InspectContextResponse,
};
use lictor_licensing::TicketCode;
use tonic::Status;

use super::{
    Counter, asked, edge, is_sound, status,
    ticket::{holder, ticket_id},
};
use crate::{
    domain::{
        purpose::{Container, Pick, Purpose},
        saga::Saga,
    },
    failure::Failure,
    saga::Settled,
};

/// A request to activate, or to give back.
pub(super) struct Wish {
    pub(super) code: TicketCode,
    pub(super) request_id: String,
    pub(super) picks: Vec<Pick>,
    pub(super) context: Vec<u8>,
}

impl Wish {
    /// What a repeat has to equal. The container, not the file: every context of a container has other bytes, and a
    /// customer who repeats a request may well have made a new one.
    pub(super) fn body_hash(&self, what: &[u8], container: &str) -> [u8; 32] {
        let picks: Vec<String> = self.picks.iter().map(|pick| format!("{}={}", pick.license, pick.quantity)).collect();
        edge::hash(&[what, &self.code.hash(), picks.join(",").as_bytes(), container.as_bytes()])
    }
}

/// The container that a context shows.
pub(super) fn shown_container(shown: &InspectContextResponse) -> Result<Container, Failure> {
    let kind = edge::kind(shown.kind()).map_err(|status| lictor_api::error::problem(&status))?;
    Ok(Container {
        id: shown.container_id.clone(),
        serial: shown.serial.clone(),
        kind: Some(kind),
        virtual_machine: shown.virtual_machine,
    })
}

impl Counter {
    pub(super) async fn activated(
        &self,
        address: IpAddr,
        request: ActivateRequest,
    ) -> Result<(Activation, Vec<u8>), Status> {
        let wish = Wish {
            code: edge::ticket(&request.ticket)?,
            request_id: edge::request_id(&request.request_id)?,
            picks: edge::picks(&request.license_ids, &request.quantities)?,
            context: edge::file(request.context)?,
        };
        let settled = self.activate_wish(address, wish).await.map_err(status)?;
        self.answer(settled).await.map_err(status)
    }

    async fn activate_wish(&self, address: IpAddr, wish: Wish) -> Result<Settled, Failure> {
        let runner = &self.0.runner;
        // The file is judged first: what is wrong with it tells nothing about the ticket.
        let shown = runner.peers().inspect_context(wish.context.clone()).await?;
        let ticket = self.resolve(address, &wish.code, Some(shown.firm_code)).await?;
        let body_hash = wish.body_hash(b"activate", &shown.container_id);
        let asked = asked(holder(&wish.code), wish.request_id, body_hash);
        if let Some(before) = self.before(&asked).await? {
            return self.0.carry_on(before).await;
        }
        let purpose = Purpose::Activate { ticket: ticket_id(&ticket)?, picks: wish.picks };
        let saga = self.fresh(purpose, asked).of(ticket.firm_code, Some(shown_container(&shown)?));
        let saga = Saga { ticket_masked: wish.code.masked(), ..saga };
        is_sound(&runner.peers().take_context(wish.context).await?)?;
        if let Some(collected) = self.collected_before(&saga, &ticket).await? {
            return Ok(Settled { saga: collected, issued: None });
        }
        self.0.carry_out(saga, None).await
    }

    /// What was asked for lies in this very container already: the activation that put it there, and its file again. So
    /// whoever lost the file, the request's id or the answer finishes by asking once more.
    async fn collected_before(&self, saga: &Saga, ticket: &ResolveTicketResponse) -> Result<Option<Saga>, Failure> {
        let (Purpose::Activate { ticket: id, picks }, Some(container)) = (&saga.purpose, &saga.container) else {
            return Ok(None);
        };
        let picked = |license: &License| {
            picks.iter().find(|pick| pick.license.to_string() == license.license_id).map(|pick| pick.quantity)
        };
        let mut there = Vec::new();
        for license in &ticket.licenses {
            match picked(license) {
                None if !picks.is_empty() => {}
                wanted if lies_in(license, &container.id, wanted.unwrap_or(0)) => there.push(license),
                _ => return Ok(None),
            }
        }
        if there.is_empty() {
            return Ok(None);
        }
        let before = self.0.runner.store().put_into(*id, &container.id).await?;
        // A subscription may have gone into another one, whose id stands in the activation instead of its own.
        let carries = |saga: &Saga, license: &License| {
            license.state() == LicenseState::Merged
                || saga.licenses.iter().any(|id| id.to_string() == license.license_id)
        };
        Ok(before.into_iter().find(|saga| there.iter().any(|license| carries(saga, license))))
    }
}

/// Whether all that could be wanted of the license is in this container, or on its way there: no seats are free, and as
/// many as wanted are here.
fn lies_in(license: &License, container: &str, wanted: u32) -> bool {
    if license.state() == LicenseState::Merged {
        return true;
    }
    let here = license.allocations.iter().filter(|part| part.container_id == container);
    let mut here =
        here.filter(|part| matches!(part.state(), LicenseState::Collected | LicenseState::Confirmed)).peekable();
    if here.peek().is_none() || license.available > 0 {
        return false;
    }
    let seats: u32 = here.map(|part| part.quantity).sum();
    wanted == 0 || wanted == seats
}
