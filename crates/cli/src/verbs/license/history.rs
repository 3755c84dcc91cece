//! What happened to a license or in a container, and what could be used at a moment.

use clap::Args;
use lictor_api::central::v1::license_service_client::LicenseServiceClient;
use lictor_api::central::v1::{GetLicenseHistoryRequest, HistoryEntry, Usable};
use lictor_clock::Timestamp;
use serde_json::{Value, json};

use crate::args::{moment, wire_time};
use crate::connect::{MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::{output, show};

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Id of the license
    #[arg(value_name = "LICENSE", required_unless_present = "container", conflicts_with = "container")]
    license: Option<String>,

    /// Everything that happened in the container with this serial
    #[arg(long, value_name = "SERIAL")]
    container: Option<String>,

    /// Ask what could be used on this day, or at this time (UTC), and why
    #[arg(long, value_name = "DATE", value_parser = moment)]
    at: Option<Timestamp>,
}

pub(super) async fn history(verb: History, environment: &Environment) -> Outcome {
    let link = environment.link(Service::Central)?;
    let mut client = LicenseServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let request = GetLicenseHistoryRequest {
        license_id: verb.license.clone().unwrap_or_default(),
        // A license knows its firm; a container's serial is one per firm.
        firm_code: if verb.container.is_some() { environment.firm_code()? } else { 0 },
        serial: verb.container.clone().unwrap_or_default(),
        at: verb.at.map(wire_time),
    };
    let answer = client.get_license_history(request).await.map_err(|status| link.failed(status))?.into_inner();
    let object = json!({
        "license_id": verb.license,
        "container": verb.container,
        "at": verb.at.map(|time| time.to_string()),
        "entries": answer.entries.iter().map(entry).collect::<Vec<_>>(),
        "usable": verb.at.map(|_| answer.usable.iter().map(usable).collect::<Vec<_>>()),
    });
    environment.out.one(&object, || {
        let mut text = timeline(&answer.entries);
        if let Some(at) = verb.at {
            text.push_str(&format!("\n\n{}", usable_text(at, &answer.usable)));
        }
        text
    });
    Ok(())
}

fn entry(entry: &HistoryEntry) -> Value {
    json!({
        "time": show::time(entry.time.as_ref()),
        "what": entry.what,
        "license_id": entry.license_id,
        "item": entry.item,
        "serial": entry.serial,
        "quantity": entry.quantity,
        "activation_id": entry.activation_id,
        "counter": entry.counter,
        "expires_at": show::time(entry.expires_at.as_ref()),
        "why": entry.why,
    })
}

fn usable(usable: &Usable) -> Value {
    json!({
        "license_id": usable.license_id,
        "item": usable.item,
        "product_code": usable.product_code,
        "serial": usable.serial,
        "quantity": usable.quantity,
        "certainty": usable.certainty,
        "expires_at": show::time(usable.expires_at.as_ref()),
        "why": usable.why,
    })
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn timeline(entries: &[HistoryEntry]) -> String {
    if entries.is_empty() {
        return "nothing happened yet".to_owned();
    }
    let rows = entries
        .iter()
        .map(|entry| {
            vec![
                show::time_word(entry.time.as_ref()),
                entry.what.clone(),
                or_dash(&entry.item),
                if entry.quantity == 0 { "-".to_owned() } else { entry.quantity.to_string() },
                or_dash(&entry.serial),
                if entry.counter == 0 { "-".to_owned() } else { entry.counter.to_string() },
                show::time_word(entry.expires_at.as_ref()),
                entry.why.clone(),
            ]
        })
        .collect();
    output::table(&["time", "what", "item", "seats", "container", "counter", "ends", "why"], rows)
}

fn usable_text(at: Timestamp, usable: &[Usable]) -> String {
    if usable.is_empty() {
        return format!("at {at} nothing could be used");
    }
    let rows = usable
        .iter()
        .map(|usable| {
            vec![
                usable.item.clone(),
                usable.product_code.to_string(),
                show::seats(usable.quantity),
                or_dash(&usable.serial),
                usable.certainty.clone(),
                show::time_word(usable.expires_at.as_ref()),
                usable.why.clone(),
            ]
        })
        .collect();
    let headings = ["item", "product", "seats", "container", "certainty", "ends", "because"];
    format!("at {at} could be used:\n{}", output::table(&headings, rows))
}
