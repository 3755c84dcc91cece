//! From a descriptor to a JSON Schema, by the few rules that the body follows.

use lictor_api::types::v1::{ContainerKind, LicenseState};
use protox::prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind as FieldKind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::{
    body_of, example,
    kinds::{Kind, comment},
};

const LICENSE: &str = "lictor.types.v1.License";
const TIMESTAMP: &str = "google.protobuf.Timestamp";
const DURATION: &str = "google.protobuf.Duration";

/// Fields that have another name outside.
const RENAMED: &[(&str, &str, &str)] = &[
    ("lictor.types.v1.Allocation", "serial", "container"),
    (LICENSE, "remaining", "remaining_seconds"),
    ("lictor.event.v1.TransferChanged", "from_serial", "from"),
    ("lictor.event.v1.TransferChanged", "to_serial", "to"),
];

/// A member of a JSON object.
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) schema: Value,
    pub(crate) about: String,
    /// What its place in a list of fields says about it.
    pub(crate) kind: String,
}

/// The members of the object that a message becomes.
pub(crate) fn properties(message: &MessageDescriptor) -> Vec<Property> {
    let mut properties = Vec::new();
    for field in message.fields() {
        // The licence that an event is about lies open in the data.
        if field.name() == "license" && type_name(&field) == Some(LICENSE.to_owned()) {
            let license = field.kind().as_message().cloned().expect("a message");
            properties.extend(self::properties(&license));
        } else {
            properties.push(property(message, &field));
        }
    }
    properties
}

fn property(message: &MessageDescriptor, field: &FieldDescriptor) -> Property {
    let renamed = RENAMED.iter().find(|(of, name, _)| *of == message.full_name() && *name == field.name());
    let name = renamed.map_or(field.name(), |(_, _, outside)| outside).to_owned();
    let about = comment(&message.parent_file(), field.path());
    let (mut schema, mut kind) = value(&field.kind());
    if field.cardinality() == Cardinality::Repeated {
        schema = json!({ "type": "array", "items": schema });
        kind = format!("list of {kind}");
    }
    if let (false, Some(map)) = (about.is_empty(), schema.as_object_mut()) {
        map.insert("description".to_owned(), json!(about));
    }
    Property { name, schema, about, kind }
}

fn value(kind: &FieldKind) -> (Value, String) {
    match kind {
        FieldKind::String => (json!({ "type": "string" }), "text".to_owned()),
        FieldKind::Bool => (json!({ "type": "boolean" }), "true or false".to_owned()),
        FieldKind::Uint32 | FieldKind::Uint64 => (json!({ "type": "integer", "minimum": 0 }), "number".to_owned()),
        FieldKind::Enum(of) => {
            let words = words(of);
            (json!({ "type": "string", "enum": words }), words.join(", "))
        }
        FieldKind::Message(of) if of.full_name() == TIMESTAMP => {
            (json!({ "type": "string", "format": "date-time" }), "time".to_owned())
        }
        FieldKind::Message(of) if of.full_name() == DURATION => (json!({ "type": "integer" }), "seconds".to_owned()),
        FieldKind::Message(of) => (object(of), of.name().to_owned()),
        other => panic!("no event has a field of kind {other:?} so far: add the rule here and in event_data"),
    }
}

fn words(of: &EnumDescriptor) -> Vec<&'static str> {
    let word = match of.full_name() {
        "lictor.types.v1.LicenseState" => LicenseState::word_of,
        "lictor.types.v1.ContainerKind" => ContainerKind::word_of,
        other => panic!("the words of {other} are not known here"),
    };
    of.values().map(|value| word(value.number())).collect()
}

/// The schema of a nested object.
fn object(message: &MessageDescriptor) -> Value {
    let members: Map<String, Value> = properties(message).into_iter().map(|one| (one.name, one.schema)).collect();
    json!({ "type": "object", "properties": members })
}

/// The schema of the whole body of a type.
pub(crate) fn of(kind: &Kind) -> Value {
    let mut data = object(&kind.message);
    // What is always there is what is there when nothing was set.
    let least = body_of(&example::least(kind));
    let required = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    data["required"] = json!(required(&least["data"]));
    let described = |schema: Value, about: &str| {
        let mut schema = schema;
        schema["description"] = json!(about);
        schema
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:lictor:event:{}", kind.name),
        "title": kind.name,
        "description": kind.about,
        "type": "object",
        "required": required(&least),
        "properties": {
            "specversion": { "const": "1.0" },
            "id": described(json!({ "type": "string", "pattern": "^evt_" }), "The same on every delivery: dedupe by it."),
            "type": { "const": kind.name },
            "source": described(json!({ "type": "string" }), "The service that announced it."),
            "subject": described(json!({ "type": "string" }), &kind.subject),
            "time": described(json!({ "type": "string", "format": "date-time" }), "When it happened."),
            "timestamp": described(json!({ "type": "string", "format": "date-time" }), "The same as time."),
            "datacontenttype": { "const": "application/json" },
            "sequence": described(
                json!({ "type": "string", "pattern": "^[0-9]{20}$" }),
                "1, 2, 3 … per subject, with leading zeros."
            ),
            "firmcode": described(json!({ "type": "integer", "minimum": 0 }), "The vendor; 0 for the installation."),
            "traceparent": described(json!({ "type": "string" }), "W3C trace context of the change."),
            "data": data,
        },
        "examples": [body_of(&example::full(kind))],
    })
}

fn type_name(field: &FieldDescriptor) -> Option<String> {
    field.kind().as_message().map(|message| message.full_name().to_owned())
}
