//! PushService: what the vendor's staff and back office start themselves.

use lictor_api::activation::v1::{
    CreatePushRequest, CreatePushResponse, GetPendingUpdateRequest, GetPendingUpdateResponse, ListActivationsRequest,
    ListActivationsResponse, RebaseContainerRequest, RebaseContainerResponse, ReplaceContainerRequest,
    ReplaceContainerResponse, RetryActivationRequest, RetryActivationResponse, TransferLicenseRequest,
    TransferLicenseResponse, WithdrawLicenseRequest, WithdrawLicenseResponse, push_service_server::PushService,
};
use tonic::{Request, Response, Status};

use super::{Counter, edge, status};

#[tonic::async_trait]
impl PushService for Counter {
    async fn create_push(&self, request: Request<CreatePushRequest>) -> Result<Response<CreatePushResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        self.pushed(caller, request.into_inner()).await.map(Response::new)
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

    async fn retry_activation(
        &self,
        request: Request<RetryActivationRequest>,
    ) -> Result<Response<RetryActivationResponse>, Status> {
        self.retried(request.into_inner()).await.map(Response::new)
    }

    async fn list_activations(
        &self,
        request: Request<ListActivationsRequest>,
    ) -> Result<Response<ListActivationsResponse>, Status> {
        self.listed(request.into_inner()).await.map(Response::new)
    }

    async fn withdraw_license(
        &self,
        request: Request<WithdrawLicenseRequest>,
    ) -> Result<Response<WithdrawLicenseResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        self.withdrawn(caller, request.into_inner()).await.map(Response::new)
    }

    async fn transfer_license(
        &self,
        request: Request<TransferLicenseRequest>,
    ) -> Result<Response<TransferLicenseResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        self.transferred_by_staff(caller, request.into_inner()).await.map(Response::new)
    }

    async fn replace_container(
        &self,
        request: Request<ReplaceContainerRequest>,
    ) -> Result<Response<ReplaceContainerResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let address = self.address(&request);
        let (activation, update) = self.replaced(address, Some(caller), request.into_inner()).await?;
        Ok(Response::new(ReplaceContainerResponse { activation: Some(activation), update }))
    }

    async fn rebase_container(
        &self,
        request: Request<RebaseContainerRequest>,
    ) -> Result<Response<RebaseContainerResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let (activation, update) = self.rebased(Some(caller), request.into_inner()).await?;
        Ok(Response::new(RebaseContainerResponse { activation: Some(activation), update }))
    }
}
