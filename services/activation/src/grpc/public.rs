//! ActivationService: what customers reach. A ticket is the secret that lets them in, files prove themselves by their
//! signatures, and what needs neither is counted per address.

use lictor_api::activation::v1::{
    ActivateRequest, ActivateResponse, CreateChallengeRequest, CreateChallengeResponse, GetActivationRequest,
    GetActivationResponse, GetTransferRequest, GetTransferResponse, InspectTicketRequest, InspectTicketResponse,
    PullUpdateRequest, PullUpdateResponse, RebaseContainerRequest, RebaseContainerResponse, ReplaceContainerRequest,
    ReplaceContainerResponse, ReturnLicensesRequest, ReturnLicensesResponse, SignTimeRequest, SignTimeResponse,
    SubmitContextRequest, SubmitContextResponse, TransferLicenseRequest, TransferLicenseResponse,
    activation_service_server::ActivationService,
};
use lictor_licensing::{error::ErrorCode, id::ActivationId};
use tonic::{Request, Response, Status};

use super::{Counter, edge, present, status};
use crate::failure::Failure;

#[tonic::async_trait]
impl ActivationService for Counter {
    async fn inspect_ticket(
        &self,
        request: Request<InspectTicketRequest>,
    ) -> Result<Response<InspectTicketResponse>, Status> {
        let address = self.address(&request);
        let code = edge::ticket(&request.get_ref().ticket)?;
        self.inspected(address, &code).await.map(Response::new).map_err(status)
    }

    async fn activate(&self, request: Request<ActivateRequest>) -> Result<Response<ActivateResponse>, Status> {
        let address = self.address(&request);
        let (activation, update) = self.activated(address, request.into_inner()).await?;
        Ok(Response::new(ActivateResponse { activation: Some(activation), update }))
    }

    async fn submit_context(
        &self,
        request: Request<SubmitContextRequest>,
    ) -> Result<Response<SubmitContextResponse>, Status> {
        let address = self.address(&request);
        self.submitted(address, request.into_inner().context).await.map(Response::new)
    }

    async fn return_licenses(
        &self,
        request: Request<ReturnLicensesRequest>,
    ) -> Result<Response<ReturnLicensesResponse>, Status> {
        let address = self.address(&request);
        let (activation, update) = self.given_back(address, request.into_inner()).await?;
        Ok(Response::new(ReturnLicensesResponse { activation: Some(activation), update }))
    }

    async fn transfer_license(
        &self,
        request: Request<TransferLicenseRequest>,
    ) -> Result<Response<TransferLicenseResponse>, Status> {
        let address = self.address(&request);
        self.transferred(address, request.into_inner()).await.map(Response::new)
    }

    async fn get_transfer(
        &self,
        request: Request<GetTransferRequest>,
    ) -> Result<Response<GetTransferResponse>, Status> {
        let id = edge::id(&request.get_ref().transfer_id)?;
        let transfer = self.transfer(id).await.map_err(status)?;
        Ok(Response::new(GetTransferResponse { transfer: Some(transfer) }))
    }

    async fn replace_container(
        &self,
        request: Request<ReplaceContainerRequest>,
    ) -> Result<Response<ReplaceContainerResponse>, Status> {
        let address = self.address(&request);
        let (activation, update) = self.replaced(address, None, request.into_inner()).await?;
        Ok(Response::new(ReplaceContainerResponse { activation: Some(activation), update }))
    }

    async fn create_challenge(
        &self,
        request: Request<CreateChallengeRequest>,
    ) -> Result<Response<CreateChallengeResponse>, Status> {
        let address = self.address(&request);
        self.challenged(address, request.get_ref().firm_code).await.map(Response::new)
    }

    async fn pull_update(&self, request: Request<PullUpdateRequest>) -> Result<Response<PullUpdateResponse>, Status> {
        let address = self.address(&request);
        self.pulled(address, request.into_inner().context).await.map(Response::new)
    }

    async fn rebase_container(
        &self,
        request: Request<RebaseContainerRequest>,
    ) -> Result<Response<RebaseContainerResponse>, Status> {
        let address = self.address(&request);
        let request = request.into_inner();
        self.visit(address, request.context.len()).await?;
        let (activation, update) = self.rebased(None, request).await?;
        Ok(Response::new(RebaseContainerResponse { activation: Some(activation), update }))
    }

    async fn sign_time(&self, request: Request<SignTimeRequest>) -> Result<Response<SignTimeResponse>, Status> {
        let address = self.address(&request);
        self.timed(address, request.into_inner()).await.map(Response::new)
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
}
