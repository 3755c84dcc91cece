//! Changes of containers in JSON and in words.

use lictor_api::activation::v1::{Activation, ActivationKind, ActivationState, InspectTicketResponse};
use lictor_licensing::ticket::TicketCode;
use serde_json::{Value, json};

use super::Vendor;
use crate::{output, show};

/// The word for how far a change is.
pub(crate) fn state_name(state: i32) -> &'static str {
    match ActivationState::try_from(state).unwrap_or_default() {
        ActivationState::Unspecified => "unknown",
        ActivationState::Requested => "requested",
        ActivationState::Reserved => "reserved",
        ActivationState::Issued => "issued",
        ActivationState::Completed => "completed",
        ActivationState::Confirmed => "confirmed",
        ActivationState::Refused => "refused",
        ActivationState::Stalled => "stalled",
    }
}

/// The word for what a change does.
pub(crate) fn kind_name(kind: i32) -> &'static str {
    match ActivationKind::try_from(kind).unwrap_or_default() {
        ActivationKind::Unspecified => "unknown",
        ActivationKind::Activate => "activate",
        ActivationKind::Push => "push",
        ActivationKind::Withdraw => "withdraw",
        ActivationKind::Return => "return",
        ActivationKind::Depart => "depart",
        ActivationKind::Arrive => "arrive",
        ActivationKind::Renew => "renew",
        ActivationKind::Replace => "replace",
        ActivationKind::Rebase => "rebase",
    }
}

/// What the ticket holds after the change; nothing when that cannot be asked.
pub(crate) async fn inspected(vendor: &Vendor, ticket: &TicketCode) -> InspectTicketResponse {
    vendor.inspect(ticket).await.unwrap_or_default()
}

/// A change with the keys of `activate`.
pub(crate) fn activation_object(activation: &Activation, holds: &InspectTicketResponse) -> Value {
    let licenses: Vec<Value> = activation
        .license_ids
        .iter()
        .map(|id| match holds.licenses.iter().find(|license| license.license_id == *id) {
            Some(license) => json!({
                "license_id": license.license_id,
                "item": license.item,
                "product_code": license.product_code,
                "quantity": license.quantity,
                "state": license.state,
            }),
            None => json!({ "license_id": id }),
        })
        .collect();
    json!({
        "activation_id": activation.activation_id,
        "kind": kind_name(activation.kind),
        "serial": activation.serial,
        "licenses": licenses,
        "state": state_name(activation.state),
        "firm_code": activation.firm_code,
        "ticket": activation.ticket,
        "from": activation.from,
        "to": activation.to,
        "reason": activation.reason,
        "waits_for": activation.waits_for,
        "next_attempt_at": show::time(activation.next_attempt_at.as_ref()),
        "transfer_id": activation.transfer_id,
        "created_at": show::time(activation.created_at.as_ref()),
    })
}

/// A change as a row of `activation list`.
pub(crate) fn activation_row(activation: &Activation) -> Vec<String> {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        activation.activation_id.clone(),
        kind_name(activation.kind).to_owned(),
        or_dash(&activation.serial),
        state_name(activation.state).to_owned(),
        or_dash(&activation.waits_for),
        show::time_word(activation.next_attempt_at.as_ref()),
        show::time_word(activation.created_at.as_ref()),
    ]
}

/// A change for people: one line, and its licenses when they are known.
pub(crate) fn activation_text(activation: &Activation, holds: &InspectTicketResponse) -> String {
    let way = match ActivationKind::try_from(activation.kind).unwrap_or_default() {
        ActivationKind::Return | ActivationKind::Depart | ActivationKind::Withdraw => "out of",
        ActivationKind::Rebase => "for",
        _ => "into",
    };
    let line = format!("{} {way} {}: {}", activation.activation_id, activation.serial, state_name(activation.state));
    let rows: Vec<Vec<String>> = holds
        .licenses
        .iter()
        .filter(|license| activation.license_ids.contains(&license.license_id))
        .map(|license| {
            vec![
                license.license_id.clone(),
                license.item.clone(),
                license.product_code.to_string(),
                show::seats(license.quantity),
                license.state.clone(),
            ]
        })
        .collect();
    let line = match activation.waits_for.as_str() {
        "" => line,
        what => format!("{line}; it waits for {what}"),
    };
    if rows.is_empty() {
        return line;
    }
    format!("{line}\n{}", output::table(&["license", "item", "product", "seats in all", "state"], rows))
}
