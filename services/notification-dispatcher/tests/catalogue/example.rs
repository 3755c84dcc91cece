//! Events made from descriptors: with everything set, with nothing set, and with something that nobody knows yet.

use prost::Message;
use protox::prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind as FieldKind, MessageDescriptor, Value,
};

use crate::kinds::Kind;

/// 2027-01-31T00:00:00Z.
const SECONDS: i64 = 1_801_353_600;

/// The encoded event with every field of its data set.
pub(crate) fn full(kind: &Kind) -> Vec<u8> {
    let mut event = envelope(kind);
    event.set_field(&kind.field, Value::Message(filled(&kind.message)));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    event.set_field_by_name("traceparent", Value::String(trace.to_owned()));
    event.encode_to_vec()
}

/// The encoded event with empty data.
pub(crate) fn least(kind: &Kind) -> Vec<u8> {
    let mut event = envelope(kind);
    event.set_field(&kind.field, Value::Message(DynamicMessage::new(kind.message.clone())));
    event.encode_to_vec()
}

/// The envelope with a field that no version has: what a newer service would send.
pub(crate) fn from_the_future(kind: &Kind) -> Vec<u8> {
    let mut bytes = envelope(kind).encode_to_vec();
    // Field 2,000, two bytes long.
    bytes.extend_from_slice(&[0x82, 0x7d, 0x02, 0x08, 0x01]);
    bytes
}

fn envelope(kind: &Kind) -> DynamicMessage {
    let mut event = DynamicMessage::new(kind.field.parent_message().clone());
    let texts = [
        ("id", "evt_01KG8Q2Y00000000000000000A"),
        ("type", kind.name.as_str()),
        ("source", "license-central"),
        ("subject", "subject-1"),
    ];
    for (name, text) in texts {
        event.set_field_by_name(name, Value::String(text.to_owned()));
    }
    event.set_field_by_name("aggregate_sequence", Value::U64(1));
    event.set_field_by_name("sequence", Value::U64(1));
    event.set_field_by_name("firm_code", Value::U32(6_000_001));
    let time = kind.field.parent_message().get_field_by_name("time").expect("a time");
    event.set_field(&time, value(&time));
    event
}

fn filled(message: &MessageDescriptor) -> DynamicMessage {
    let mut made = DynamicMessage::new(message.clone());
    if message.full_name() == "google.protobuf.Timestamp" {
        made.set_field_by_name("seconds", Value::I64(SECONDS));
        return made;
    }
    if message.full_name() == "google.protobuf.Duration" {
        made.set_field_by_name("seconds", Value::I64(86_400));
        return made;
    }
    for field in message.fields() {
        let one = value(&field);
        let set = if field.cardinality() == Cardinality::Repeated { Value::List(vec![one]) } else { one };
        made.set_field(&field, set);
    }
    made
}

fn value(field: &FieldDescriptor) -> Value {
    match field.kind() {
        FieldKind::String => Value::String(text(field.name()).to_owned()),
        FieldKind::Bool => Value::Bool(true),
        FieldKind::Uint32 => Value::U32(number(field.name())),
        FieldKind::Uint64 => Value::U64(u64::from(number(field.name()))),
        FieldKind::Enum(of) => Value::EnumNumber(of.values().nth(1).expect("a value with a meaning").number()),
        FieldKind::Message(of) => Value::Message(filled(&of)),
        other => panic!("no event has a field of kind {other:?} so far"),
    }
}

fn text(name: &str) -> &str {
    match name {
        "order_id" => "ord_01KG8Q2Y00000000000000000B",
        "license_id" | "license_ids" => "lic_01KG8Q2Y00000000000000000C",
        "into_license_id" | "merged_into" => "lic_01KG8Q2Y00000000000000000D",
        "ticket_id" => "tic_01KG8Q2Y00000000000000000E",
        "activation_id" => "act_01KG8Q2Y00000000000000000F",
        "allocation_id" => "alc_01KG8Q2Y00000000000000000G",
        "transfer_id" => "trf_01KG8Q2Y00000000000000000H",
        "destination_id" => "dst_01KG8Q2Y00000000000000000J",
        "ticket" => "7KQ2M-…",
        "serial" | "to_serial" => "130-4823901234",
        "from_serial" | "lent_by" => "130-1111111111",
        "container_id" | "fingerprint" => "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "customer" => "Nova GmbH",
        "item" => "editor",
        "kind" => "activate",
        "state" => "departed",
        "suspicion" => "fork",
        "reference" | "references" => "PO-4711",
        "subscription" => "Editor yearly",
        _ => "words for people",
    }
}

fn number(name: &str) -> u32 {
    match name {
        "firm_code" => 6_000_001,
        "product_code" => 201_001,
        "days_ahead" => 30,
        "quantity" => 5,
        "available" => 2,
        "epoch" => 1,
        _ => 7,
    }
}
