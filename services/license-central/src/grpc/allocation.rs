//! AllocationService: central's half of every saga. Called by the activation service alone.

use lictor_api::central::v1::{
    BeginWithdrawalRequest, BeginWithdrawalResponse, CommitRequest, CommitResponse, ConfirmRequest, ConfirmResponse,
    KeepReservationRequest, KeepReservationResponse, ReleaseRequest, ReleaseResponse, ReserveRequest, ReserveResponse,
    ReservedLicense, ResolveTicketRequest, ResolveTicketResponse, WithdrawnLicense,
    allocation_service_server::AllocationService,
};
use tonic::{Request, Response, Status};

use super::{Counter, edge};
use crate::{domain::choice::MAX_LICENSES, events::Moment, present, store};

/// Most bytes of a reason for people.
const REASON_BYTES: usize = 256;

#[tonic::async_trait]
impl AllocationService for Counter {
    async fn resolve_ticket(
        &self,
        request: Request<ResolveTicketRequest>,
    ) -> Result<Response<ResolveTicketResponse>, Status> {
        let code = edge::ticket(&request.get_ref().ticket)?;
        let found = self.0.store.order_of_ticket(code.hash()).await.map_err(|error| edge::broken(&error))?;
        let (order, ticket) = found.ok_or_else(edge::ticket_unknown)?;
        Ok(Response::new(ResolveTicketResponse {
            ticket_id: ticket.id.to_string(),
            firm_code: order.firm.get(),
            customer: order.customer,
            licenses: ticket.licenses.iter().map(present::license).collect(),
        }))
    }

    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let request = request.into_inner();
        let kind = request.kind();
        let request = store::ReserveRequest {
            activation: edge::id(&request.activation_id)?,
            ticket: edge::id(&request.ticket_id)?,
            licenses: edge::ids(&request.license_ids, MAX_LICENSES)?,
            container: edge::container_id(&request.container_id)?,
            serial: edge::line("a serial", &request.serial, 64)?,
            kind: edge::kind(kind)?,
        };
        let reserved = self.0.store.reserve(&request, self.0.now()).await?;
        let licenses = reserved.licenses.into_iter().map(|part| ReservedLicense {
            license_id: part.license.to_string(),
            product_item: part.product_item,
            quantity: part.quantity,
            allocation_id: part.allocation.to_string(),
        });
        Ok(Response::new(ReserveResponse {
            firm_code: reserved.firm.get(),
            licenses: licenses.collect(),
            ticket: reserved.ticket_masked,
        }))
    }

    async fn keep_reservation(
        &self,
        request: Request<KeepReservationRequest>,
    ) -> Result<Response<KeepReservationResponse>, Status> {
        self.0.store.keep(edge::id(&request.get_ref().activation_id)?, self.0.now()).await?;
        Ok(Response::new(KeepReservationResponse {}))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        let request = request.into_inner();
        let moment = Moment::of_call(self.0.now());
        self.0.store.commit(edge::id(&request.activation_id)?, request.counter, &moment).await?;
        Ok(Response::new(CommitResponse {}))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let request = request.into_inner();
        let reason = edge::line("a reason", &request.reason, REASON_BYTES)?;
        let moment = Moment::of_call(self.0.now());
        self.0.store.release(edge::id(&request.activation_id)?, &reason, request.not_issued, &moment).await?;
        Ok(Response::new(ReleaseResponse {}))
    }

    async fn confirm(&self, request: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        let moment = Moment::of_call(self.0.now());
        self.0.store.confirm(edge::id(&request.get_ref().activation_id)?, &moment).await?;
        Ok(Response::new(ConfirmResponse {}))
    }

    async fn begin_withdrawal(
        &self,
        request: Request<BeginWithdrawalRequest>,
    ) -> Result<Response<BeginWithdrawalResponse>, Status> {
        let request = request.into_inner();
        let container =
            (!request.container_id.is_empty()).then(|| edge::container_id(&request.container_id)).transpose()?;
        let request = store::WithdrawalRequest {
            activation: edge::id(&request.activation_id)?,
            licenses: edge::ids(&request.license_ids, MAX_LICENSES)?,
            reason: edge::line("a reason", &request.reason, REASON_BYTES)?,
            container,
        };
        if request.licenses.is_empty() {
            return Err(edge::invalid("a withdrawal names no license", "name a license"));
        }
        let moment = Moment::of_call(self.0.now());
        let withdrawal = self.0.store.begin_withdrawal(&request, &moment).await?;
        let licenses = withdrawal.licenses.into_iter().map(|license| WithdrawnLicense {
            license_id: license.license.to_string(),
            container_id: license.container,
            serial: license.serial,
            activation_id: license.activation.to_string(),
        });
        let licenses: Vec<_> = licenses.collect();
        Ok(Response::new(BeginWithdrawalResponse {
            firm_code: withdrawal.firm.get(),
            done: licenses.is_empty(),
            licenses,
        }))
    }

    async fn plan(
        &self,
        _: Request<lictor_api::central::v1::PlanRequest>,
    ) -> Result<Response<lictor_api::central::v1::PlanResponse>, Status> {
        Err(Status::unimplemented("Plan is not served yet"))
    }

    async fn list_due(
        &self,
        _: Request<lictor_api::central::v1::ListDueRequest>,
    ) -> Result<Response<lictor_api::central::v1::ListDueResponse>, Status> {
        Err(Status::unimplemented("ListDue is not served yet"))
    }

    async fn get_transfer(
        &self,
        _: Request<lictor_api::central::v1::GetTransferRequest>,
    ) -> Result<Response<lictor_api::central::v1::GetTransferResponse>, Status> {
        Err(Status::unimplemented("GetTransfer is not served yet"))
    }

    async fn note_rebase(
        &self,
        _: Request<lictor_api::central::v1::NoteRebaseRequest>,
    ) -> Result<Response<lictor_api::central::v1::NoteRebaseResponse>, Status> {
        Err(Status::unimplemented("NoteRebase is not served yet"))
    }
}
