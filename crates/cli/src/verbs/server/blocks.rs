//! Seats that licence servers lend each other.

use lictor_api::server::v1::block_service_client::BlockServiceClient;
use lictor_api::server::v1::{BorrowedBlock, LentBlock, ListBlocksRequest, ListBlocksResponse};
use serde_json::{Value, json};

use crate::connect::MAX_ANSWER_BYTES;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::{output, show};

pub(super) async fn blocks(environment: &Environment) -> Outcome {
    let link = environment.server().await?;
    let mut client = BlockServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let answer = client.list_blocks(ListBlocksRequest {}).await.map_err(|status| link.failed(status))?.into_inner();
    environment.out.one(&object(&answer), || text(&answer));
    Ok(())
}

fn object(answer: &ListBlocksResponse) -> Value {
    let lent: Vec<Value> = answer
        .lent
        .iter()
        .map(|block| {
            json!({
                "block_id": block.block_id,
                "firm_code": block.firm_code,
                "product_code": block.product_code,
                "seats": block.seats,
                "host": block.host,
                "address": block.address,
                "since": show::time(block.since.as_ref()),
            })
        })
        .collect();
    let borrowed: Vec<Value> = answer
        .borrowed
        .iter()
        .map(|block| {
            json!({
                "block_id": block.block_id,
                "firm_code": block.firm_code,
                "product_code": block.product_code,
                "seats": block.seats,
                "used": block.used,
                "server": block.server,
                "serial": block.serial,
                "usable_ms": block.usable_ms,
            })
        })
        .collect();
    let upstreams: Vec<Value> = answer
        .upstreams
        .iter()
        .map(|upstream| json!({ "server": upstream.server, "problem": upstream.problem }))
        .collect();
    json!({ "lent": lent, "borrowed": borrowed, "upstreams": upstreams })
}

fn text(answer: &ListBlocksResponse) -> String {
    let mut parts = Vec::new();
    if !answer.lent.is_empty() {
        let rows = answer.lent.iter().map(lent_row).collect();
        parts.push(output::table(&["lent", "product", "seats", "host", "address", "since"], rows));
    }
    if !answer.borrowed.is_empty() {
        let rows = answer.borrowed.iter().map(borrowed_row).collect();
        parts.push(output::table(&["borrowed", "product", "seats", "used", "server", "usable for"], rows));
    }
    for upstream in &answer.upstreams {
        let state = if upstream.problem.is_empty() { "answers" } else { &upstream.problem };
        parts.push(format!("network server {}: {state}", upstream.server));
    }
    if parts.is_empty() { "no seats are lent or borrowed".to_owned() } else { parts.join("\n") }
}

fn lent_row(block: &LentBlock) -> Vec<String> {
    vec![
        block.block_id.clone(),
        block.product_code.to_string(),
        block.seats.to_string(),
        block.host.clone(),
        block.address.clone(),
        show::time_word(block.since.as_ref()),
    ]
}

fn borrowed_row(block: &BorrowedBlock) -> Vec<String> {
    let usable = std::time::Duration::from_secs(block.usable_ms / 1_000);
    vec![
        block.block_id.clone(),
        block.product_code.to_string(),
        block.seats.to_string(),
        block.used.to_string(),
        block.server.clone(),
        lictor_clock::duration::format(usable),
    ]
}
