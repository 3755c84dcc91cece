//! The body of a notification: CloudEvents 1.0 as structured JSON, with `timestamp` beside `time` so that readers of
//! Standard Webhooks find `type`, `timestamp` and `data`. It is rendered once and sent byte for byte on every attempt.

use serde_json::{Map, Value, json};

use super::{event::Event, event_data};

/// The content type of a body.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// The content type of a body that a template made.
pub const MAPPED_TYPE: &str = "application/json";

/// Renders the body of an event. The order of the keys is part of the bytes and does not matter to readers.
pub fn body(event: &Event) -> Vec<u8> {
    let time = event.time.to_string();
    let mut attributes = Map::new();
    let mut put = |name: &str, value: Value| {
        attributes.insert(name.to_owned(), value);
    };
    put("specversion", json!("1.0"));
    put("id", json!(event.id));
    put("type", json!(event.kind));
    // A source is a URI reference: the service's name under a path of our own.
    put("source", json!(format!("/lictor/{}", event.source)));
    put("subject", json!(event.subject));
    put("time", json!(time));
    put("timestamp", json!(time));
    put("datacontenttype", json!("application/json"));
    // Extension attributes are lower-case letters and digits. A sequence sorts as text by its own specification.
    put("sequence", json!(format!("{:020}", event.aggregate_sequence)));
    put("firmcode", json!(event.firm_code));
    if let Some(traceparent) = &event.traceparent {
        put("traceparent", json!(traceparent));
    }
    put("data", event_data::json_of(&event.data));
    Value::Object(attributes).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use lictor_api::{event::v1 as wire, types::v1 as types};
    use lictor_licensing::id::EventId;

    use super::*;

    #[test]
    fn body_speaks_cloudevents_and_standard_webhooks() {
        let license = types::License {
            license_id: "lic_1".to_owned(),
            state: types::LicenseState::Available.into(),
            quantity: 3,
            expires_at: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            ..types::License::default()
        };
        let event = Event {
            id: EventId::from_u128(5),
            kind: "lictor.license.created.v1".to_owned(),
            source: "license-central".to_owned(),
            subject: "lic_1".to_owned(),
            aggregate_sequence: 2,
            sequence: 40,
            time: "2027-01-31T00:00:00Z".parse().expect("a time"),
            traceparent: None,
            firm_code: 10,
            data: wire::event::Data::LicenseCreated(wire::LicenseCreated { license: Some(license) }),
        };
        let body: Value = serde_json::from_slice(&body(&event)).expect("JSON");
        assert_eq!(body["specversion"], "1.0");
        assert_eq!(body["id"], "evt_00000000000000000000000005");
        assert_eq!(body["type"], "lictor.license.created.v1");
        assert_eq!(body["source"], "/lictor/license-central");
        assert_eq!(body["timestamp"], "2027-01-31T00:00:00Z");
        assert_eq!(body["timestamp"], body["time"]);
        assert_eq!(body["sequence"], "00000000000000000002");
        assert_eq!(body["data"]["state"], "available");
        assert_eq!(body["data"]["expires_at"], "2027-01-15T08:00:00Z");
        assert!(body.get("traceparent").is_none());
    }
}
