//! Blocking a container that is lost.

use clap::Args;
use lictor_api::update::v1::BlockContainerRequest;
use lictor_api::update::v1::update_service_client::UpdateServiceClient;
use serde_json::json;

use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::request::RequestId;

#[derive(Debug, Args)]
pub(crate) struct Block {
    /// Serial or id of the container
    #[arg(value_name = "SERIAL")]
    serial: String,

    /// Why; kept with the block
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    #[command(flatten)]
    request_id: RequestId,
}

pub(super) async fn block(verb: Block, environment: &Environment) -> Outcome {
    let link = environment.link(Service::Update)?;
    let mut client = UpdateServiceClient::new(link.channel());
    let request = BlockContainerRequest {
        firm_code: environment.firm_code()?,
        serial: verb.serial,
        reason: verb.reason,
        reference: verb.request_id.named(environment)?,
    };
    let answer = client.block_container(request).await.map_err(|status| link.failed(status))?.into_inner();
    let object = json!({
        "serial": answer.serial,
        "container_id": answer.container_id,
        "licenses": answer.license_ids,
        "state": "blocked",
    });
    environment.out.one(&object, || {
        let mut text = format!("container {} is blocked for good", answer.serial);
        if !answer.license_ids.is_empty() {
            text.push_str(&format!("\nits next update takes out: {}", answer.license_ids.join(", ")));
        }
        text
    });
    Ok(())
}
