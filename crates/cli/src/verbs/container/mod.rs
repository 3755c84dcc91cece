//! `lictor container`: containers of customers as the vendor knows them.

mod assign;
mod block;
mod check;
mod export;

pub(crate) use assign::assign_all;

use clap::{Args, Subcommand};
use lictor_api::types::v1::ContainerKind;
use lictor_api::update::v1::container_service_client::ContainerServiceClient;
use lictor_api::update::v1::{Container, GetContainerRequest, ListContainersRequest};
use serde_json::{Value, json};

use super::page;
use crate::connect::{MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::{output, show};

#[derive(Debug, Subcommand)]
pub(crate) enum ContainerVerbs {
    /// List the containers that were ever seen
    #[command(after_help = "Example:\n  lictor container list")]
    List,
    /// Show a container's chain: what is confirmed, what is pending, what it will hold
    #[command(after_help = "Example:\n  lictor container show 130-4823901234")]
    Show(Show),
    /// Assign containers to a customer, also before they were ever seen
    #[command(after_help = "\
Examples:
  lictor container assign 130-4823901234 130-7715520011 --customer \"Nova GmbH\"
  lictor container assign 130-4823901234 --customer \"Other AG\" --reassign

A new name makes a new customer. A container that belongs to somebody else is
moved only with --reassign.")]
    Assign(assign::Assign),
    /// List which containers belong to whom
    #[command(after_help = "\
Examples:
  lictor container assignments
  lictor container assignments --customer \"Nova GmbH\" --json")]
    Assignments(assign::Assignments),
    /// Block a lost container for good
    ///
    /// From now on it gets withdrawals only, and its next update takes everything of this vendor out. There is no way to
    /// unblock it; a customer's own way for a lost container is lictor replace.
    #[command(after_help = "Example:\n  lictor container block 130-4823901234 --reason \"stolen, case 4711\"")]
    Block(block::Block),
    /// Compare what was issued with what license-central believes to lie in containers
    ///
    /// After a database was restored from a backup the two differ. Nothing is changed; exit code 5 says that there are
    /// differences. What is being issued at this moment may show as one: look again.
    #[command(after_help = "\
Examples:
  lictor container check
  lictor container check 130-4823901234")]
    Check(check::Check),
    /// Write the modified context: what the vendor predicts the container to be after everything issued
    #[command(
        after_help = "Example:\n  lictor container export 130-4823901234 -o box.ram\n  lictor file show box.ram --trust vendor.lif"
    )]
    Export(export::Export),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Serial or id of the container
    #[arg(value_name = "SERIAL")]
    serial: String,
}

impl ContainerVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Assign(verb) => assign::assign(verb, environment).await,
            Self::Assignments(verb) => assign::list(verb, environment).await,
            Self::Block(verb) => block::block(verb, environment).await,
            Self::Check(verb) => check::check(verb, environment).await,
            Self::Export(verb) => export::export(verb, environment).await,
            Self::List => list(environment).await,
            Self::Show(verb) => show_one(verb, environment).await,
        }
    }
}

/// All containers that were ever seen.
async fn all(environment: &Environment) -> Outcome<Vec<Container>> {
    let firm_code = environment.firm_code()?;
    let link = environment.link(Service::Update)?;
    let mut client = ContainerServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let mut request = ListContainersRequest { firm_code, page: page(String::new()) };
    let mut containers = Vec::new();
    loop {
        let answer = client.list_containers(request.clone()).await.map_err(|status| link.failed(status))?.into_inner();
        containers.extend(answer.containers);
        if answer.next_page_token.is_empty() {
            return Ok(containers);
        }
        request.page = page(answer.next_page_token);
    }
}

async fn list(environment: &Environment) -> Outcome {
    let containers = all(environment).await?;
    let objects: Vec<_> = containers.iter().map(container_object).collect();
    let rows = containers
        .iter()
        .map(|container| {
            vec![
                container.serial.clone(),
                ContainerKind::word_of(container.kind).to_owned(),
                container.confirmed.to_string(),
                pending(container).to_string(),
                show::time_word(container.last_contact_at.as_ref()),
                container.suspicion.join(", "),
            ]
        })
        .collect();
    let headings = ["container", "kind", "confirmed", "pending", "last contact", "suspicion"];
    environment.out.many(&objects, &headings, rows, "no container was seen yet");
    Ok(())
}

async fn show_one(verb: Show, environment: &Environment) -> Outcome {
    let firm_code = environment.firm_code()?;
    let link = environment.link(Service::Update)?;
    let mut client = ContainerServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let request = GetContainerRequest { firm_code, serial: verb.serial };
    let answer = client.get_container(request).await.map_err(|status| link.failed(status))?.into_inner();
    let container = answer.container.ok_or_else(|| link.incomplete())?;
    let mut object = container_object(&container);
    object["entries"] = answer.entries.iter().map(show::entry).collect();
    object["segments"] = answer
        .segments
        .iter()
        .map(|segment| {
            json!({
                "from": segment.from,
                "to": segment.to,
                "issued_at": show::time(segment.issued_at.as_ref()),
                "confirmed_at": show::time(segment.confirmed_at.as_ref()),
                "summary": segment.summary,
                "reference": segment.reference,
            })
        })
        .collect();
    environment.out.one(&object, || {
        let mut pairs = vec![
            ("container", container.serial.clone()),
            ("id", container.container_id.clone()),
            ("kind", ContainerKind::word_of(container.kind).to_owned()),
            ("confirmed", container.confirmed.to_string()),
            ("latest", container.latest.to_string()),
            ("pending", pending(&container).to_string()),
            ("last contact", show::time_word(container.last_contact_at.as_ref())),
        ];
        if !container.suspicion.is_empty() {
            pairs.push(("suspicion", container.suspicion.join(", ")));
        }
        if container.blocked {
            pairs.push(("blocked", "yes: it gets withdrawals only".to_owned()));
        }
        let segments = answer
            .segments
            .iter()
            .map(|segment| {
                vec![
                    segment.to.to_string(),
                    segment.summary.clone(),
                    show::time_word(segment.issued_at.as_ref()),
                    show::time_word(segment.confirmed_at.as_ref()),
                ]
            })
            .collect();
        let entries = answer.entries.iter().map(show::entry_row).collect();
        format!(
            "{}\n\nchain\n{}\n\nholds after all that was issued\n{}",
            show::sheet(&pairs),
            output::table(&["counter", "change", "issued", "confirmed"], segments),
            output::table(show::ENTRY_HEADINGS, entries)
        )
    });
    Ok(())
}

fn pending(container: &Container) -> u64 {
    container.latest.saturating_sub(container.confirmed)
}

fn container_object(container: &Container) -> Value {
    json!({
        "serial": container.serial,
        "container_id": container.container_id,
        "firm_code": container.firm_code,
        "kind": ContainerKind::word_of(container.kind),
        "epoch": container.epoch,
        "confirmed": container.confirmed,
        "latest": container.latest,
        "pending": pending(container),
        "suspicion": container.suspicion,
        "blocked": container.blocked,
        "first_seen_at": show::time(container.first_seen_at.as_ref()),
        "last_contact_at": show::time(container.last_contact_at.as_ref()),
    })
}
