//! `lictor catalogue`: the items that can be sold.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_api::central::v1::catalogue_service_client::CatalogueServiceClient;
use lictor_api::central::v1::{ApplyCatalogueRequest, GetCatalogueRequest};
use serde_json::json;

use crate::connect::{MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::{files, output, request};

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogueVerbs {
    /// Make the stored items equal to a catalogue file; shows the difference first
    ///
    /// Items are never deleted. A changed item counts for orders from now on; what was sold stays as it was sold.
    #[command(after_help = "\
Examples:
  lictor catalogue apply catalogue.yaml --dry-run
  lictor catalogue apply catalogue.yaml

The form of the file is described in docs/catalogue.md.")]
    Apply(Apply),
    /// Show the stored items
    #[command(after_help = "\
Examples:
  lictor catalogue show
  lictor catalogue show --document > catalogue.yaml")]
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The catalogue, in YAML or JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Show the difference and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Print the whole catalogue as one document in YAML
    #[arg(long, conflicts_with = "json")]
    document: bool,
}

impl CatalogueVerbs {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Apply(verb) => apply(verb, environment).await,
            Self::Show(verb) => show(verb, environment).await,
        }
    }
}

async fn apply(verb: Apply, environment: &Environment) -> Outcome {
    let firm_code = environment.firm_code()?;
    let document = String::from_utf8(files::read(&verb.file)?).map_err(|_| {
        Failure::usage(format!("{} is not UTF-8 text", verb.file.display()), "save the catalogue as UTF-8")
    })?;
    let link = environment.link(Service::Central)?;
    let mut client = CatalogueServiceClient::new(link.channel());
    let request = ApplyCatalogueRequest { request_id: request::fresh()?, firm_code, document, dry_run: true };
    let plan = client.apply_catalogue(request.clone()).await.map_err(|status| link.failed(status))?.into_inner();
    let answer = if verb.dry_run {
        plan
    } else {
        for line in &plan.diff {
            environment.out.note(line);
        }
        let request = ApplyCatalogueRequest { request_id: request::fresh()?, dry_run: false, ..request };
        client.apply_catalogue(request).await.map_err(|status| link.failed(status))?.into_inner()
    };
    let object = json!({
        "created": answer.created,
        "changed": answer.changed,
        "unchanged": answer.unchanged,
        "diff": answer.diff,
        "dry_run": verb.dry_run,
    });
    environment.out.one(&object, || {
        let mut lines = if verb.dry_run { answer.diff.clone() } else { Vec::new() };
        let would = if verb.dry_run { "would be " } else { "" };
        lines.push(format!(
            "{} {would}created, {} {would}changed, {} unchanged",
            answer.created.len(),
            answer.changed.len(),
            answer.unchanged.len()
        ));
        lines.join("\n")
    });
    Ok(())
}

async fn show(verb: Show, environment: &Environment) -> Outcome {
    let link = environment.link(Service::Central)?;
    let mut client = CatalogueServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let request = GetCatalogueRequest { firm_code: environment.firm_code()? };
    let answer = client.get_catalogue(request).await.map_err(|status| link.failed(status))?.into_inner();
    if verb.document {
        output::raw(answer.document.as_bytes());
        return Ok(());
    }
    let objects: Vec<_> = answer
        .items
        .iter()
        .map(|item| {
            json!({
                "item": item.item,
                "product_code": item.product_code,
                "text": item.text,
                "modules": item.modules,
                "version": item.version,
            })
        })
        .collect();
    let rows = answer
        .items
        .iter()
        .map(|item| {
            vec![
                item.item.clone(),
                item.product_code.to_string(),
                item.text.clone(),
                item.modules.to_string(),
                item.version.to_string(),
            ]
        })
        .collect();
    let headings = ["item", "product", "text", "modules", "version"];
    environment.out.many(&objects, &headings, rows, "the catalogue is empty; next: lictor catalogue apply FILE");
    Ok(())
}
