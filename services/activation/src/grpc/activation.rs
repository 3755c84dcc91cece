//! ActivationService: what customers reach. A ticket is the secret that lets them in, and guessing it is limited.

use lictor_api::{
    activation::v1::{
        ActivateRequest, ActivateResponse, GetActivationRequest, GetActivationResponse, InspectTicketRequest,
        InspectTicketResponse, SubmitContextRequest, SubmitContextResponse, TicketLicense,
        activation_service_server::ActivationService,
    },
    central::v1::ResolveTicketResponse,
    types::v1::{License, LicenseState},
    update::v1::{InspectContextResponse, TakeContextResponse},
};
use lictor_licensing::{
    TicketCode,
    error::{ErrorCode, Problem},
    id::{ActivationId, LicenseId},
};
use tonic::{Request, Response, Status};

use super::{Counter, edge, present, status};
use crate::{
    domain::{
        saga::{Container, Saga},
        state::{Kind, State},
    },
    failure::Failure,
    saga::Settled,
};

/// One text for a ticket that does not exist and for one of another vendor: the answer tells nothing about either.
fn unknown_ticket() -> Failure {
    Failure::refused(
        ErrorCode::TicketUnknown,
        "there is no such ticket for the vendor of this request",
        "check the ticket for typing errors, and that the context is for the vendor who sold it",
    )
}

#[tonic::async_trait]
impl ActivationService for Counter {
    async fn inspect_ticket(
        &self,
        request: Request<InspectTicketRequest>,
    ) -> Result<Response<InspectTicketResponse>, Status> {
        let address = edge::address(&request);
        let code = edge::ticket(&request.get_ref().ticket)?;
        let ticket = self.resolve(address, &code, None).await.map_err(status)?;
        let licenses = ticket.licenses.into_iter().map(|license| TicketLicense {
            state: present::license_state(license.state).to_owned(),
            license_id: license.license_id,
            text: license.item.clone(),
            item: license.item,
            product_code: license.product_code,
            quantity: license.quantity,
        });
        Ok(Response::new(InspectTicketResponse { firm_code: ticket.firm_code, licenses: licenses.collect() }))
    }

    async fn activate(&self, request: Request<ActivateRequest>) -> Result<Response<ActivateResponse>, Status> {
        let address = edge::address(&request);
        let request = request.into_inner();
        let wish = Wish {
            code: edge::ticket(&request.ticket)?,
            request_id: edge::request_id(&request.request_id)?,
            licenses: edge::ids(&request.license_ids)?,
            context: edge::file(request.context)?,
        };
        let settled = self.activated(address, wish).await.map_err(status)?;
        let issued = self.0.runner.update_of(&settled.saga, settled.issued).await.map_err(status)?;
        Ok(Response::new(ActivateResponse {
            activation: Some(present::activation(&settled.saga)),
            update: issued.update,
        }))
    }

    async fn submit_context(
        &self,
        request: Request<SubmitContextRequest>,
    ) -> Result<Response<SubmitContextResponse>, Status> {
        let context = edge::file(request.into_inner().context)?;
        let taken = self.0.runner.peers().take_context(context).await.map_err(status)?;
        Ok(Response::new(SubmitContextResponse {
            serial: taken.serial,
            firm_code: taken.firm_code,
            counter: taken.counter,
            confirmed: taken.confirmed,
            verdict: taken.verdict,
            pending: u32::try_from(taken.latest.saturating_sub(taken.confirmed)).unwrap_or(u32::MAX),
        }))
    }

    async fn get_activation(
        &self,
        request: Request<GetActivationRequest>,
    ) -> Result<Response<GetActivationResponse>, Status> {
        let id: ActivationId = edge::id(&request.get_ref().activation_id)?;
        let found = self.0.runner.store().saga(id).await.map_err(|error| status(Failure::from(error)))?;
        let saga = found.ok_or_else(|| {
            status(Failure::refused(ErrorCode::NotFound, "there is no such activation", "check the activation id"))
        })?;
        Ok(Response::new(GetActivationResponse { activation: Some(present::activation(&saga)) }))
    }

    async fn return_licenses(
        &self,
        _: Request<lictor_api::activation::v1::ReturnLicensesRequest>,
    ) -> Result<Response<lictor_api::activation::v1::ReturnLicensesResponse>, Status> {
        Err(Status::unimplemented("ReturnLicenses is not served yet"))
    }

    async fn transfer_license(
        &self,
        _: Request<lictor_api::activation::v1::TransferLicenseRequest>,
    ) -> Result<Response<lictor_api::activation::v1::TransferLicenseResponse>, Status> {
        Err(Status::unimplemented("TransferLicense is not served yet"))
    }

    async fn get_transfer(
        &self,
        _: Request<lictor_api::activation::v1::GetTransferRequest>,
    ) -> Result<Response<lictor_api::activation::v1::GetTransferResponse>, Status> {
        Err(Status::unimplemented("GetTransfer is not served yet"))
    }

    async fn replace_container(
        &self,
        _: Request<lictor_api::activation::v1::ReplaceContainerRequest>,
    ) -> Result<Response<lictor_api::activation::v1::ReplaceContainerResponse>, Status> {
        Err(Status::unimplemented("ReplaceContainer is not served yet"))
    }

    async fn create_challenge(
        &self,
        _: Request<lictor_api::activation::v1::CreateChallengeRequest>,
    ) -> Result<Response<lictor_api::activation::v1::CreateChallengeResponse>, Status> {
        Err(Status::unimplemented("CreateChallenge is not served yet"))
    }

    async fn pull_update(
        &self,
        _: Request<lictor_api::activation::v1::PullUpdateRequest>,
    ) -> Result<Response<lictor_api::activation::v1::PullUpdateResponse>, Status> {
        Err(Status::unimplemented("PullUpdate is not served yet"))
    }

    async fn rebase_container(
        &self,
        _: Request<lictor_api::activation::v1::RebaseContainerRequest>,
    ) -> Result<Response<lictor_api::activation::v1::RebaseContainerResponse>, Status> {
        Err(Status::unimplemented("RebaseContainer is not served yet"))
    }

    async fn sign_time(
        &self,
        _: Request<lictor_api::activation::v1::SignTimeRequest>,
    ) -> Result<Response<lictor_api::activation::v1::SignTimeResponse>, Status> {
        Err(Status::unimplemented("SignTime is not served yet"))
    }
}

/// A request to activate.
struct Wish {
    code: TicketCode,
    request_id: String,
    licenses: Vec<LicenseId>,
    context: Vec<u8>,
}

impl Counter {
    async fn activated(&self, address: std::net::IpAddr, wish: Wish) -> Result<Settled, Failure> {
        let runner = &self.0.runner;
        // The file is judged first: what is wrong with it tells nothing about the ticket.
        let shown = runner.peers().inspect_context(wish.context.clone()).await?;
        let ticket = self.resolve(address, &wish.code, Some(shown.firm_code)).await?;
        let saga = self.saga(&wish, &shown, &ticket)?;
        if let Some(before) = runner.store().by_request(&saga.caller, &saga.request_id).await? {
            before.check_repeat(&saga.body_hash)?;
            return self.0.carry_out(saga).await;
        }
        let taken = runner.peers().take_context(wish.context).await?;
        may_receive(&taken)?;
        if let Some(collected) = self.collected_before(&saga, &ticket).await? {
            return Ok(Settled { saga: collected, issued: None });
        }
        self.0.carry_out(saga).await
    }

    /// What a ticket holds. A wrong one costs a try; one of another firm than wanted counts as wrong.
    async fn resolve(
        &self,
        address: std::net::IpAddr,
        code: &TicketCode,
        firm: Option<u32>,
    ) -> Result<ResolveTicketResponse, Failure> {
        let taken = self.0.guesses.take(address).await.map_err(|too_many| {
            self.0.metrics.tickets_limited.inc();
            Failure::refused(ErrorCode::TooManyRequests, too_many.to_string(), "check the ticket, wait, then try again")
        })?;
        let answer = match self.0.runner.peers().resolve_ticket(code.reveal()).await {
            Ok(ticket) if firm.is_none_or(|firm| firm == ticket.firm_code) => Ok(ticket),
            Ok(_) => Err(unknown_ticket()),
            Err(Failure::Refused(problem)) if problem.code == ErrorCode::TicketUnknown => Err(unknown_ticket()),
            // Not answered at all: nothing was guessed.
            Err(failure) => {
                self.0.guesses.refund(taken).await;
                return Err(failure);
            }
        };
        if answer.is_ok() {
            self.0.guesses.refund(taken).await;
        } else {
            self.0.metrics.tickets_wrong.inc();
        }
        answer
    }

    fn saga(
        &self,
        wish: &Wish,
        shown: &InspectContextResponse,
        ticket: &ResolveTicketResponse,
    ) -> Result<Saga, Failure> {
        let hash = wish.code.hash();
        let secret: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let licenses: Vec<String> = wish.licenses.iter().map(ToString::to_string).collect();
        // The container, not the file: every context of a container has other bytes, and a customer who repeats a
        // request may well have made a new one.
        let body_hash = edge::hash(&[&hash, licenses.join(",").as_bytes(), shown.container_id.as_bytes()]);
        let kind = edge::kind(shown.kind())?;
        Ok(Saga {
            id: self.0.fresh_id(),
            kind: Kind::Activate,
            state: State::Requested,
            firm: ticket.firm_code,
            caller: format!("ticket:{secret}"),
            request_id: wish.request_id.clone(),
            body_hash,
            ticket: Some(ticket_id(ticket)?),
            ticket_masked: wish.code.masked(),
            wanted: wish.licenses.clone(),
            withdrawn: Vec::new(),
            withdrawn_for: String::new(),
            container: Some(Container {
                id: shown.container_id.clone(),
                serial: shown.serial.clone(),
                kind: Some(kind),
            }),
            licenses: Vec::new(),
            from: 0,
            to: 0,
            problem: None,
            proven: false,
            attempts: 0,
            traceparent: lictor_telemetry::current_traceparent(),
            created_at: self.0.now(),
        })
    }

    /// What was asked for lies in this very container already: the activation that put it there, and its file again. So
    /// whoever lost the file, the request's id or the answer finishes by asking once more.
    async fn collected_before(&self, saga: &Saga, ticket: &ResolveTicketResponse) -> Result<Option<Saga>, Failure> {
        let (Some(ticket_id), Some(container)) = (&saga.ticket, &saga.container) else {
            return Ok(None);
        };
        let wanted: Vec<String> = saga.wanted.iter().map(ToString::to_string).collect();
        let mut asked = ticket.licenses.iter().filter(|it| wanted.is_empty() || wanted.contains(&it.license_id));
        if !asked.all(|license| lies_in(license, &container.serial)) {
            return Ok(None);
        }
        Ok(self.0.runner.store().newest_into(*ticket_id, &container.id).await?)
    }
}

/// Whether the license is in this container, or on its way there.
fn lies_in(license: &License, serial: &str) -> bool {
    license.allocations.iter().any(|allocation| {
        allocation.serial == serial && matches!(allocation.state(), LicenseState::Collected | LicenseState::Confirmed)
    })
}

/// The id of a resolved ticket.
pub(super) fn ticket_id(ticket: &ResolveTicketResponse) -> Result<lictor_licensing::id::TicketId, Failure> {
    ticket.ticket_id.parse().map_err(|_| {
        tracing::error!(ticket_id = ticket.ticket_id, "license-central answered with a ticket id that is none");
        Failure::refused(ErrorCode::Internal, "the activation service failed inside", "look into its log")
    })
}

/// Whether licenses may go into a container with this verdict. Looked at before anything is set aside; the issuer has the
/// last word.
fn may_receive(taken: &TakeContextResponse) -> Result<(), Problem> {
    let serial = &taken.serial;
    match taken.verdict.as_str() {
        "ok" | "old" => Ok(()),
        "unknown-container" => Err(Problem::new(
            ErrorCode::ContainerSuspected,
            format!("the container {serial} holds updates that this vendor knows nothing of"),
            "ask the vendor's support",
        )),
        verdict => Err(Problem::new(
            ErrorCode::ContainerSuspected,
            format!("the container {serial} is under suspicion ({verdict}) and gets no licenses"),
            "ask the vendor's support",
        )),
    }
}
