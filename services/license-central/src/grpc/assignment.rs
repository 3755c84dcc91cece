//! AssignmentService: which customer a container belongs to.

use lictor_api::{
    central::v1::{
        AssignContainersRequest, AssignContainersResponse, Assignment, ListAssignmentsRequest, ListAssignmentsResponse,
        assignment_service_server::AssignmentService,
    },
    convert::timestamp,
};
use lictor_licensing::{error::ErrorCode, error::Problem, id::CustomerId};
use lictor_storage::{StorageError, command::Command};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Counter, edge};
use crate::{
    domain::{order::CustomerName, page::Page},
    events::Moment,
    failure::Failure,
    ids,
    store::{Assignee, Assigning, AssignmentRow, MAX_SERIALS},
};

#[tonic::async_trait]
impl AssignmentService for Counter {
    async fn assign_containers(
        &self,
        request: Request<AssignContainersRequest>,
    ) -> Result<Response<AssignContainersResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = request.into_inner();
        let assigning = assigning(&request)?;
        let body = request.encode_to_vec();
        let command = Command {
            caller: &caller,
            method: "AssignContainers",
            request_id: edge::request_id(&request.request_id)?,
            body: &body,
        };
        let moment = Moment::of_call(self.0.now());
        let events = ids::events(assigning.serials.len(), moment.now);
        let fresh = ids::customer(moment.now);
        let told = |rows: &[AssignmentRow]| {
            AssignContainersResponse { assignments: rows.iter().map(shown).collect() }.encode_to_vec()
        };
        let answer = self.0.store.assign(&assigning, fresh, &events, &command, &moment, told).await?;
        let answer = AssignContainersResponse::decode(&*answer)
            .map_err(|error| edge::broken(&StorageError::inconsistent("command.answer", error.to_string())))?;
        Ok(Response::new(answer))
    }

    async fn list_assignments(
        &self,
        request: Request<ListAssignmentsRequest>,
    ) -> Result<Response<ListAssignmentsResponse>, Status> {
        let request = request.into_inner();
        let firm = edge::firm(request.firm_code)?;
        let (size, token) = request.page.as_ref().map_or((0, ""), |page| (page.size, page.token.as_str()));
        let page = Page::read_named(size, token).map_err(Failure::from)?;
        let customer = edge::line("a customer's id or name", request.customer.trim(), 128)?;
        let found = self.0.store.assignments(firm, &customer, &page).await;
        let mut rows = found.map_err(|error| edge::broken(&error))?;
        let next_page_token = edge::cut(&mut rows, &page, |row| row.serial.clone());
        Ok(Response::new(ListAssignmentsResponse { assignments: rows.iter().map(shown).collect(), next_page_token }))
    }
}

fn assigning(request: &AssignContainersRequest) -> Result<Assigning, Status> {
    let firm = edge::firm(request.firm_code)?;
    if request.serials.len() > MAX_SERIALS {
        return Err(Failure::refused(
            ErrorCode::LimitExceeded,
            format!("at most {MAX_SERIALS} containers are assigned at once"),
            "use several requests",
        )
        .into());
    }
    let mut serials = request.serials.iter().map(|serial| self::serial(serial)).collect::<Result<Vec<_>, _>>()?;
    serials.sort_unstable();
    serials.dedup();
    if serials.is_empty() {
        return Err(edge::invalid("no container is named", "give the serials of the containers"));
    }
    let customer = assignee(&request.customer).map_err(Failure::from)?;
    Ok(Assigning { firm, customer, serials, reassign: request.reassign })
}

fn serial(text: &str) -> Result<String, Status> {
    let text = edge::line("a serial", text.trim(), 64)?;
    if text.is_empty() {
        Err(edge::invalid("a serial is empty", "give the serials of the containers"))
    } else {
        Ok(text)
    }
}

/// An id names a customer that there must be; anything else is a name.
fn assignee(text: &str) -> Result<Assignee, Problem> {
    if text.trim().starts_with(CustomerId::PREFIX) {
        let id = text.trim().parse().map_err(|error: lictor_licensing::id::IdError| {
            Problem::new(ErrorCode::InvalidArgument, error.to_string(), "give the id as it was shown, or the name")
        })?;
        return Ok(Assignee::Known(id));
    }
    CustomerName::new(text).map(Assignee::Named)
}

fn shown(row: &AssignmentRow) -> Assignment {
    Assignment {
        serial: row.serial.clone(),
        customer: row.customer.clone(),
        assigned_at: Some(timestamp(row.assigned_at)),
    }
}
