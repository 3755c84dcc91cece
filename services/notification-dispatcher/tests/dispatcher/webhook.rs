//! What a receiver gets.

use lictor_notification_dispatcher::domain::secret::SigningSecret;

use crate::{
    receiver::{Answer, Receiver},
    world::World,
};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn webhook_is_a_signed_cloudevent_in_the_trace_of_the_change() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(204, "")).await;
    let dispatcher = world.start().await;
    let (destination, secret) = dispatcher.add(&receiver.url(), &[]).await;
    let event = world.producer.announce_with("lic_1", TRACE);

    let taken = receiver.until_taken(1).await;
    let request = &taken[0];
    assert_eq!(request.id(), event.id);
    let secret: SigningSecret = secret.parse().expect("a whsec_ secret");
    let seconds: i64 = request.header("webhook-timestamp").parse().expect("seconds");
    assert_eq!(request.header("webhook-signature"), secret.sign(&event.id, seconds, &request.body));
    assert!((world.clock.now().as_seconds() - seconds).abs() < 300);
    assert_eq!(request.header("traceparent")[..36], TRACE[..36], "the trace goes on");
    assert_eq!(request.header("content-type"), "application/cloudevents+json; charset=utf-8");
    let body = request.json();
    assert_eq!(body["specversion"], "1.0");
    assert_eq!(body["type"], "lictor.license.changed.v1");
    assert_eq!(body["timestamp"], "2027-01-15T08:00:00Z");

    let done = dispatcher.until(&destination, "the delivery is done", |all| all.len() == 1 && all[0].state == 3).await;
    let attempt = done[0].last_attempt.as_ref().expect("an attempt on record");
    assert_eq!((attempt.status, attempt.result.as_str(), attempt.answer.as_str()), (204, "taken", ""));
    assert_eq!(dispatcher.destination(&destination).await.backlog, 0);
    dispatcher.stop().await;
}

#[tokio::test]
async fn body_and_id_stay_the_same_over_all_attempts() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(500, "")).await;
    let dispatcher = world.start().await;
    let (_, secret) = dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce("lic_1");
    receiver.until("three attempts", |all| all.len() >= 3).await;
    receiver.answer(Answer::Status(200, ""));
    receiver.until_taken(1).await;

    let all = receiver.all();
    let secret: SigningSecret = secret.parse().expect("a whsec_ secret");
    for request in &all {
        assert_eq!(request.body, all[0].body);
        assert_eq!(request.id(), all[0].id());
        let seconds = request.header("webhook-timestamp").parse().expect("seconds");
        assert_eq!(request.header("webhook-signature"), secret.sign(&request.id(), seconds, &request.body));
    }
    dispatcher.stop().await;
}

#[tokio::test]
async fn destination_gets_only_the_types_that_it_wants() {
    let world = World::new().await;
    let (licenses, orders) =
        (Receiver::start(Answer::Status(200, "")).await, Receiver::start(Answer::Status(200, "")).await);
    let dispatcher = world.start().await;
    dispatcher.add(&licenses.url(), &["lictor.license.*"]).await;
    dispatcher.add(&orders.url(), &["lictor.order.created.v1"]).await;
    world.producer.announce_many(5, 5);
    licenses.until_taken(5).await;
    assert!(orders.all().is_empty());
    dispatcher.stop().await;
}
