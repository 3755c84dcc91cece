//! A new container in place of a lost one.

use std::net::IpAddr;

use lictor_api::activation::v1::{Activation, ReplaceContainerRequest};
use lictor_licensing::TicketCode;
use tonic::Status;

use super::{
    Counter,
    activation::shown_container,
    asked, edge, is_sound, status,
    ticket::{holder, ticket_id},
};
use crate::{
    domain::{purpose::Purpose, saga::Saga},
    failure::Failure,
    saga::Settled,
};

/// A request to replace a lost container.
struct Wish {
    /// Who of the vendor's staff asks; nobody when the customer does.
    staff: Option<String>,
    request_id: String,
    code: TicketCode,
    lost_serial: String,
    context: Vec<u8>,
}

impl Counter {
    pub(super) async fn replaced(
        &self,
        address: IpAddr,
        staff: Option<String>,
        request: ReplaceContainerRequest,
    ) -> Result<(Activation, Vec<u8>), Status> {
        let wish = Wish {
            staff,
            request_id: edge::request_id(&request.request_id)?,
            code: edge::ticket(&request.ticket)?,
            lost_serial: edge::serial(&request.lost_serial)?,
            context: edge::file(request.context)?,
        };
        let settled = self.replace_wish(address, wish).await.map_err(status)?;
        self.answer(settled).await.map_err(status)
    }

    async fn replace_wish(&self, address: IpAddr, wish: Wish) -> Result<Settled, Failure> {
        let peers = self.0.runner.peers();
        let shown = peers.inspect_context(wish.context.clone()).await?;
        let (ticket, by_hand) = match &wish.staff {
            None => (ticket_id(&self.resolve(address, &wish.code, Some(shown.firm_code)).await?)?, false),
            Some(_) => (self.ticket_of(shown.firm_code, &wish.code).await?, true),
        };
        let body_hash =
            edge::hash(&[b"replace", &wish.code.hash(), wish.lost_serial.as_bytes(), shown.container_id.as_bytes()]);
        let caller = wish.staff.unwrap_or_else(|| holder(&wish.code));
        let asked = asked(caller, wish.request_id, body_hash);
        if let Some(before) = self.before(&asked).await? {
            return self.0.carry_on(before).await;
        }
        is_sound(&peers.take_context(wish.context).await?)?;
        let purpose = Purpose::Replace { ticket, lost_serial: wish.lost_serial, by_hand };
        let saga = self.fresh(purpose, asked).of(shown.firm_code, Some(shown_container(&shown)?));
        self.0.carry_out(Saga { ticket_masked: wish.code.masked(), ..saga }, None).await
    }
}
