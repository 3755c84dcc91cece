//! Updates that the vendor issues from the modified context, with nothing needed from the user.

use lictor_api::activation::v1::{CreatePushRequest, CreatePushResponse};
use lictor_licensing::{TicketCode, id::LicenseId};
use tonic::Status;

use super::{Counter, asked, edge, present, status};
use crate::{
    domain::{purpose::Purpose, saga::Saga},
    failure::Failure,
    saga::Settled,
};

/// A request to push.
struct Wish {
    caller: String,
    request_id: String,
    firm: u32,
    serial: String,
    ticket: Option<TicketCode>,
    withdraw: Vec<LicenseId>,
}

impl Counter {
    pub(super) async fn pushed(
        &self,
        caller: String,
        request: CreatePushRequest,
    ) -> Result<CreatePushResponse, Status> {
        let wish = Wish {
            caller,
            request_id: edge::request_id(&request.request_id)?,
            firm: edge::firm(request.firm_code)?,
            serial: edge::serial(&request.serial)?,
            ticket: (!request.ticket.is_empty()).then(|| edge::ticket(&request.ticket)).transpose()?,
            withdraw: edge::ids(&request.withdraw)?,
        };
        if wish.ticket.is_none() && wish.withdraw.is_empty() {
            return Err(edge::invalid("a push changes nothing without a ticket or a license to withdraw", "name one"));
        }
        let settled = self.push_wish(wish).await.map_err(status)?;
        let issued = self.0.runner.update_of(&settled.saga, settled.issued).await.map_err(status)?;
        Ok(CreatePushResponse {
            activation: Some(present::activation(&settled.saga)),
            from: issued.file_from,
            to: issued.to,
            segments: issued.segments,
            update: issued.update,
        })
    }

    /// Everything that can be known to be wrong is refused before the saga is begun.
    async fn push_wish(&self, wish: Wish) -> Result<Settled, Failure> {
        let licenses: Vec<String> = wish.withdraw.iter().map(ToString::to_string).collect();
        let body_hash = edge::hash(&[
            b"push",
            &wish.firm.to_be_bytes(),
            wish.serial.as_bytes(),
            &wish.ticket.as_ref().map_or_else(Vec::new, |code| code.hash().to_vec()),
            licenses.join(",").as_bytes(),
        ]);
        let asked = asked(wish.caller, wish.request_id, body_hash);
        if let Some(before) = self.before(&asked).await? {
            return self.0.carry_on(before).await;
        }
        let container = self.known(wish.firm, wish.serial, wish.ticket.is_some()).await?;
        let ticket = match &wish.ticket {
            Some(code) => Some(self.ticket_of(wish.firm, code).await?),
            None => None,
        };
        let purpose = Purpose::Push { ticket, withdraw: wish.withdraw };
        let saga = self.fresh(purpose, asked).of(wish.firm, Some(container));
        let ticket_masked = wish.ticket.as_ref().map(TicketCode::masked).unwrap_or_default();
        self.0.carry_out(Saga { ticket_masked, ..saga }, None).await
    }
}
