//! Messages as JSON objects with the documented keys, and as words for people.

use std::collections::BTreeMap;
use std::time::Duration;

use lictor_api::central::v1 as central;
use lictor_api::server::v1::AccessMode;
use lictor_api::types::v1::{Allocation, Entry, License, LicenseState, Refusal, RefusalReason};
use lictor_clock::{Timestamp, duration};
use serde_json::{Value, json};

pub(crate) use crate::table::sheet;
use crate::table::table;

/// A time as RFC 3339 in UTC; empty time = null.
pub(crate) fn time(value: Option<&prost_types::Timestamp>) -> Value {
    value.map_or(Value::Null, |value| Value::String(timestamp(*value).to_string()))
}

/// A time for people; `-` when there is none.
pub(crate) fn time_word(value: Option<&prost_types::Timestamp>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| Timestamp::from_seconds(timestamp(*value).as_seconds()).to_string())
}

fn timestamp(value: prost_types::Timestamp) -> Timestamp {
    let micros = value.seconds.saturating_mul(1_000_000).saturating_add(i64::from(value.nanos) / 1_000);
    Timestamp::from_micros(micros)
}

/// The word for an access mode.
pub(crate) fn mode(mode: i32) -> &'static str {
    match AccessMode::try_from(mode).unwrap_or_default() {
        AccessMode::Unspecified => "unknown",
        AccessMode::UserLimit => "user-limit",
        AccessMode::StationShare => "station-share",
        AccessMode::Exclusive => "exclusive",
        AccessMode::NoUserLimit => "no-user-limit",
    }
}

/// A license with the keys of `license list`.
pub(crate) fn license(license: &License) -> Value {
    let allocations: Vec<Value> = license
        .allocations
        .iter()
        .map(|allocation| {
            json!({
                "allocation_id": allocation.allocation_id,
                "container": allocation.serial,
                "quantity": allocation.quantity,
                "state": LicenseState::word_of(allocation.state),
                "expires_at": time(allocation.expires_at.as_ref()),
                "lent_until": time(allocation.lent_until.as_ref()),
                "lent_by": allocation.lent_by,
                "blocked": allocation.blocked,
            })
        })
        .collect();
    json!({
        "license_id": license.license_id,
        "firm_code": license.firm_code,
        "ticket": license.ticket,
        "item": license.item,
        "product_code": license.product_code,
        "quantity": license.quantity,
        "state": LicenseState::word_of(license.state),
        "allocations": allocations,
        "expires_at": time(license.expires_at.as_ref()),
        "order_id": license.order_id,
        "customer": license.customer,
        "created_at": time(license.created_at.as_ref()),
        "available": license.available,
        "subscription": license.subscription,
        "merged_into": license.merged_into,
        "remaining": license.remaining.as_ref().map(span),
        "renews": license.renews,
        "renewal_cancelled_at": time(license.renewal_cancelled_at.as_ref()),
    })
}

/// A span as text, such as `12d4h`; negative ones are none.
fn span(value: &prost_types::Duration) -> String {
    duration::format(Duration::from_secs(u64::try_from(value.seconds).unwrap_or(0)))
}

/// What else is to be said about a license: only what applies.
pub(crate) fn license_terms(license: &License) -> Vec<(&'static str, String)> {
    let mut terms = Vec::new();
    if !license.subscription.is_empty() {
        terms.push(("subscription", license.subscription.clone()));
    }
    if !license.merged_into.is_empty() {
        terms.push(("merged into", license.merged_into.clone()));
    }
    if license.available > 0 && license.available < license.quantity {
        terms.push(("available", format!("{} of its seats", license.available)));
    }
    if let Some(remaining) = &license.remaining {
        terms.push(("remaining", span(remaining)));
    }
    if license.renews {
        terms.push(("renews", "before its end, as long as it is not cancelled".to_owned()));
    }
    if license.renewal_cancelled_at.is_some() {
        terms.push(("renewal cancelled", time_word(license.renewal_cancelled_at.as_ref())));
    }
    terms
}

/// Who lent a part, and until when; `-` when nobody did.
pub(crate) fn loan(allocation: &Allocation) -> String {
    match allocation.lent_until {
        Some(_) => format!("by {} until {}", allocation.lent_by, time_word(allocation.lent_until.as_ref())),
        None => "-".to_owned(),
    }
}

/// Licenses as a table, below a sheet that names their ticket.
pub(crate) fn licenses_of_ticket<'a>(licenses: impl Iterator<Item = &'a License>) -> String {
    let (_, headings) = LICENSE_HEADINGS.split_last().unwrap_or((&"", &[]));
    let rows = licenses.map(|license| license_row(license).into_iter().take(headings.len()).collect());
    table(headings, rows.collect())
}

/// Headings of [`license_row`]; the ticket is the last one.
pub(crate) const LICENSE_HEADINGS: &[&str] =
    &["license", "item", "product", "seats", "state", "containers", "expires", "ticket"];

/// A license as a table row.
pub(crate) fn license_row(license: &License) -> Vec<String> {
    let containers: Vec<String> = license
        .allocations
        .iter()
        .map(|allocation| {
            format!(
                "{} ({}, {}{})",
                allocation.serial,
                seats(allocation.quantity),
                LicenseState::word_of(allocation.state),
                if allocation.blocked { ", blocked" } else { "" }
            )
        })
        .collect();
    vec![
        license.license_id.clone(),
        license.item.clone(),
        license.product_code.to_string(),
        seats(license.quantity),
        LicenseState::word_of(license.state).to_owned(),
        if containers.is_empty() { "-".to_owned() } else { containers.join("\n") },
        time_word(license.expires_at.as_ref()),
        license.ticket.clone(),
    ]
}

/// A quantity in words.
pub(crate) fn seats(quantity: u32) -> String {
    if quantity == 0 { "not counted".to_owned() } else { quantity.to_string() }
}

/// A ticket as it stands inside an order.
pub(crate) fn ticket(ticket: &central::Ticket) -> Value {
    let licenses: Vec<Value> = ticket
        .licenses
        .iter()
        .map(|license| {
            json!({
                "license_id": license.license_id,
                "item": license.item,
                "product_code": license.product_code,
                "quantity": license.quantity,
                "state": LicenseState::word_of(license.state),
            })
        })
        .collect();
    json!({ "ticket": ticket.ticket, "ticket_id": ticket.ticket_id, "licenses": licenses })
}

/// An entry with the keys of `server list`.
pub(crate) fn entry(entry: &Entry) -> Value {
    let effective: BTreeMap<&str, &str> =
        entry.effective.iter().map(|option| (option.name.as_str(), option.value.as_str())).collect();
    let sources: BTreeMap<&str, &str> =
        entry.effective.iter().map(|option| (option.name.as_str(), option.source.as_str())).collect();
    json!({
        "product_code": entry.product_code,
        "feature_map": entry.feature_map,
        "text": entry.text,
        "quantity": entry.quantity,
        "free": entry.free,
        "counted": entry.counted,
        "units_left": entry.units_left,
        "module_of": entry.module_of,
        "effective": effective,
        "sources": sources,
        "license_id": entry.license_id,
    })
}

/// Headings of [`entry_row`].
pub(crate) const ENTRY_HEADINGS: &[&str] = &["product", "features", "text", "seats", "free", "license", "options"];

/// Options that have a column of their own.
const OWN_COLUMN: &[&str] = &["product_code", "feature_map", "text"];

/// A value as people read it: what is not set is left out, brackets and quotes too.
fn plain(value: &str) -> String {
    fn words(value: &Value) -> String {
        match value {
            Value::Array(all) => all.iter().map(words).collect::<Vec<_>>().join(", "),
            Value::Object(map) => {
                let set = map.iter().filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)));
                let named = set.map(|(name, value)| match value {
                    Value::Bool(true) => name.clone(),
                    value => format!("{name} {}", words(value)),
                });
                named.collect::<Vec<_>>().join("; ")
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
    serde_json::from_str(value).map_or_else(|_| value.to_owned(), |value| words(&value))
}

/// An entry as a table row; modules are indented under their parent.
pub(crate) fn entry_row(entry: &Entry) -> Vec<String> {
    let options: Vec<String> = entry
        .effective
        .iter()
        .filter(|option| !OWN_COLUMN.contains(&option.name.as_str()))
        .map(|option| {
            let from = if option.source == "parent" { " (of its product item)" } else { "" };
            format!("{}: {}{from}", option.name, plain(&option.value))
        })
        .collect();
    let units = entry.units_left.map(|left| format!("units left: {left}"));
    let options: Vec<String> = units.into_iter().chain(options).collect();
    let counted = |number: u32| if entry.counted { number.to_string() } else { "-".to_owned() };
    vec![
        match entry.module_of {
            Some(_) => format!("  └ {}", entry.product_code),
            None => entry.product_code.to_string(),
        },
        format!("{:#010x}", entry.feature_map),
        entry.text.clone(),
        counted(entry.quantity),
        counted(entry.free),
        entry.license_id.clone(),
        options.join("\n"),
    ]
}

/// One reason with the documented keys.
pub(crate) fn reason(reason: &RefusalReason) -> Value {
    json!({
        "serial": reason.serial,
        "product_code": reason.product_code,
        "code": reason.code,
        "reason": reason.reason,
        "holders": reason.holders,
        "free_at": time(reason.free_at.as_ref()),
        "instead": reason.instead,
        "server": reason.server,
    })
}

/// A refusal with the documented keys.
pub(crate) fn refusal_object(refusal: &Refusal) -> Value {
    json!({ "refused": true, "reasons": refusal.reasons.iter().map(reason).collect::<Vec<_>>() })
}

/// A refusal for people: one line per candidate.
pub(crate) fn refusal_lines(refusal: &Refusal) -> Vec<String> {
    refusal
        .reasons
        .iter()
        .map(|reason| {
            let mut text = String::new();
            if !reason.server.is_empty() {
                text.push_str(&format!("{}: ", reason.server));
            }
            if !reason.serial.is_empty() {
                text.push_str(&format!("{}: ", reason.serial));
            }
            text.push_str(&format!("{} (code {})", reason.reason, reason.code));
            if !reason.holders.is_empty() {
                text.push_str(&format!("; held by {}", reason.holders.join(", ")));
            }
            if reason.free_at.is_some() {
                text.push_str(&format!("; free at {} at the earliest", time_word(reason.free_at.as_ref())));
            }
            if !reason.instead.is_empty() {
                text.push_str(&format!("; {}", reason.instead));
            }
            text
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(object: &Value) -> Vec<&str> {
        object.as_object().map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    fn has(object: &Value, wanted: &[&str]) {
        for key in wanted {
            assert!(keys(object).contains(key), "{key} is missing in {object}");
        }
    }

    #[test]
    fn objects_carry_the_documented_keys() {
        let sold = License { allocations: vec![Default::default()], ..License::default() };
        let object = license(&sold);
        has(
            &object,
            &["license_id", "ticket", "item", "product_code", "quantity", "state", "allocations", "expires_at"],
        );
        has(&object["allocations"][0], &["container", "quantity", "state"]);
        let object = ticket(&central::Ticket { licenses: vec![sold], ..central::Ticket::default() });
        has(&object, &["ticket", "licenses"]);
        has(&object["licenses"][0], &["license_id", "item", "product_code", "quantity", "state"]);
        has(
            &entry(&Entry::default()),
            &[
                "product_code",
                "feature_map",
                "text",
                "quantity",
                "free",
                "units_left",
                "module_of",
                "effective",
                "sources",
            ],
        );
        let object = refusal_object(&Refusal { reasons: vec![RefusalReason::default()] });
        assert_eq!(object["refused"], true);
        has(&object["reasons"][0], &["serial", "product_code", "code", "reason", "holders", "free_at", "instead"]);
    }

    #[test]
    fn times_are_rfc_3339_in_utc_and_none_is_null() {
        let at = prost_types::Timestamp { seconds: 1_800_000_000, nanos: 500_000_000 };
        assert_eq!(time(Some(&at)), "2027-01-15T08:00:00.500000Z");
        assert_eq!(time(None), Value::Null);
        assert_eq!(time_word(Some(&at)), "2027-01-15T08:00:00Z");
    }

    #[test]
    fn values_are_shown_without_brackets_and_without_what_is_not_set() {
        let quantity = r#"{"allow":["user-limit","exclusive"],"allow_wan":true,"count":2,"local_only":false}"#;
        assert_eq!(plain(quantity), "allow user-limit, exclusive; allow_wan; count 2");
        assert_eq!(plain("30d"), "30d");
        assert_eq!(plain("7"), "7");
    }

    #[test]
    fn a_refusal_says_everything_in_one_line_per_candidate() {
        let refusal = Refusal {
            reasons: vec![RefusalReason {
                serial: "130-1".to_owned(),
                code: 212,
                reason: "no seat is free".to_owned(),
                holders: vec!["sim on box".to_owned()],
                instead: "wait".to_owned(),
                ..RefusalReason::default()
            }],
        };
        assert_eq!(refusal_lines(&refusal), ["130-1: no seat is free (code 212); held by sim on box; wait"]);
    }
}
