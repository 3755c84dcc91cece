//! `lictor push`: updates that need nothing from the customer, and contexts that come back.

mod contexts;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lictor_api::activation::v1::push_service_client::PushServiceClient;
use lictor_api::activation::v1::{CreatePushRequest, GetPendingUpdateRequest};
use serde_json::{Value, json};

use crate::args;
use crate::connect::{Link, MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::files;
use crate::request::RequestId;

#[derive(Debug, Subcommand)]
pub(crate) enum PushVerbs {
    /// Issue an update from what the container is known to hold
    ///
    /// Licenses of a ticket go in, named licenses come out, in one step. The file also carries everything that was issued
    /// before and is not confirmed, so a file that got lost needs no second sending.
    #[command(after_help = "\
Examples:
  lictor push create --container 130-4823901234 -o next.rau \\
    --ticket 7Q2VK-0M8RT-5XJ4E-9HCPA-63WZD
  lictor push create --container 130-4823901234 -o next.rau \\
    --withdraw lic_01JD3X7Q2V0000000000000000")]
    Create(Create),
    /// Write the update file with everything that is not confirmed yet; issues nothing new
    #[command(after_help = "Example:\n  lictor push pending 130-4823901234 -o next.rau")]
    Pending(Pending),
    /// Take in contexts or receipts that came from customers, in any number
    #[command(after_help = "\
Examples:
  lictor push context inbox/*.rac
  lictor push context shipment/ --customer \"Nova GmbH\"

A folder stands for all its files; with --customer their containers become the
customer's. Verdicts: ok, old, rollback-suspected, fork-reported,
unknown-container. Files that fail are named, the others are taken in; the exit
code is that of the first failure.")]
    Context(contexts::Contexts),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Serial of the container
    #[arg(long, value_name = "SERIAL")]
    container: String,

    /// Ticket whose licenses go in; - reads it from stdin
    #[arg(long, value_name = "TICKET", required_unless_present = "withdraw")]
    ticket: Option<String>,

    /// License that comes out; may be given more than once
    #[arg(long, value_name = "LICENSE")]
    withdraw: Vec<String>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    request_id: RequestId,
}

#[derive(Debug, Args)]
pub(crate) struct Pending {
    /// Serial of the container
    #[arg(value_name = "SERIAL")]
    serial: String,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// File to write
    #[arg(short, long, value_name = "F.rau")]
    output: PathBuf,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

impl PushVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let link = environment.link(Service::Activation)?;
        match self {
            Self::Create(verb) => create(verb, &link, environment).await,
            Self::Pending(verb) => pending(verb, &link, environment).await,
            Self::Context(verb) => contexts::take_in(verb, &link, environment).await,
        }
    }
}

async fn create(verb: Create, link: &Link, environment: &Environment) -> Outcome {
    files::check_target(&verb.target.output, verb.target.force)?;
    let ticket = verb.ticket.as_deref().map(args::ticket).transpose()?;
    let request = CreatePushRequest {
        request_id: verb.request_id.named(environment)?,
        firm_code: environment.firm_code()?,
        serial: verb.container.clone(),
        ticket: ticket.map(|ticket| ticket.reveal()).unwrap_or_default(),
        withdraw: verb.withdraw,
    };
    let mut client = PushServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let answer = client.create_push(request).await.map_err(|status| link.failed(status))?.into_inner();
    let activation = answer.activation.ok_or_else(|| link.incomplete())?;
    files::write(&verb.target.output, &answer.update, verb.target.force)?;
    let serial = if activation.serial.is_empty() { verb.container } else { activation.serial };
    let mut object = written(&serial, answer.from, answer.to, answer.segments, Some(&verb.target.output));
    object["activation_id"] = activation.activation_id.into();
    object["licenses"] = activation.license_ids.into();
    environment
        .out
        .one(&object, || written_text(&serial, answer.from, answer.to, answer.segments, &verb.target.output));
    Ok(())
}

async fn pending(verb: Pending, link: &Link, environment: &Environment) -> Outcome {
    files::check_target(&verb.target.output, verb.target.force)?;
    let request = GetPendingUpdateRequest { firm_code: environment.firm_code()?, serial: verb.serial.clone() };
    let mut client = PushServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let answer = client.get_pending_update(request).await.map_err(|status| link.failed(status))?.into_inner();
    if answer.update.is_empty() {
        let object = written(&verb.serial, answer.from, answer.to, 0, None);
        environment.out.one(&object, || format!("nothing is pending for {}; no file was written", verb.serial));
        return Ok(());
    }
    files::write(&verb.target.output, &answer.update, verb.target.force)?;
    let object = written(&verb.serial, answer.from, answer.to, answer.segments, Some(&verb.target.output));
    environment
        .out
        .one(&object, || written_text(&verb.serial, answer.from, answer.to, answer.segments, &verb.target.output));
    Ok(())
}

fn written(serial: &str, from: u64, to: u64, segments: u32, file: Option<&Path>) -> Value {
    json!({ "serial": serial, "from": from, "to": to, "segments": segments, "file": file })
}

fn written_text(serial: &str, from: u64, to: u64, segments: u32, file: &Path) -> String {
    let steps = if segments == 1 { "1 step".to_owned() } else { format!("{segments} steps") };
    format!(
        "wrote {}: {steps} for {serial}, from counter {from} to {to}\nnext: get it to the customer, who runs: lictor server import {0}",
        file.display()
    )
}
