//! PushService: what the vendor's staff and back office start themselves.

use lictor_api::activation::v1::{
    CreatePushRequest, CreatePushResponse, GetPendingUpdateRequest, GetPendingUpdateResponse, WithdrawLicenseRequest,
    WithdrawLicenseResponse, push_service_server::PushService,
};
use lictor_licensing::{
    TicketCode,
    error::ErrorCode,
    id::{LicenseId, TicketId},
};
use tonic::{Request, Response, Status};

use super::{Counter, activation::ticket_id, edge, present, status};
use crate::{
    domain::{
        saga::{Container, Saga},
        state::{Kind, State},
    },
    failure::Failure,
    saga::refusal,
};

#[tonic::async_trait]
impl PushService for Counter {
    async fn create_push(&self, request: Request<CreatePushRequest>) -> Result<Response<CreatePushResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = request.into_inner();
        let wish = Push {
            caller,
            request_id: edge::request_id(&request.request_id)?,
            firm: edge::firm(request.firm_code)?,
            serial: edge::serial(&request.serial)?,
            ticket: (!request.ticket.is_empty()).then(|| edge::ticket(&request.ticket)).transpose()?,
            withdrawn: edge::ids(&request.withdraw)?,
        };
        if wish.ticket.is_none() && wish.withdrawn.is_empty() {
            return Err(edge::invalid("a push changes nothing without a ticket or a license to withdraw", "name one"));
        }
        let saga = self.push(wish).await.map_err(status)?;
        let settled = self.0.carry_out(saga).await.map_err(status)?;
        let issued = self.0.runner.update_of(&settled.saga, settled.issued).await.map_err(status)?;
        Ok(Response::new(CreatePushResponse {
            activation: Some(present::activation(&settled.saga)),
            from: issued.file_from,
            to: issued.to,
            segments: issued.segments,
            update: issued.update,
        }))
    }

    async fn get_pending_update(
        &self,
        request: Request<GetPendingUpdateRequest>,
    ) -> Result<Response<GetPendingUpdateResponse>, Status> {
        let request = request.into_inner();
        let (firm, serial) = (edge::firm(request.firm_code)?, edge::serial(&request.serial)?);
        let pending = self.0.runner.peers().pending_update(firm, serial).await.map_err(status)?;
        Ok(Response::new(GetPendingUpdateResponse {
            update: pending.update,
            from: pending.from,
            to: pending.to,
            segments: pending.segments,
        }))
    }

    async fn withdraw_license(
        &self,
        request: Request<WithdrawLicenseRequest>,
    ) -> Result<Response<WithdrawLicenseResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = request.into_inner();
        let request_id = edge::request_id(&request.request_id)?;
        let license: LicenseId = edge::id(&request.license_id)?;
        let reason = edge::reason(&request.reason)?;
        let body_hash = edge::hash(&[b"withdraw", license.to_string().as_bytes(), reason.as_bytes()]);
        let mut saga = self.fresh(Kind::Withdraw, caller, request_id, body_hash);
        saga.withdrawn = vec![license];
        saga.withdrawn_for = reason;
        let settled = self.0.carry_out(saga).await.map_err(status)?;
        if settled.saga.state == State::Refused {
            return Err(status(refusal(&settled.saga).into()));
        }
        // Asked again, and not remembered: what a repeat wants to know is where the license stands now.
        let now = self.0.runner.peers().begin_withdrawal(&settled.saga, None).await.map_err(status)?;
        let state = if now.done { "withdrawn" } else { "returning" };
        let mut serials: Vec<String> = now.licenses.into_iter().map(|part| part.serial).collect();
        serials.sort_unstable();
        serials.dedup();
        Ok(Response::new(WithdrawLicenseResponse { license_id: license.to_string(), state: state.to_owned(), serials }))
    }

    async fn retry_activation(
        &self,
        _: Request<lictor_api::activation::v1::RetryActivationRequest>,
    ) -> Result<Response<lictor_api::activation::v1::RetryActivationResponse>, Status> {
        Err(Status::unimplemented("RetryActivation is not served yet"))
    }

    async fn list_activations(
        &self,
        _: Request<lictor_api::activation::v1::ListActivationsRequest>,
    ) -> Result<Response<lictor_api::activation::v1::ListActivationsResponse>, Status> {
        Err(Status::unimplemented("ListActivations is not served yet"))
    }

    async fn transfer_license(
        &self,
        _: Request<lictor_api::activation::v1::TransferLicenseRequest>,
    ) -> Result<Response<lictor_api::activation::v1::TransferLicenseResponse>, Status> {
        Err(Status::unimplemented("TransferLicense is not served yet"))
    }

    async fn replace_container(
        &self,
        _: Request<lictor_api::activation::v1::ReplaceContainerRequest>,
    ) -> Result<Response<lictor_api::activation::v1::ReplaceContainerResponse>, Status> {
        Err(Status::unimplemented("ReplaceContainer is not served yet"))
    }

    async fn rebase_container(
        &self,
        _: Request<lictor_api::activation::v1::RebaseContainerRequest>,
    ) -> Result<Response<lictor_api::activation::v1::RebaseContainerResponse>, Status> {
        Err(Status::unimplemented("RebaseContainer is not served yet"))
    }
}

/// A request to push.
struct Push {
    caller: String,
    request_id: String,
    firm: u32,
    serial: String,
    ticket: Option<TicketCode>,
    withdrawn: Vec<LicenseId>,
}

impl Counter {
    fn fresh(&self, kind: Kind, caller: String, request_id: String, body_hash: [u8; 32]) -> Saga {
        Saga {
            id: self.0.fresh_id(),
            kind,
            state: State::Requested,
            firm: 0,
            caller,
            request_id,
            body_hash,
            ticket: None,
            ticket_masked: String::new(),
            wanted: Vec::new(),
            withdrawn: Vec::new(),
            withdrawn_for: String::new(),
            container: None,
            licenses: Vec::new(),
            from: 0,
            to: 0,
            problem: None,
            proven: false,
            attempts: 0,
            traceparent: lictor_telemetry::current_traceparent(),
            created_at: self.0.now(),
        }
    }

    /// The saga of a push. Everything that can be known to be wrong is refused before it is begun.
    async fn push(&self, wish: Push) -> Result<Saga, Failure> {
        let licenses: Vec<String> = wish.withdrawn.iter().map(ToString::to_string).collect();
        let body_hash = edge::hash(&[
            b"push",
            &wish.firm.to_be_bytes(),
            wish.serial.as_bytes(),
            &wish.ticket.as_ref().map_or_else(Vec::new, |code| code.hash().to_vec()),
            licenses.join(",").as_bytes(),
        ]);
        let mut saga = self.fresh(Kind::Push, wish.caller, wish.request_id, body_hash);
        saga.firm = wish.firm;
        saga.withdrawn = wish.withdrawn;
        if let Some(before) = self.0.runner.store().by_request(&saga.caller, &saga.request_id).await? {
            // What was found out at the first time holds; the store compares the request itself.
            return Ok(Saga { id: saga.id, body_hash, ..before });
        }
        saga.container = Some(self.container(wish.firm, wish.serial, wish.ticket.is_some()).await?);
        if let Some(code) = &wish.ticket {
            saga.ticket = Some(self.ticket_of(wish.firm, code).await?);
            saga.ticket_masked = code.masked();
        }
        Ok(saga)
    }

    async fn container(&self, firm: u32, serial: String, receives: bool) -> Result<Container, Failure> {
        let found = self.0.runner.peers().container(firm, serial.clone()).await?.container.ok_or_else(|| {
            Failure::refused(ErrorCode::NotFound, format!("there is no container {serial}"), "list the containers")
        })?;
        if receives && !found.suspicion.is_empty() {
            return Err(Failure::refused(
                ErrorCode::ContainerSuspected,
                format!("the container {} is under suspicion: {}", found.serial, found.suspicion.join(", ")),
                "let support look at it; licenses can still be withdrawn from it",
            ));
        }
        let kind = edge::kind(found.kind())?;
        Ok(Container { id: found.container_id, serial: found.serial, kind: Some(kind) })
    }

    async fn ticket_of(&self, firm: u32, code: &TicketCode) -> Result<TicketId, Failure> {
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
