//! LicenseService: what was sold and where it lies.

use lictor_api::{
    central::v1::{
        GetLicenseRequest, GetLicenseResponse, ListLicensesRequest, ListLicensesResponse,
        license_service_server::LicenseService,
    },
    types::v1::LicenseState,
};
use lictor_licensing::id::LicenseId;
use tonic::{Request, Response, Status};

use super::{Counter, edge};
use crate::{present, store::LicenseFilter};

#[tonic::async_trait]
impl LicenseService for Counter {
    async fn list_licenses(
        &self,
        request: Request<ListLicensesRequest>,
    ) -> Result<Response<ListLicensesResponse>, Status> {
        let request = request.into_inner();
        let firm = edge::firm(request.firm_code)?;
        let page = edge::page(request.page.as_ref(), LicenseId::PREFIX)?;
        let state = LicenseState::try_from(request.state)
            .map_err(|_| edge::invalid("there is no such state of a license", "use one of the named states"))?;
        let mut filter = LicenseFilter { state: present::state_of_wire(state), ..LicenseFilter::default() };
        if !request.serial.is_empty() {
            filter.serial = Some(edge::line("a serial", &request.serial, 64)?);
        }
        if !request.ticket.is_empty() {
            let code = edge::ticket(&request.ticket)?;
            let found = self.0.store.ticket_by_hash(code.hash()).await.map_err(|error| edge::broken(&error))?;
            filter.ticket = Some(found.ok_or_else(edge::ticket_unknown)?);
        }
        let mut rows = self.0.store.licenses(firm, &filter, &page).await.map_err(|error| edge::broken(&error))?;
        let next_page_token = edge::cut(&mut rows, &page, |row| row.id.to_string());
        let licenses = rows.iter().map(present::license).collect();
        Ok(Response::new(ListLicensesResponse { licenses, next_page_token }))
    }

    async fn get_license(&self, request: Request<GetLicenseRequest>) -> Result<Response<GetLicenseResponse>, Status> {
        let id: LicenseId = edge::id(&request.get_ref().license_id)?;
        let found = self.0.store.license(id).await.map_err(|error| edge::broken(&error))?;
        let row = found.ok_or_else(|| edge::not_found(format!("there is no license {id}"), "list the licenses"))?;
        Ok(Response::new(GetLicenseResponse { license: Some(present::license(&row)) }))
    }

    async fn get_license_history(
        &self,
        _: Request<lictor_api::central::v1::GetLicenseHistoryRequest>,
    ) -> Result<Response<lictor_api::central::v1::GetLicenseHistoryResponse>, Status> {
        Err(Status::unimplemented("GetLicenseHistory is not served yet"))
    }

    async fn list_transfers(
        &self,
        _: Request<lictor_api::central::v1::ListTransfersRequest>,
    ) -> Result<Response<lictor_api::central::v1::ListTransfersResponse>, Status> {
        Err(Status::unimplemented("ListTransfers is not served yet"))
    }

    async fn cancel_renewal(
        &self,
        _: Request<lictor_api::central::v1::CancelRenewalRequest>,
    ) -> Result<Response<lictor_api::central::v1::CancelRenewalResponse>, Status> {
        Err(Status::unimplemented("CancelRenewal is not served yet"))
    }
}
