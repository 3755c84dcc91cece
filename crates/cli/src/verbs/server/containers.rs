//! Containers of the licence server: looking at them and making one.

use std::path::PathBuf;

use clap::Args;
use lictor_api::server::v1::{CreateContainerRequest, ListContainersRequest, ServerContainer};
use lictor_api::types::v1::ContainerKind;
use serde_json::{Value, json};

use super::client;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::verbs::vendor::{kind_names, kind_number};
use crate::{files, output, show};

#[derive(Debug, Args)]
pub(crate) struct CreateContainer {
    /// The vendor's licence information file, binary or as text; - reads stdin
    #[arg(long, value_name = "F.lif")]
    lif: PathBuf,

    /// Kind of container [default: the only one that file and server allow]
    #[arg(long, value_name = "KIND", value_parser = kind_names())]
    binding: Option<String>,
}

pub(super) async fn list(environment: &Environment) -> Outcome {
    let link = environment.server().await?;
    let answer = client(&link)
        .list_containers(ListContainersRequest {})
        .await
        .map_err(|status| link.failed(status))?
        .into_inner();
    let containers: Vec<Value> = answer.containers.iter().map(container_object).collect();
    let object = json!({
        "containers": containers,
        "clock_suspect": answer.clock_suspect,
        "proven_time": show::time(answer.proven_time.as_ref()),
    });
    environment.out.one(&object, || {
        if answer.containers.is_empty() {
            return "there is no container; next: lictor server create-container --lif F.lif".to_owned();
        }
        let text = answer.containers.iter().map(container_text).collect::<Vec<_>>().join("\n\n");
        if !answer.clock_suspect {
            return text;
        }
        format!(
            "the clock of this machine is not believed; dates are judged as of {}; next: lictor server time\n\n{text}",
            show::time_word(answer.proven_time.as_ref())
        )
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
        "kind": ContainerKind::word_of(container.kind),
        "firms": firms,
    })
}

fn container_text(container: &ServerContainer) -> String {
    let mut text = format!("container {} ({})", container.serial, ContainerKind::word_of(container.kind));
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

pub(super) async fn create_container(verb: CreateContainer, environment: &Environment) -> Outcome {
    let lif = files::read_license_file(&verb.lif)?;
    let link = environment.server_as_admin().await?;
    let request = CreateContainerRequest { lif, kind: verb.binding.as_deref().map_or(0, kind_number) };
    let answer = client(&link).create_container(request).await.map_err(|status| link.failed(status))?.into_inner();
    let object = json!({
        "serial": answer.serial,
        "kind": ContainerKind::word_of(answer.kind),
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
            ContainerKind::word_of(answer.kind),
            answer.firm_code
        )
    });
    Ok(())
}
