//! LicenseService: what was sold and where it lies.

use lictor_api::{
    central::v1::{
        CancelRenewalRequest, CancelRenewalResponse, GetLicenseHistoryRequest, GetLicenseHistoryResponse,
        GetLicenseRequest, GetLicenseResponse, HistoryEntry, ListLicensesRequest, ListLicensesResponse,
        ListTransfersRequest, ListTransfersResponse, Usable, license_service_server::LicenseService,
    },
    convert::{from_timestamp, timestamp},
    types::v1::{self as wire, LicenseState},
};
use lictor_licensing::{
    FirmCode,
    error::ErrorCode,
    id::{EventId, LicenseId, TransferId},
};
use lictor_storage::{StorageError, command::Command};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Counter, edge};
use crate::{
    domain::{
        history::{self, Fact},
        license::License,
    },
    events::Moment,
    failure::Failure,
    ids, present,
    store::{HistoryOf, LicenseFilter, MAX_FACTS},
};

/// Most entries of an answer: the newest ones.
const SHOWN_FACTS: usize = 2_000;

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
        let mut licenses: Vec<_> = rows.iter().map(present::license).collect();
        self.mark_blocked(firm, &mut licenses).await?;
        Ok(Response::new(ListLicensesResponse { licenses, next_page_token }))
    }

    async fn get_license(&self, request: Request<GetLicenseRequest>) -> Result<Response<GetLicenseResponse>, Status> {
        let id: LicenseId = edge::id(&request.get_ref().license_id)?;
        let found = self.0.store.license(id).await.map_err(|error| edge::broken(&error))?;
        let row = found.ok_or_else(|| edge::not_found(format!("there is no license {id}"), "list the licenses"))?;
        let mut license = present::license(&row);
        self.mark_blocked(row.firm, std::slice::from_mut(&mut license)).await?;
        Ok(Response::new(GetLicenseResponse { license: Some(license) }))
    }

    async fn get_license_history(
        &self,
        request: Request<GetLicenseHistoryRequest>,
    ) -> Result<Response<GetLicenseHistoryResponse>, Status> {
        let request = request.into_inner();
        let of = self.history_of(&request).await?;
        let far = || edge::invalid("this moment is none of the years 0 to 9999", "give another one");
        let at = request.at.as_ref().map(|at| from_timestamp(at).ok_or_else(far)).transpose()?;
        let facts = self.0.store.history(&of).await.map_err(|error| edge::broken(&error))?;
        if facts.len() > MAX_FACTS as usize {
            let refused = Failure::refused(
                ErrorCode::LimitExceeded,
                format!("this history has more than {MAX_FACTS} entries"),
                "ask for the history of a single license",
            );
            return Err(refused.into());
        }
        let usable = at.map(|at| history::usable(&facts, at)).unwrap_or_default();
        // What was usable follows from all of them; people read the newest.
        let left_out = facts.len().saturating_sub(SHOWN_FACTS);
        Ok(Response::new(GetLicenseHistoryResponse {
            entries: facts.into_iter().skip(left_out).map(shown_fact).collect(),
            usable: usable.into_iter().map(shown_usable).collect(),
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
        }))
    }

    async fn list_transfers(
        &self,
        request: Request<ListTransfersRequest>,
    ) -> Result<Response<ListTransfersResponse>, Status> {
        let request = request.into_inner();
        let firm = edge::firm(request.firm_code)?;
        let page = edge::page(request.page.as_ref(), TransferId::PREFIX)?;
        let license = (!request.license_id.is_empty()).then(|| edge::id(&request.license_id)).transpose()?;
        let found = self.0.store.transfers(firm, license, &page).await;
        let mut rows = found.map_err(|error| edge::broken(&error))?;
        let next_page_token = edge::cut(&mut rows, &page, |row| row.id.to_string());
        Ok(Response::new(ListTransfersResponse {
            transfers: rows.iter().map(present::transfer).collect(),
            next_page_token,
        }))
    }

    async fn cancel_renewal(
        &self,
        request: Request<CancelRenewalRequest>,
    ) -> Result<Response<CancelRenewalResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = request.into_inner();
        let id: LicenseId = edge::id(&request.license_id)?;
        let body = request.encode_to_vec();
        let command = Command {
            caller: &caller,
            method: "CancelRenewal",
            request_id: edge::request_id(&request.request_id)?,
            body: &body,
        };
        let moment = Moment::of_call(self.0.now());
        let event = EventId::new(moment.now, ids::random());
        let told =
            |license: &License| CancelRenewalResponse { license: Some(present::license(license)) }.encode_to_vec();
        let answer = self.0.store.cancel_renewal(id, request.resume, event, &command, &moment, told).await?;
        let answer = CancelRenewalResponse::decode(&*answer)
            .map_err(|error| edge::broken(&StorageError::inconsistent("command.answer", error.to_string())))?;
        Ok(Response::new(answer))
    }
}

impl Counter {
    /// Says of each part whether its container is blocked.
    async fn mark_blocked(&self, firm: FirmCode, licenses: &mut [wire::License]) -> Result<(), Status> {
        let parts = || licenses.iter().flat_map(|license| &license.allocations);
        let places: std::collections::BTreeSet<&str> = parts().map(|part| part.container_id.as_str()).collect();
        let places: Vec<&str> = places.into_iter().collect();
        let blocked = self.0.store.blocked_among(firm, &places).await.map_err(|error| edge::broken(&error))?;
        for part in licenses.iter_mut().flat_map(|license| &mut license.allocations) {
            part.blocked = blocked.contains(&part.container_id);
        }
        Ok(())
    }

    async fn history_of(&self, request: &GetLicenseHistoryRequest) -> Result<HistoryOf, Status> {
        if request.license_id.is_empty() == request.serial.is_empty() {
            return Err(edge::invalid("a history is that of a license or of a container", "name one of the two"));
        }
        if request.license_id.is_empty() {
            let serial = edge::line("a serial", &request.serial, 64)?;
            return Ok(HistoryOf::Container(edge::firm(request.firm_code)?, serial));
        }
        let id: LicenseId = edge::id(&request.license_id)?;
        let found = self.0.store.license(id).await.map_err(|error| edge::broken(&error))?;
        found.ok_or_else(|| edge::not_found(format!("there is no license {id}"), "list the licenses"))?;
        Ok(HistoryOf::License(id))
    }
}

fn shown_fact(fact: Fact) -> HistoryEntry {
    HistoryEntry {
        time: Some(timestamp(fact.at)),
        what: fact.what.name().to_owned(),
        license_id: fact.license.to_string(),
        item: fact.item,
        serial: fact.serial,
        quantity: fact.quantity,
        activation_id: fact.activation.map(|id| id.to_string()).unwrap_or_default(),
        counter: fact.counter,
        expires_at: fact.expires_at.map(timestamp),
        why: fact.why,
    }
}

fn shown_usable(row: history::Usable) -> Usable {
    Usable {
        license_id: row.license.to_string(),
        item: row.item,
        product_code: row.product_code,
        serial: row.serial,
        quantity: row.quantity,
        certainty: row.certainty.name().to_owned(),
        expires_at: row.expires_at.map(timestamp),
        why: row.why,
    }
}
