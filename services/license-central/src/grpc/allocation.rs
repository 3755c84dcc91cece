//! AllocationService: central's half of every saga. Called by the activation service alone.

use lictor_api::central::v1::{
    CommitRequest, CommitResponse, ConfirmRequest, ConfirmResponse, GetTransferRequest, GetTransferResponse,
    KeepReservationRequest, KeepReservationResponse, ListDueRequest, ListDueResponse, NoteBlockedRequest,
    NoteBlockedResponse, NoteRebaseRequest, NoteRebaseResponse, PlanRequest, PlanResponse, RedirectTransferRequest,
    RedirectTransferResponse, ReleaseRequest, ReleaseResponse, ResolveTicketRequest, ResolveTicketResponse,
    allocation_service_server::AllocationService,
};
use lictor_api::types::v1::ContainerKind as WireKind;
use lictor_licensing::{error::ErrorCode, id::TransferId};
use lictor_storage::StorageError;
use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    Counter, edge,
    plan::{self, REASON_BYTES, SERIAL_BYTES},
};
use crate::{
    events::Moment,
    failure::Failure,
    present,
    store::{BlockedContainer, RebaseNote},
};

/// Things that have become due in one answer, unless the caller wants another number.
const DUE_USUALLY: u32 = 100;
/// The most of them.
const DUE_AT_MOST: u32 = 1_000;

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

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let request = plan::read(request.into_inner())?;
        let moment = Moment::of_call(self.0.now());
        let answer = self.0.store.plan(&request, &moment, plan::answer).await?;
        let answer = PlanResponse::decode(answer.as_slice())
            .map_err(|error| edge::broken(&StorageError::inconsistent("reservation.answer", error.to_string())))?;
        Ok(Response::new(answer))
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
        let done = self.0.store.commit(edge::id(&request.activation_id)?, request.counter, &moment).await;
        self.seen(done)?;
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
        let done = self.0.store.confirm(edge::id(&request.get_ref().activation_id)?, &moment).await;
        self.seen(done)?;
        Ok(Response::new(ConfirmResponse {}))
    }

    async fn list_due(&self, request: Request<ListDueRequest>) -> Result<Response<ListDueResponse>, Status> {
        let limit = match request.get_ref().limit {
            0 => DUE_USUALLY,
            limit => limit.min(DUE_AT_MOST),
        };
        let due = self.0.store.due(self.0.now(), limit).await.map_err(|error| edge::broken(&error))?;
        Ok(Response::new(ListDueResponse { work: due.into_iter().map(plan::due).collect() }))
    }

    async fn get_transfer(
        &self,
        request: Request<GetTransferRequest>,
    ) -> Result<Response<GetTransferResponse>, Status> {
        let id: TransferId = edge::id(&request.get_ref().transfer_id)?;
        let found = self.0.store.transfer(id).await.map_err(|error| edge::broken(&error))?;
        let transfer = found.ok_or_else(|| edge::not_found(format!("there is no transfer {id}"), "check its id"))?;
        Ok(Response::new(GetTransferResponse {
            transfer: Some(present::transfer(&transfer)),
            to_kind: WireKind::from(transfer.to_kind).into(),
            from_container_id: transfer.from_container,
            to_container_id: transfer.to_container,
        }))
    }

    async fn redirect_transfer(
        &self,
        request: Request<RedirectTransferRequest>,
    ) -> Result<Response<RedirectTransferResponse>, Status> {
        let request = request.into_inner();
        let kind = request.kind();
        let target = plan::place(&request.container_id, &request.serial, kind, request.virtual_machine)?
            .ok_or_else(|| edge::invalid("the new container is missing", "name the new container"))?;
        self.0.store.redirect(edge::id(&request.transfer_id)?, &target, self.0.now()).await?;
        Ok(Response::new(RedirectTransferResponse {}))
    }

    async fn note_rebase(&self, request: Request<NoteRebaseRequest>) -> Result<Response<NoteRebaseResponse>, Status> {
        let request = request.into_inner();
        let note = RebaseNote {
            activation: edge::id(&request.activation_id)?,
            firm: edge::firm(request.firm_code)?,
            container: edge::container_id(&request.container_id)?,
            serial: edge::line("a serial", &request.serial, SERIAL_BYTES)?,
            by_hand: request.by_hand,
        };
        let counted = self.0.store.note_rebase(&note, self.0.now()).await?;
        let count = u32::try_from(counted.count).unwrap_or(u32::MAX);
        Ok(Response::new(NoteRebaseResponse { counted_for: counted.counted_for, count }))
    }

    async fn note_blocked(
        &self,
        request: Request<NoteBlockedRequest>,
    ) -> Result<Response<NoteBlockedResponse>, Status> {
        let request = request.into_inner();
        let blocked = BlockedContainer {
            firm: edge::firm(request.firm_code)?,
            container: edge::container_id(&request.container_id)?,
            serial: edge::line("a serial", &request.serial, SERIAL_BYTES)?,
            reason: edge::line("a reason", &request.reason, REASON_BYTES)?,
        };
        let news = self.0.store.note_blocked(&blocked, self.0.now()).await.map_err(|error| edge::broken(&error))?;
        if news {
            tracing::info!(container = blocked.serial, firm = %blocked.firm, "container blocked: no more plans for it");
        }
        Ok(Response::new(NoteBlockedResponse {}))
    }
}

impl Counter {
    /// Counts plans that others carried out and that are not here: the mark of a database that was restored.
    fn seen(&self, done: Result<(), Failure>) -> Result<(), Failure> {
        if let Err(Failure::Refused(problem)) = &done
            && problem.code == ErrorCode::NotFound
        {
            self.0.metrics.plans_missing.inc();
            tracing::error!(
                %problem,
                "an update was issued under a plan that is not here: was this database restored from a backup?"
            );
        }
        done
    }
}
