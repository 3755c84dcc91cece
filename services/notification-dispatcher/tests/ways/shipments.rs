//! What is sent, and the senders that send it.

use std::{sync::Arc, time::Duration};

use lictor_api::notification::v1::{self as wire, transmission::Kind};
use lictor_clock::{SharedClock, SystemClock};
use lictor_licensing::id::DestinationId;
use lictor_notification_dispatcher::{
    domain::allow::AllowList,
    transmission::{Shipment, Transmission, guard::SystemNames, webhook},
};

pub(crate) fn clock() -> SharedClock {
    lictor_runtime::install_crypto_provider();
    SystemClock::shared()
}

/// The test machine itself is open, as for an operator who named it.
pub(crate) fn local() -> Arc<AllowList> {
    Arc::new("127.0.0.0/8".parse().expect("a list"))
}

pub(crate) fn options(allow: Arc<AllowList>, extra_ca: Option<String>) -> webhook::WebhookOptions {
    lictor_runtime::install_crypto_provider();
    webhook::WebhookOptions { deadline: Duration::from_secs(10), allow, extra_ca }
}

pub(crate) fn sender() -> webhook::Sender {
    webhook::Sender::new(options(local(), None), Arc::new(SystemNames)).expect("a sender")
}

pub(crate) fn way(kind: Kind) -> Arc<Transmission> {
    let wire = wire::Transmission { kind: Some(kind) };
    Arc::new(Transmission::read(&wire, Some(&local())).expect("a way"))
}

/// A license event on its way.
pub(crate) fn shipment(kind: Kind, number: u128) -> Shipment {
    let event_id = format!("evt_{number:026}");
    let body = serde_json::json!({
        "specversion": "1.0",
        "id": event_id,
        "type": "lictor.license.created.v1",
        "subject": "lic_1",
        "time": "2026-11-22T12:00:00Z",
        "source": "/lictor/license-central",
        "data": {
            "license_id": "lic_1", "order_id": "ord_1", "item": "CAD", "quantity": 5, "state": "available",
            "customer": "Müller & Söhne",
        },
    });
    Shipment {
        event_id,
        destination_id: DestinationId::from_u128(7),
        transmission: way(kind),
        keys: Arc::default(),
        body: body.to_string().into(),
        content_type: "application/cloudevents+json; charset=utf-8",
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        number: 1,
        timeout: None,
    }
}
