//! Tickets: the secret that lets customers in, and how often wrong ones may be tried.

use std::net::IpAddr;

use lictor_api::{
    activation::v1::{InspectTicketResponse, TicketLicense},
    central::v1::ResolveTicketResponse,
    types::v1::LicenseState,
};
use lictor_licensing::{TicketCode, error::ErrorCode, id::TicketId};

use super::Counter;
use crate::failure::Failure;

/// One text for a ticket that does not exist and for one of another vendor: the answer tells nothing about either.
fn unknown_ticket() -> Failure {
    Failure::refused(
        ErrorCode::TicketUnknown,
        "there is no such ticket for the vendor of this request",
        "check the ticket for typing errors, and that the context is for the vendor who sold it",
    )
}

impl Counter {
    pub(super) async fn inspected(&self, address: IpAddr, code: &TicketCode) -> Result<InspectTicketResponse, Failure> {
        let ticket = self.resolve(address, code, None).await?;
        let licenses = ticket.licenses.into_iter().map(|license| TicketLicense {
            state: LicenseState::word_of(license.state).to_owned(),
            license_id: license.license_id,
            text: license.item.clone(),
            item: license.item,
            product_code: license.product_code,
            quantity: license.quantity,
        });
        Ok(InspectTicketResponse { firm_code: ticket.firm_code, licenses: licenses.collect() })
    }

    /// What a ticket holds. A wrong one costs a try; one of another firm than wanted counts as wrong. A caller who goes away
    /// meanwhile does not lose the try of a right one.
    pub(super) async fn resolve(
        &self,
        address: IpAddr,
        code: &TicketCode,
        firm: Option<u32>,
    ) -> Result<ResolveTicketResponse, Failure> {
        let (counter, code) = (self.clone(), code.clone());
        self.0.outlive(async move { counter.try_ticket(address, &code, firm).await }).await
    }

    async fn try_ticket(
        &self,
        address: IpAddr,
        code: &TicketCode,
        firm: Option<u32>,
    ) -> Result<ResolveTicketResponse, Failure> {
        let taken = self.0.limiter.take(address).await.map_err(|too_many| {
            self.0.metrics.tickets_limited.inc();
            Failure::refused(ErrorCode::TooManyRequests, too_many.to_string(), "check the ticket, wait, then try again")
        })?;
        let answer = match self.0.runner.peers().resolve_ticket(code.reveal()).await {
            Ok(ticket) if firm.is_none_or(|firm| firm == ticket.firm_code) => Ok(ticket),
            Ok(_) => Err(unknown_ticket()),
            Err(Failure::Refused(problem)) if problem.code == ErrorCode::TicketUnknown => Err(unknown_ticket()),
            // Not answered at all: nothing was guessed.
            Err(failure) => {
                self.0.limiter.refund(taken).await;
                return Err(failure);
            }
        };
        if answer.is_ok() {
            self.0.limiter.refund(taken).await;
        } else {
            self.0.metrics.tickets_wrong.inc();
        }
        answer
    }

    /// A ticket that staff gives: of this firm.
    pub(super) async fn ticket_of(&self, firm: u32, code: &TicketCode) -> Result<TicketId, Failure> {
        let ticket = self.0.runner.peers().resolve_ticket(code.reveal()).await?;
        if ticket.firm_code != firm {
            return Err(Failure::refused(
                ErrorCode::TicketUnknown,
                format!("firm code {firm} has no such ticket"),
                "check the ticket and the firm code",
            ));
        }
        ticket_id(&ticket)
    }
}

/// Under which name the holder of a ticket asks.
pub(super) fn holder(code: &TicketCode) -> String {
    let secret: String = code.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("ticket:{secret}")
}

/// The id of a resolved ticket.
pub(super) fn ticket_id(ticket: &ResolveTicketResponse) -> Result<TicketId, Failure> {
    ticket.ticket_id.parse().map_err(|_| {
        tracing::error!(ticket_id = ticket.ticket_id, "license-central answered with a ticket id that is none");
        Failure::refused(ErrorCode::Internal, "the activation service failed inside", "look into its log")
    })
}
