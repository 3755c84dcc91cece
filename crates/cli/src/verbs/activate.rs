//! `lictor activate`: a ticket's licenses into a container, in one go or by files.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lictor_api::activation::v1::activation_service_client::ActivationServiceClient;
use lictor_api::activation::v1::{
    ActivateRequest, ActivateResponse, Activation, ActivationState, GetActivationRequest, InspectTicketRequest,
    InspectTicketResponse, SubmitContextRequest,
};
use lictor_api::server::v1::container_service_client::ContainerServiceClient as ServerClient;
use lictor_api::server::v1::{CreateContextRequest, ImportUpdateRequest, ListContainersRequest};
use lictor_licensing::error::ErrorCode;
use lictor_licensing::ticket::TicketCode;
use serde_json::{Value, json};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::connect::{Caller, Link, MAX_ANSWER_BYTES, ServerLink, Service};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::resume::{Journal, derived_request_id};
use crate::{args, files, output, show};

/// Longest wait for the word that the receipt was counted. The activation is done also without it.
const CONFIRM_TIME: Duration = Duration::from_secs(5);
const CONFIRM_STEP: Duration = Duration::from_millis(50);

/// Put a ticket's licenses into a container
///
/// Online: takes the container's context from the licence server, activates, imports the update and sends the receipt, all
/// in one go. Interrupted anywhere, the same command finishes the same activation; nothing is spent twice.
///
/// With --context: the vendor's half of the offline way. Reads a context file and writes the update file.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor activate 7Q2VK-0M8RT-5XJ4E-9HCPA-63WZD
  echo \"$TICKET\" | lictor activate -

By files, where the licence server has no way to the vendor:
  lictor server context --firm-code 6000010 -o box.rac          at the licence server
  lictor activate TICKET --context box.rac -o box.rau           anywhere with a way to the vendor
  lictor server import box.rau -o box-receipt.rac               at the licence server again
  lictor push context box-receipt.rac                           at the vendor; may be left out")]
pub(crate) struct Activate {
    /// The ticket, five groups of five characters; - reads it from stdin
    #[arg(value_name = "TICKET")]
    ticket: String,

    /// Only this license of the ticket; may be given more than once [default: all that are available]
    #[arg(long = "license", value_name = "LICENSE")]
    licenses: Vec<String>,

    /// Container, when the licence server has several
    #[arg(long, value_name = "SERIAL", conflicts_with = "context")]
    serial: Option<String>,

    /// Context file of the container: activate by files
    #[arg(long, value_name = "F.rac", requires = "output")]
    context: Option<PathBuf>,

    /// Update file to write
    #[arg(short, long, value_name = "F.rau", requires = "context")]
    output: Option<PathBuf>,

    /// Replace the update file if it exists and differs
    #[arg(long, requires = "context")]
    force: bool,

    /// Folder for the notes that let an interrupted activation go on [default: beside client.toml, else
    /// ~/.local/state/lictor]
    #[arg(long, value_name = "DIR", env = "LICTOR_STATE", hide_env_values = true)]
    state: Option<PathBuf>,
}

type Client = ActivationServiceClient<InterceptedService<Channel, Caller>>;

impl Activate {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let ticket = args::ticket(&self.ticket)?;
        match (&self.context, &self.output) {
            (Some(context), Some(target)) => {
                files::check_target(target, self.force)?;
                self.by_files(&ticket, files::read(context)?, target.clone(), environment).await
            }
            _ => self.online(&ticket, environment).await,
        }
    }

    async fn by_files(
        &self,
        ticket: &TicketCode,
        context: Vec<u8>,
        target: PathBuf,
        environment: &Environment,
    ) -> Outcome {
        let link = environment.link(Service::Activation)?;
        let mut client = client(&link);
        let request = ActivateRequest {
            request_id: derived_request_id(ticket, &self.licenses, &context),
            ticket: ticket.reveal(),
            license_ids: self.licenses.clone(),
            quantities: Vec::new(),
            context,
        };
        let answer = client.activate(request).await.map_err(|status| link.failed(status))?.into_inner();
        let (activation, update) = opened(answer, &link)?;
        files::write(&target, &update, self.force)?;
        let holds = inspect(&mut client, ticket, &link).await?;
        let mut object = result(&activation, &holds, ticket);
        object["file"] = json!(target);
        environment.out.one(&object, || {
            format!(
                "{}\nwrote {}\nnext: lictor server import {1} -o RECEIPT.rac, at the licence server",
                result_text(&activation, &holds),
                target.display()
            )
        });
        Ok(())
    }

    async fn online(&self, ticket: &TicketCode, environment: &Environment) -> Outcome {
        let link = environment.link(Service::Activation)?;
        let mut client = client(&link);
        let holds = inspect(&mut client, ticket, &link).await?;
        let server_link = environment.server_as_admin().await?;
        let mut server = ServerClient::new(server_link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let serial = match &self.serial {
            Some(serial) => serial.clone(),
            None => only_container(&mut server, holds.firm_code, &server_link).await?,
        };
        let journal = Journal::of(&self.state_folder(environment)?, ticket, &self.licenses, &serial);
        let begun = match journal.load() {
            Some(begun) => {
                environment.out.note("an earlier activation of this ticket was interrupted; going on with it");
                begun
            }
            None => {
                let request =
                    CreateContextRequest { firm_code: holds.firm_code, serial: serial.clone(), challenge: Vec::new() };
                let answer =
                    server.create_context(request).await.map_err(|status| server_link.failed(status))?.into_inner();
                journal.begin(answer.context)?
            }
        };
        let request = ActivateRequest {
            request_id: begun.request_id,
            ticket: ticket.reveal(),
            license_ids: self.licenses.clone(),
            quantities: Vec::new(),
            context: begun.context,
        };
        let answer = client.activate(request).await.map_err(|status| {
            let failure = link.failed(status);
            if is_final(&failure) {
                journal.forget();
            }
            failure
        })?;
        let (activation, update) = opened(answer.into_inner(), &link)?;
        let imported = server
            .import_update(ImportUpdateRequest { update })
            .await
            .map_err(|status| server_link.failed(status))?
            .into_inner();
        let submitted = SubmitContextRequest { context: imported.receipt };
        client.submit_context(submitted).await.map_err(|status| link.failed(status))?;
        journal.forget();
        let activation = settled(&mut client, activation).await;
        let holds = inspect(&mut client, ticket, &link).await.unwrap_or(holds);
        environment.out.one(&result(&activation, &holds, ticket), || result_text(&activation, &holds));
        Ok(())
    }

    fn state_folder(&self, environment: &Environment) -> Outcome<PathBuf> {
        if let Some(folder) = &self.state {
            return Ok(folder.clone());
        }
        if let Some(folder) = &environment.settings.folder {
            return Ok(folder.join("activations"));
        }
        let variable = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        variable("XDG_STATE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local").join("state")))
            .map(|folder| folder.join("lictor").join("activations"))
            .ok_or_else(|| {
                Failure::usage("there is no folder for the activation's notes", "name one with --state or LICTOR_STATE")
            })
    }
}

fn client(link: &Link) -> Client {
    ActivationServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
}

async fn inspect(client: &mut Client, ticket: &TicketCode, link: &Link) -> Outcome<InspectTicketResponse> {
    let request = InspectTicketRequest { ticket: ticket.reveal() };
    Ok(client.inspect_ticket(request).await.map_err(|status| link.failed(status))?.into_inner())
}

fn opened(answer: ActivateResponse, link: &Link) -> Outcome<(Activation, Vec<u8>)> {
    let activation = answer.activation.ok_or_else(|| link.incomplete())?;
    if answer.update.is_empty() {
        return Err(Failure::new(
            ErrorCode::WrongState,
            format!("activation {} gave no update file", activation.activation_id),
            if activation.reason.is_empty() { "repeat the command" } else { activation.reason.as_str() },
        ));
    }
    Ok((activation, answer.update))
}

/// A refusal that will stay one: what was noted down about the attempt is of no more use.
fn is_final(failure: &Failure) -> bool {
    match failure {
        Failure::Problem(problem) => {
            !problem.code.may_retry()
                && !matches!(
                    problem.code,
                    ErrorCode::Internal | ErrorCode::Unauthenticated | ErrorCode::PermissionDenied
                )
        }
        Failure::Refused(_) => true,
        Failure::Told(_) => false,
    }
}

/// The serial of the one container that holds this firm.
async fn only_container(
    server: &mut ServerClient<InterceptedService<Channel, Caller>>,
    firm_code: u32,
    link: &ServerLink,
) -> Outcome<String> {
    let answer = server.list_containers(ListContainersRequest {}).await.map_err(|status| link.failed(status))?;
    let mut serials: Vec<String> = answer
        .into_inner()
        .containers
        .into_iter()
        .filter(|container| container.firms.iter().any(|firm| firm.firm_code == firm_code))
        .map(|container| container.serial)
        .collect();
    match serials.len() {
        1 => Ok(serials.remove(0)),
        0 => Err(Failure::new(
            ErrorCode::NotFound,
            format!("the licence server at {} has no container for firm {firm_code}", link.address()),
            "make one with the vendor's file: lictor server create-container --lif F.lif",
        )),
        _ => Err(Failure::usage(
            format!("the licence server has several containers for firm {firm_code}"),
            format!("choose one with --serial: {}", serials.join(", ")),
        )),
    }
}

/// Waits a moment until the receipt is counted. Whether it was is told by the state.
async fn settled(client: &mut Client, activation: Activation) -> Activation {
    let mut latest = activation;
    let wait = async {
        while latest.state != i32::from(ActivationState::Confirmed) {
            let request = GetActivationRequest { activation_id: latest.activation_id.clone() };
            match client.get_activation(request).await.map(|answer| answer.into_inner().activation) {
                Ok(Some(fresh)) => latest = fresh,
                _ => break,
            }
            if latest.state != i32::from(ActivationState::Confirmed) {
                tokio::time::sleep(CONFIRM_STEP).await;
            }
        }
    };
    // Over the time: the last known state is told.
    let _ = tokio::time::timeout(CONFIRM_TIME, wait).await;
    latest
}

fn state_name(state: i32) -> &'static str {
    match ActivationState::try_from(state).unwrap_or_default() {
        ActivationState::Unspecified => "unknown",
        ActivationState::Requested => "requested",
        ActivationState::Reserved => "reserved",
        ActivationState::Issued => "issued",
        ActivationState::Completed => "completed",
        ActivationState::Confirmed => "confirmed",
        ActivationState::Refused => "refused",
    }
}

fn result(activation: &Activation, holds: &InspectTicketResponse, ticket: &TicketCode) -> Value {
    let licenses: Vec<Value> = activation
        .license_ids
        .iter()
        .map(|id| match holds.licenses.iter().find(|license| license.license_id == *id) {
            Some(license) => json!({
                "license_id": license.license_id,
                "item": license.item,
                "product_code": license.product_code,
                "quantity": license.quantity,
                "state": license.state,
            }),
            None => json!({ "license_id": id }),
        })
        .collect();
    json!({
        "activation_id": activation.activation_id,
        "serial": activation.serial,
        "licenses": licenses,
        "state": state_name(activation.state),
        "firm_code": activation.firm_code,
        "ticket": ticket.masked(),
        "from": activation.from,
        "to": activation.to,
    })
}

fn result_text(activation: &Activation, holds: &InspectTicketResponse) -> String {
    let rows = holds
        .licenses
        .iter()
        .filter(|license| activation.license_ids.contains(&license.license_id))
        .map(|license| {
            vec![
                license.license_id.clone(),
                license.item.clone(),
                license.product_code.to_string(),
                show::seats(license.quantity),
                license.state.clone(),
            ]
        })
        .collect();
    format!(
        "{} into {}: {}\n{}",
        activation.activation_id,
        activation.serial,
        state_name(activation.state),
        output::table(&["license", "item", "product", "seats", "state"], rows)
    )
}
