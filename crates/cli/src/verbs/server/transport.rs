//! Files that leave and enter the licence server: contexts, updates, receipts.

use std::path::{Path, PathBuf};

use clap::Args;
use lictor_api::server::v1::{CreateContextRequest, ImportUpdateRequest};
use lictor_api::types::v1::ContainerKind;
use serde_json::json;

use super::client;
use crate::args::from_hex;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::files;

#[derive(Debug, Args)]
pub(crate) struct Context {
    /// Container, when the server has several
    #[arg(long, value_name = "SERIAL", default_value = "", hide_default_value = true)]
    serial: String,

    /// Challenge of the vendor that proves the context to be fresh, 64 hex digits; - reads it from stdin
    #[arg(long, value_name = "CHALLENGE")]
    challenge: Option<String>,

    /// File to write
    #[arg(short, long, value_name = "F.rac")]
    output: PathBuf,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The update file, binary or as text; - reads stdin
    #[arg(value_name = "F.rau")]
    file: PathBuf,

    /// Receipt to write, for the vendor
    #[arg(short, long, value_name = "RECEIPT.rac")]
    output: Option<PathBuf>,

    /// Replace the receipt if it exists and differs
    #[arg(long)]
    force: bool,
}

/// Reads a challenge as printed. `-` means: the first line of stdin.
fn challenge(typed: &str) -> Outcome<Vec<u8>> {
    let text = if typed == "-" {
        String::from_utf8_lossy(&files::read(Path::new("-"))?).into_owned()
    } else {
        typed.to_owned()
    };
    from_hex(text.trim()).filter(|bytes| bytes.len() == 32).ok_or_else(|| {
        Failure::usage("a challenge is 64 hex digits", "copy what lictor challenge printed, whole and without changes")
    })
}

pub(super) async fn context(verb: Context, environment: &Environment) -> Outcome {
    files::check_target(&verb.output, verb.force)?;
    let challenge = verb.challenge.as_deref().map(challenge).transpose()?.unwrap_or_default();
    let fresh = !challenge.is_empty();
    let firm_code = environment.firm_code()?;
    let link = environment.server_as_admin().await?;
    let request = CreateContextRequest { firm_code, serial: verb.serial, challenge };
    let answer = client(&link).create_context(request).await.map_err(|status| link.failed(status))?.into_inner();
    files::write(&verb.output, &answer.context, verb.force)?;
    let object = json!({
        "serial": answer.serial,
        "kind": ContainerKind::word_of(answer.kind),
        "firm_code": firm_code,
        "counter": answer.counter,
        "fresh": fresh,
        "file": verb.output,
    });
    environment.out.one(&object, || {
        format!(
            "wrote {}: container {}, firm {firm_code}, counter {}\nnext: {} --context {0} -o F.rau",
            verb.output.display(),
            answer.serial,
            answer.counter,
            if fresh { "lictor return TICKET, move, pull or rebase, each with" } else { "lictor activate TICKET" }
        )
    });
    Ok(())
}

pub(super) async fn import(verb: Import, environment: &Environment) -> Outcome {
    if let Some(target) = &verb.output {
        files::check_target(target, verb.force)?;
    }
    let update = files::read_license_file(&verb.file)?;
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
