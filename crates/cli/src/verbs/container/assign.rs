//! Which container belongs to which customer.

use clap::Args;
use lictor_api::central::v1::assignment_service_client::AssignmentServiceClient;
use lictor_api::central::v1::{AssignContainersRequest, Assignment, ListAssignmentsRequest};
use serde_json::{Value, json};

use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::request::{self, RequestId};
use crate::show;
use crate::verbs::page;

/// Most containers of one call to the service.
const BATCH: usize = 1_000;

#[derive(Debug, Args)]
pub(crate) struct Assign {
    /// Serials of the containers
    #[arg(value_name = "SERIAL", required = true)]
    serials: Vec<String>,

    /// Name or id of the customer; a new name makes a new customer
    #[arg(long, value_name = "CUSTOMER")]
    customer: String,

    /// Also take them from the customer that they belong to now
    #[arg(long)]
    reassign: bool,

    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct Assignments {
    /// Only those of this customer, by name or id
    #[arg(long, value_name = "CUSTOMER", default_value = "", hide_default_value = true)]
    customer: String,
}

pub(super) async fn assign(verb: Assign, environment: &Environment) -> Outcome {
    let name = verb.request_id.named(environment)?;
    let assigned = assign_named(&name, &verb.customer, &verb.serials, verb.reassign, environment).await?;
    tell(&assigned, "nothing was assigned", environment);
    Ok(())
}

/// Assigns any number of containers, a batch at a time.
pub(crate) async fn assign_all(
    customer: &str,
    serials: &[String],
    reassign: bool,
    environment: &Environment,
) -> Outcome<Vec<Assignment>> {
    assign_named(&request::fresh()?, customer, serials, reassign, environment).await
}

async fn assign_named(
    request_id: &str,
    customer: &str,
    serials: &[String],
    reassign: bool,
    environment: &Environment,
) -> Outcome<Vec<Assignment>> {
    let firm_code = environment.firm_code()?;
    let link = environment.link(Service::Central)?;
    let mut client = AssignmentServiceClient::new(link.channel());
    let mut assigned = Vec::new();
    for (number, batch) in serials.chunks(BATCH).enumerate() {
        let request = AssignContainersRequest {
            request_id: if number == 0 { request_id.to_owned() } else { format!("{request_id}-{number}") },
            firm_code,
            customer: customer.to_owned(),
            serials: batch.to_vec(),
            reassign,
        };
        let answer = client.assign_containers(request).await.map_err(|status| link.failed(status))?.into_inner();
        assigned.extend(answer.assignments);
    }
    Ok(assigned)
}

pub(super) async fn list(verb: Assignments, environment: &Environment) -> Outcome {
    let link = environment.link(Service::Central)?;
    let mut client = AssignmentServiceClient::new(link.channel());
    let mut request = ListAssignmentsRequest {
        firm_code: environment.firm_code()?,
        customer: verb.customer,
        page: page(String::new()),
    };
    let mut all = Vec::new();
    loop {
        let answer = client.list_assignments(request.clone()).await.map_err(|status| link.failed(status))?.into_inner();
        all.extend(answer.assignments);
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page = page(answer.next_page_token);
    }
    tell(&all, "no container is assigned", environment);
    Ok(())
}

fn tell(assignments: &[Assignment], nothing: &str, environment: &Environment) {
    let objects: Vec<Value> = assignments
        .iter()
        .map(|assignment| {
            json!({
                "serial": assignment.serial,
                "customer": assignment.customer,
                "assigned_at": show::time(assignment.assigned_at.as_ref()),
            })
        })
        .collect();
    let rows = assignments
        .iter()
        .map(|assignment| {
            vec![
                assignment.serial.clone(),
                assignment.customer.clone(),
                show::time_word(assignment.assigned_at.as_ref()),
            ]
        })
        .collect();
    environment.out.many(&objects, &["container", "customer", "since"], rows, nothing);
}
