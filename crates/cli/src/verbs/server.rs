//! `lictor server`: what the licence server holds, its files, its sessions.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_api::server::v1::{
    AcquireRequest, CreateContainerRequest, CreateContextRequest, ExplainRequest, ImportUpdateRequest,
    ListContainersRequest, ListSessionsRequest, ServerContainer,
};
use lictor_api::types::v1::Refusal;
use serde_json::{Value, json};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::run::{MODES, mode_number};
use super::vendor::{kind_names, kind_number};
use crate::args::number;
use crate::connect::{Caller, MAX_ANSWER_BYTES, ServerLink};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::{files, output, show};

#[derive(Debug, Subcommand)]
pub(crate) enum ServerVerbs {
    /// List containers with their entries and what is free
    #[command(after_help = "\
Examples:
  lictor server list
  CODEMETER_HOST=license-server lictor server list --json")]
    List,
    /// Make an empty container from a vendor's licence information file
    ///
    /// If there is a container already, the vendor is added to it.
    #[command(after_help = "Example:\n  lictor server create-container --lif example.lif --binding folder")]
    CreateContainer(CreateContainer),
    /// Write a context file: what the container says about itself, for the vendor
    #[command(after_help = "Example:\n  lictor server context --firm-code 6000010 -o box.rac")]
    Context(Context),
    /// Import an update file: everything new in it, or nothing
    #[command(after_help = "\
Example:
  lictor server import box.rau -o box-receipt.rac

Importing a file again is safe: what is applied already is skipped.")]
    Import(Import),
    /// List who holds seats
    #[command(after_help = "Example:\n  lictor server sessions")]
    Sessions,
    /// Say what a request for a seat would be answered, and why; takes nothing
    #[command(after_help = "Example:\n  lictor server explain --firm-code 6000010 --product-code 201")]
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(crate) struct CreateContainer {
    /// The vendor's licence information file
    #[arg(long, value_name = "F.lif")]
    lif: PathBuf,

    /// Kind of container [default: the only one that file and server allow]
    #[arg(long, value_name = "KIND", value_parser = kind_names())]
    binding: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Context {
    /// Container, when the server has several
    #[arg(long, value_name = "SERIAL", default_value = "", hide_default_value = true)]
    serial: String,

    /// File to write
    #[arg(short, long, value_name = "F.rac")]
    output: PathBuf,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The update file
    #[arg(value_name = "F.rau")]
    file: PathBuf,

    /// Receipt to write, for the vendor
    #[arg(short, long, value_name = "RECEIPT.rac")]
    output: Option<PathBuf>,

    /// Replace the receipt if it exists and differs
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The product
    #[arg(long, value_name = "P", value_parser = number)]
    product_code: u32,

    /// Features that must be there, decimal or 0x
    #[arg(long, value_name = "M", default_value = "0", value_parser = number)]
    feature_map: u32,

    /// How the seat is counted
    #[arg(long, value_name = "MODE", default_value = "user-limit", value_parser = MODES)]
    mode: String,
}

type Client = ContainerServiceClient<InterceptedService<Channel, Caller>>;

fn client(link: &ServerLink) -> Client {
    ContainerServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
}

impl ServerVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::List => list(environment).await,
            Self::CreateContainer(verb) => create_container(verb, environment).await,
            Self::Context(verb) => context(verb, environment).await,
            Self::Import(verb) => import(verb, environment).await,
            Self::Sessions => sessions(environment).await,
            Self::Explain(verb) => explain(verb, environment).await,
        }
    }
}

async fn list(environment: &Environment) -> Outcome {
    let link = environment.server().await?;
    let answer = client(&link)
        .list_containers(ListContainersRequest {})
        .await
        .map_err(|status| link.failed(status))?
        .into_inner();
    let containers: Vec<Value> = answer.containers.iter().map(container_object).collect();
    environment.out.one(&json!({ "containers": containers }), || {
        if answer.containers.is_empty() {
            return "there is no container; next: lictor server create-container --lif F.lif".to_owned();
        }
        answer.containers.iter().map(container_text).collect::<Vec<_>>().join("\n\n")
    });
    Ok(())
}

fn container_object(container: &ServerContainer) -> Value {
    let firms: Vec<Value> = container
        .firms
        .iter()
        .map(|firm| {
            json!({
                "firm_code": firm.firm_code,
                "counter": firm.counter,
                "entries": firm.entries.iter().map(show::entry).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "serial": container.serial,
        "container_id": container.container_id,
        "kind": show::kind(container.kind),
        "firms": firms,
    })
}

fn container_text(container: &ServerContainer) -> String {
    let mut text = format!("container {} ({})", container.serial, show::kind(container.kind));
    for firm in &container.firms {
        text.push_str(&format!("\nfirm {}, counter {}\n", firm.firm_code, firm.counter));
        let rows: Vec<_> = firm.entries.iter().map(show::entry_row).collect();
        match rows.is_empty() {
            true => text.push_str("no entries; next: lictor activate TICKET"),
            false => text.push_str(&output::table(show::ENTRY_HEADINGS, rows)),
        }
    }
    text
}

async fn create_container(verb: CreateContainer, environment: &Environment) -> Outcome {
    let lif = files::read(&verb.lif)?;
    let link = environment.server_as_admin().await?;
    let request = CreateContainerRequest { lif, kind: verb.binding.as_deref().map_or(0, kind_number) };
    let answer = client(&link).create_container(request).await.map_err(|status| link.failed(status))?.into_inner();
    let object = json!({
        "serial": answer.serial,
        "kind": show::kind(answer.kind),
        "firm_code": answer.firm_code,
        "counter": answer.counter,
        "file": verb.lif,
        "created": answer.created,
    });
    environment.out.one(&object, || {
        let what = if answer.created { "made" } else { "was there already:" };
        format!(
            "{what} container {} ({}) for firm {}\nnext: lictor activate TICKET",
            answer.serial,
            show::kind(answer.kind),
            answer.firm_code
        )
    });
    Ok(())
}

async fn context(verb: Context, environment: &Environment) -> Outcome {
    files::check_target(&verb.output, verb.force)?;
    let firm_code = environment.firm_code()?;
    let link = environment.server_as_admin().await?;
    let request = CreateContextRequest { firm_code, serial: verb.serial, challenge: Vec::new() };
    let answer = client(&link).create_context(request).await.map_err(|status| link.failed(status))?.into_inner();
    files::write(&verb.output, &answer.context, verb.force)?;
    let object = json!({
        "serial": answer.serial,
        "kind": show::kind(answer.kind),
        "firm_code": firm_code,
        "counter": answer.counter,
        "file": verb.output,
    });
    environment.out.one(&object, || {
        format!(
            "wrote {}: container {}, firm {firm_code}, counter {}\nnext: lictor activate TICKET --context {0} -o F.rau",
            verb.output.display(),
            answer.serial,
            answer.counter
        )
    });
    Ok(())
}

async fn import(verb: Import, environment: &Environment) -> Outcome {
    if let Some(target) = &verb.output {
        files::check_target(target, verb.force)?;
    }
    let update = files::read(&verb.file)?;
    let link = environment.server_as_admin().await?;
    let request = ImportUpdateRequest { update };
    let answer = client(&link).import_update(request).await.map_err(|status| link.failed(status))?.into_inner();
    if let Some(target) = &verb.output {
        files::write(target, &answer.receipt, verb.force)?;
    }
    let object = json!({
        "serial": answer.serial,
        "firm_code": answer.firm_code,
        "from": answer.from,
        "to": answer.to,
        "applied": answer.applied,
        "skipped": answer.skipped,
        "receipt": verb.output,
    });
    environment.out.one(&object, || {
        let mut text = format!(
            "container {}: {} applied, {} skipped; counter {} -> {}",
            answer.serial, answer.applied, answer.skipped, answer.from, answer.to
        );
        if let Some(target) = &verb.output {
            text.push_str(&format!(
                "\nwrote {}\nnext: send it to the vendor, who runs: lictor push context {0}",
                target.display()
            ));
        }
        text
    });
    Ok(())
}

async fn sessions(environment: &Environment) -> Outcome {
    let link = environment.server().await?;
    let answer =
        client(&link).list_sessions(ListSessionsRequest {}).await.map_err(|status| link.failed(status))?.into_inner();
    let sessions: Vec<Value> = answer
        .sessions
        .iter()
        .map(|session| {
            json!({
                "session_id": session.session_id,
                "serial": session.serial,
                "firm_code": session.firm_code,
                "product_code": session.product_code,
                "client": session.client,
                "station": session.station,
                "since": show::time(session.since.as_ref()),
                "mode": show::mode(session.mode),
                "units": session.units,
                "state": session.state,
            })
        })
        .collect();
    environment.out.one(&json!({ "sessions": sessions }), || {
        if answer.sessions.is_empty() {
            return "nobody holds a seat".to_owned();
        }
        let rows = answer
            .sessions
            .iter()
            .map(|session| {
                vec![
                    session.session_id.clone(),
                    session.product_code.to_string(),
                    session.units.to_string(),
                    session.client.clone(),
                    session.station.clone(),
                    show::time_word(session.since.as_ref()),
                    session.state.clone(),
                ]
            })
            .collect();
        output::table(&["session", "product", "seats", "client", "station", "since", "state"], rows)
    });
    Ok(())
}

async fn explain(verb: Explain, environment: &Environment) -> Outcome {
    let firm_code = environment.firm_code()?;
    let link = environment.server().await?;
    let request = AcquireRequest {
        firm_code,
        product_code: verb.product_code,
        feature_map: verb.feature_map,
        mode: mode_number(&verb.mode),
        units: 1,
        program: "lictor server explain".to_owned(),
        ..AcquireRequest::default()
    };
    let answer = client(&link)
        .explain(ExplainRequest { request: Some(request) })
        .await
        .map_err(|status| link.failed(status))?
        .into_inner();
    if !answer.granted {
        return Err(Failure::Refused(Box::new(answer.refusal.unwrap_or_else(Refusal::default))));
    }
    let entry = answer.entry.unwrap_or_default();
    let object = json!({ "granted": true, "serial": answer.serial, "entry": show::entry(&entry) });
    environment.out.one(&object, || {
        format!(
            "a seat would be given from container {}\n{}",
            answer.serial,
            output::table(show::ENTRY_HEADINGS, vec![show::entry_row(&entry)])
        )
    });
    Ok(())
}
