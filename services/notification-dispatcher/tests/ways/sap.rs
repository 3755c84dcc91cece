//! SAP over OData as a way.

use std::collections::BTreeMap;

use lictor_api::notification::v1::{SapTransmission, transmission::Kind};
use lictor_notification_dispatcher::{
    domain::outcome::{Attempt, AttemptResult},
    transmission::{Transmission, sap::SapSender},
};
use serde_json::json;

use crate::{
    odata::OData,
    shipments::{clock, sender, shipment},
};

fn wire(service: &OData) -> SapTransmission {
    SapTransmission {
        url: service.url.clone(),
        entity_set: "LicenseSet".to_owned(),
        user: "LICTOR".to_owned(),
        password: "s3cret".to_owned(),
        ..SapTransmission::default()
    }
}

async fn send(sender: &SapSender, wire: SapTransmission, number: u128) -> Attempt {
    let shipment = shipment(Kind::Sap(wire), number);
    let Transmission::Sap(way) = &*shipment.transmission else {
        panic!("a way to SAP");
    };
    sender.send(way, &shipment, &*clock()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_is_made_with_token_session_and_key() {
    let service = OData::start().await;
    let sender = SapSender::new(&sender());
    for number in 1..=3 {
        let attempt = send(&sender, wire(&service), number).await;
        assert_eq!((attempt.result, attempt.status), (AttemptResult::Taken, 201), "{attempt:?}");
    }
    let books = service.books.lock().expect("a lock");
    assert_eq!((books.entities.len(), books.tokens_given), (3, 1), "one token for all");
    assert_eq!(
        books.entities["evt_00000000000000000000000001"],
        json!({ "OrderId": "ord_1", "Item": "CAD", "LicenseId": "lic_1", "State": "available",
                "EventId": "evt_00000000000000000000000001" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_is_renewed_within_the_attempt_and_by_a_crowd_once() {
    let service = OData::start().await;
    let sender = SapSender::new(&sender());
    assert_eq!(send(&sender, wire(&service), 1).await.result, AttemptResult::Taken);
    service.end_sessions();
    let crowd = (2..10).map(|number| {
        let (sender, wire) = (sender.clone(), wire(&service));
        tokio::spawn(async move { send(&sender, wire, number).await })
    });
    for call in crowd.collect::<Vec<_>>() {
        let attempt = call.await.expect("a call");
        assert_eq!(attempt.result, AttemptResult::Taken, "{attempt:?}");
    }
    let books = service.books.lock().expect("a lock");
    assert_eq!((books.entities.len(), books.tokens_given), (9, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_counts_as_taken_and_is_not_made_twice() {
    let service = OData::start().await;
    let sender = SapSender::new(&sender());
    service.books.lock().expect("a lock").lose_next_answer = true;
    let attempt = send(&sender, wire(&service), 1).await;
    assert_eq!((attempt.result, attempt.status), (AttemptResult::Refused, 502));
    let attempt = send(&sender, wire(&service), 1).await;
    assert_eq!((attempt.result, attempt.status), (AttemptResult::Taken, 409), "{attempt:?}");
    service.books.lock().expect("a lock").duplicate_code = Some("ZLIC/007");
    let attempt = send(&sender, wire(&service), 1).await;
    assert_eq!((attempt.result, attempt.status), (AttemptResult::Refused, 400), "a code that nobody named");
    let named = SapTransmission { duplicate_codes: vec!["ZLIC/007".to_owned()], ..wire(&service) };
    let attempt = send(&sender, named, 1).await;
    assert_eq!(attempt.result, AttemptResult::Taken, "{attempt:?}");
    assert_eq!(service.books.lock().expect("a lock").entities.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_service_stand_in_the_record() {
    let service = OData::start().await;
    let sender = SapSender::new(&sender());
    let fields: BTreeMap<String, String> =
        [("EventId", "event_id"), ("Nonsense", "/data/item"), ("Quantity", "/data/quantity")]
            .map(|(field, source)| (field.to_owned(), source.to_owned()))
            .into();
    let attempt = send(&sender, SapTransmission { fields: fields.clone(), ..wire(&service) }, 1).await;
    assert_eq!(attempt.result, AttemptResult::Refused);
    assert_eq!(attempt.answer, "CM/002: Property Nonsense is invalid");
    let mut good = fields;
    good.remove("Nonsense");
    assert_eq!(send(&sender, SapTransmission { fields: good, ..wire(&service) }, 1).await.result, AttemptResult::Taken);
    let stranger = SapTransmission { password: "wrong".to_owned(), ..wire(&service) };
    service.end_sessions();
    let attempt = send(&sender, stranger, 2).await;
    assert_eq!((attempt.result, attempt.status), (AttemptResult::Refused, 401), "{attempt:?}");
    service.books.lock().expect("a lock").next = Some((410, "closed"));
    assert_eq!(send(&sender, wire(&service), 3).await.result, AttemptResult::Gone);
}
