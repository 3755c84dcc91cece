//! The `data` of a notification: what an event carries, as JSON with the names of the contract. Times are RFC 3339 UTC,
//! states and kinds are words, an option that is not set is left out.

use lictor_api::{
    convert::from_timestamp,
    event::v1::{self as wire, event::Data},
    types::v1 as types,
};
use serde_json::{Map, Value, json};

/// The JSON object for what an event carries.
pub(super) fn json_of(data: &Data) -> Value {
    match data {
        Data::OrderCreated(order) => order_created(order),
        Data::TicketCreated(ticket) => json!({
            "ticket_id": ticket.ticket_id,
            "ticket": ticket.ticket,
            "order_id": ticket.order_id,
        }),
        Data::LicenseCreated(created) => with_license(created.license.as_ref(), []),
        Data::LicenseChanged(changed) => with_license(
            changed.license.as_ref(),
            [("previous", json!(types::LicenseState::word_of(changed.previous)))],
        ),
        Data::LicenseWithdrawn(withdrawn) => {
            with_license(withdrawn.license.as_ref(), [("pending_in_container", json!(withdrawn.pending_in_container))])
        }
        Data::ActivationCompleted(done) => activation(
            [&done.activation_id, &done.kind, &done.ticket, &done.serial, &done.container_id],
            &done.license_ids,
            done.counter,
        ),
        Data::ActivationConfirmed(done) => activation(
            [&done.activation_id, &done.kind, &done.ticket, &done.serial, &done.container_id],
            &done.license_ids,
            done.counter,
        ),
        Data::UpdateIssued(update) => json!({
            "container_id": update.container_id,
            "serial": update.serial,
            "epoch": update.epoch,
            "from": update.from,
            "to": update.to,
            "reference": update.reference,
        }),
        Data::UpdateConfirmed(update) => json!({
            "container_id": update.container_id,
            "serial": update.serial,
            "epoch": update.epoch,
            "counter": update.counter,
            "references": update.references,
        }),
        Data::ContainerSuspected(container) => json!({
            "container_id": container.container_id,
            "serial": container.serial,
            "suspicion": container.suspicion,
            "evidence": container.evidence,
        }),
        Data::ContainerRegistered(container) => json!({
            "container_id": container.container_id,
            "serial": container.serial,
            "kind": types::ContainerKind::word_of(container.kind),
        }),
        Data::LicenseExpiring(expiring) => {
            let mut object = dated(expiring.license.as_ref(), "expires_at", expiring.expires_at.as_ref());
            object.insert("days_ahead".to_owned(), json!(expiring.days_ahead));
            Value::Object(object)
        }
        Data::LicenseExpired(expired) => {
            Value::Object(dated(expired.license.as_ref(), "expired_at", expired.expired_at.as_ref()))
        }
        Data::LicenseRenewed(renewed) => {
            Value::Object(dated(renewed.license.as_ref(), "expires_at", renewed.expires_at.as_ref()))
        }
        Data::LicenseMerged(merged) => {
            let mut object = dated(merged.license.as_ref(), "expires_at", merged.expires_at.as_ref());
            object.insert("into_license_id".to_owned(), json!(merged.into_license_id));
            Value::Object(object)
        }
        Data::TransferChanged(transfer) => {
            let mut map = object(json!({
                "transfer_id": transfer.transfer_id,
                "license_id": transfer.license_id,
                "quantity": transfer.quantity,
                "from": transfer.from_serial,
                "to": transfer.to_serial,
                "state": transfer.state,
            }));
            insert_time(&mut map, "lend_until", transfer.lend_until.as_ref());
            Value::Object(map)
        }
        Data::ContainerRebased(container) => json!({
            "container_id": container.container_id,
            "serial": container.serial,
            "epoch": container.epoch,
            "reason": container.reason,
        }),
        Data::ContainerBlocked(container) => json!({
            "container_id": container.container_id,
            "serial": container.serial,
            "reason": container.reason,
        }),
        Data::ContainerAssigned(container) => json!({
            "serial": container.serial,
            "customer": container.customer,
        }),
        Data::RootRotated(root) => json!({
            "version": root.version,
            "fingerprint": root.fingerprint,
        }),
        Data::DestinationDisabled(destination) => json!({
            "destination_id": destination.destination_id,
            "reason": destination.reason,
        }),
    }
}

fn order_created(order: &wire::OrderCreated) -> Value {
    let lines: Vec<Value> = order
        .lines
        .iter()
        .map(|line| json!({ "item": line.item, "quantity": line.quantity, "license_ids": line.license_ids }))
        .collect();
    let mut object = object(json!({ "order_id": order.order_id, "customer": order.customer, "lines": lines }));
    insert_text(&mut object, "reference", &order.reference);
    Value::Object(object)
}

fn activation(names: [&String; 5], license_ids: &[String], counter: u64) -> Value {
    let [activation_id, kind, ticket, serial, container_id] = names;
    json!({
        "activation_id": activation_id,
        "kind": kind,
        "ticket": ticket,
        "serial": serial,
        "container_id": container_id,
        "license_ids": license_ids,
        "counter": counter,
    })
}

fn with_license<const N: usize>(license: Option<&types::License>, more: [(&str, Value); N]) -> Value {
    let mut object = license.map(license_object).unwrap_or_default();
    for (name, value) in more {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

fn license_object(license: &types::License) -> Map<String, Value> {
    let allocations: Vec<Value> = license.allocations.iter().map(allocation_object).collect();
    let mut map = object(json!({
        "license_id": license.license_id,
        "firm_code": license.firm_code,
        "ticket": license.ticket,
        "item": license.item,
        "product_code": license.product_code,
        "quantity": license.quantity,
        "state": types::LicenseState::word_of(license.state),
        "allocations": allocations,
        "order_id": license.order_id,
        "customer": license.customer,
        "available": license.available,
        "renews": license.renews,
    }));
    insert_time(&mut map, "expires_at", license.expires_at.as_ref());
    insert_time(&mut map, "created_at", license.created_at.as_ref());
    insert_time(&mut map, "renewal_cancelled_at", license.renewal_cancelled_at.as_ref());
    insert_text(&mut map, "subscription", &license.subscription);
    insert_text(&mut map, "merged_into", &license.merged_into);
    if let Some(remaining) = &license.remaining {
        map.insert("remaining_seconds".to_owned(), json!(remaining.seconds));
    }
    map
}

fn allocation_object(allocation: &types::Allocation) -> Value {
    let mut map = object(json!({
        "allocation_id": allocation.allocation_id,
        "container": allocation.serial,
        "container_id": allocation.container_id,
        "quantity": allocation.quantity,
        "state": types::LicenseState::word_of(allocation.state),
        "blocked": allocation.blocked,
    }));
    insert_time(&mut map, "expires_at", allocation.expires_at.as_ref());
    insert_time(&mut map, "lent_until", allocation.lent_until.as_ref());
    insert_text(&mut map, "lent_by", &allocation.lent_by);
    Value::Object(map)
}

fn dated(
    license: Option<&types::License>,
    name: &'static str,
    time: Option<&prost_types::Timestamp>,
) -> Map<String, Value> {
    let mut map = license.map(license_object).unwrap_or_default();
    insert_time(&mut map, name, time);
    map
}

fn insert_time(map: &mut Map<String, Value>, name: &str, time: Option<&prost_types::Timestamp>) {
    if let Some(at) = time.and_then(from_timestamp) {
        map.insert(name.to_owned(), json!(at.to_string()));
    }
}

/// A text that stands for nothing when it is empty is left out.
fn insert_text(map: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        map.insert(name.to_owned(), json!(text));
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
