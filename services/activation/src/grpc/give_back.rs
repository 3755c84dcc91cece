//! Licenses back to the vendor, by the customer's own hand.

use std::net::IpAddr;

use lictor_api::activation::v1::{Activation, ReturnLicensesRequest};
use tonic::Status;

use super::{
    Counter,
    activation::{Wish, shown_container},
    asked, edge, is_fresh, is_sound, status,
    ticket::{holder, ticket_id},
};
use crate::{
    domain::{purpose::Purpose, saga::Saga},
    failure::Failure,
    saga::Settled,
};

impl Counter {
    pub(super) async fn given_back(
        &self,
        address: IpAddr,
        request: ReturnLicensesRequest,
    ) -> Result<(Activation, Vec<u8>), Status> {
        let wish = Wish {
            code: edge::ticket(&request.ticket)?,
            request_id: edge::request_id(&request.request_id)?,
            picks: edge::picks(&request.license_ids, &request.quantities)?,
            context: edge::file(request.context)?,
        };
        let settled = self.give_back_wish(address, wish).await.map_err(status)?;
        self.answer(settled).await.map_err(status)
    }

    async fn give_back_wish(&self, address: IpAddr, wish: Wish) -> Result<Settled, Failure> {
        let peers = self.0.runner.peers();
        let shown = peers.inspect_context(wish.context.clone()).await?;
        let ticket = self.resolve(address, &wish.code, Some(shown.firm_code)).await?;
        let body_hash = wish.body_hash(b"return", &shown.container_id);
        let asked = asked(holder(&wish.code), wish.request_id, body_hash);
        if let Some(before) = self.before(&asked).await? {
            return self.0.carry_on(before).await;
        }
        // Only now: a repeat may come when the challenge is over. A copy of an old context would let a customer give back
        // what he put aside in a copy of the container.
        let taken = peers.take_context(wish.context).await?;
        is_fresh(taken.fresh, &taken.serial)?;
        is_sound(&taken)?;
        let purpose = Purpose::Return { ticket: ticket_id(&ticket)?, picks: wish.picks };
        let saga = self.fresh(purpose, asked).of(ticket.firm_code, Some(shown_container(&shown)?));
        self.0.carry_out(Saga { ticket_masked: wish.code.masked(), ..saga }, None).await
    }
}
