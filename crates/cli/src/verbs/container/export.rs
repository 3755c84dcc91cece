//! The modified context of a container as a file.

use std::path::PathBuf;

use clap::Args;
use lictor_api::update::v1::ExportModifiedContextRequest;
use lictor_api::update::v1::update_service_client::UpdateServiceClient;
use serde_json::json;

use crate::connect::{MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::files;

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Serial or id of the container
    #[arg(value_name = "SERIAL")]
    serial: String,

    /// File to write
    #[arg(short, long, value_name = "F.ram")]
    output: PathBuf,

    /// Replace the file if it exists and differs
    #[arg(long)]
    force: bool,
}

pub(super) async fn export(verb: Export, environment: &Environment) -> Outcome {
    files::check_target(&verb.output, verb.force)?;
    let firm_code = environment.firm_code()?;
    let link = environment.link(Service::Update)?;
    let mut client = UpdateServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let request = ExportModifiedContextRequest { firm_code, serial: verb.serial.clone() };
    let answer = client.export_modified_context(request).await.map_err(|status| link.failed(status))?.into_inner();
    files::write(&verb.output, &answer.modified_context, verb.force)?;
    let object = json!({
        "serial": verb.serial,
        "firm_code": firm_code,
        "file": verb.output,
        "bytes": answer.modified_context.len(),
    });
    environment.out.one(&object, || format!("wrote {}\nnext: lictor file show {0}", verb.output.display()));
    Ok(())
}
