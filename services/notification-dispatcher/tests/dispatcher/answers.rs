//! Receivers that answer badly.

use std::time::Duration;

use lictor_api::notification::v1::{Delivery, DisableDestinationRequest, EnableDestinationRequest};

use crate::{
    receiver::{Answer, Receiver},
    world::{World, until},
};

/// The first attempt's record at a receiver that answers so.
async fn record_of(answer: Answer) -> (Delivery, usize) {
    let mut world = World::new().await;
    world.settings.webhook_deadline = Duration::from_millis(300);
    world.settings.schedule = "1h".parse().expect("waits");
    let receiver = Receiver::start(answer).await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce("lic_1");
    let recorded = dispatcher
        .until(&destination, "an attempt on record", |all| all.first().is_some_and(|one| one.last_attempt.is_some()))
        .await;
    dispatcher.stop().await;
    (recorded[0].clone(), receiver.all().len())
}

#[tokio::test]
async fn each_bad_answer_is_a_failure_of_its_class() {
    for (answer, result, status) in [
        (Answer::Hang, "timeout", 0),
        (Answer::Drip, "timeout", 0),
        (Answer::Half, "truncated", 200),
        (Answer::Close, "truncated", 0),
        (Answer::Noise, "protocol", 0),
        (Answer::Status(500, ""), "refused", 500),
        (Answer::Status(404, ""), "refused", 404),
    ] {
        let (delivery, _) = record_of(answer.clone()).await;
        let attempt = delivery.last_attempt.expect("an attempt");
        assert_eq!((attempt.result.as_str(), attempt.status), (result, status), "{answer:?}: {}", attempt.answer);
        assert_eq!(delivery.state, 1, "{answer:?}: it is due again");
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let elsewhere = Receiver::start(Answer::Status(200, "")).await;
    let location: &'static str = Box::leak(format!("location: {}\r\n", elsewhere.url()).into_boxed_str());
    for status in [301, 302, 307, 308] {
        let (delivery, calls) = record_of(Answer::Status(status, location)).await;
        assert_eq!(delivery.last_attempt.expect("an attempt").result, "refused");
        assert_eq!(calls, 1);
    }
    assert!(elsewhere.all().is_empty());
}

#[tokio::test]
async fn endless_answer_is_cut_at_its_cap() {
    let (delivery, calls) = record_of(Answer::Endless).await;
    let attempt = delivery.last_attempt.expect("an attempt");
    assert_eq!((attempt.result.as_str(), attempt.answer.len(), calls), ("taken", 2_048, 1));
}

#[tokio::test]
async fn refused_connection_is_on_record() {
    let receiver = Receiver::start(Answer::Hang).await;
    let url = receiver.url();
    drop(receiver);
    let world = World::new().await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&url, &[]).await;
    world.producer.announce("lic_1");
    let all =
        dispatcher.until(&destination, "an attempt", |all| all.iter().any(|one| one.last_attempt.is_some())).await;
    assert_eq!(all[0].last_attempt.as_ref().expect("an attempt").result, "connect");
    assert!(dispatcher.destination(&destination).await.note.contains("connect"));
    dispatcher.stop().await;
}

#[tokio::test]
async fn gone_disables_and_keeps_the_backlog_until_it_is_enabled() {
    let world = World::new().await;
    let (gone, watching) =
        (Receiver::start(Answer::Status(410, "")).await, Receiver::start(Answer::Status(200, "")).await);
    let dispatcher = world.start().await;
    let (id, _) = dispatcher.add(&gone.url(), &["lictor.license.*"]).await;
    dispatcher.add(&watching.url(), &["lictor.destination.*"]).await;
    world.producer.announce("lic_1");
    until("the destination is disabled", async || Some(dispatcher.destination(&id).await).filter(|one| one.state == 2))
        .await;
    world.producer.announce_many(5, 2);
    let told = watching.until_taken(1).await;
    assert_eq!(told[0].json()["type"], "lictor.destination.disabled.v1");
    assert_eq!(told[0].json()["data"]["destination_id"], id.as_str());

    until("all is stored", async || Some(dispatcher.destination(&id).await).filter(|one| one.backlog == 6)).await;
    assert_eq!(gone.all().len(), 1, "nothing is sent to a disabled destination");
    gone.answer(Answer::Status(200, ""));
    dispatcher
        .destinations()
        .enable_destination(EnableDestinationRequest { destination_id: id.clone() })
        .await
        .expect("it is enabled");
    gone.until_taken(6).await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn administrator_disables_and_enables() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let (id, _) = dispatcher.add(&receiver.url(), &["lictor.license.*"]).await;
    let disable = DisableDestinationRequest { destination_id: id.clone(), reason: "moving house".to_owned() };
    for _ in 0..2 {
        let answered = dispatcher.destinations().disable_destination(disable.clone()).await.expect("it is disabled");
        assert_eq!(answered.into_inner().destination.expect("a destination").note, "moving house");
    }
    world.producer.announce_many(3, 3);
    until("all is stored", async || Some(dispatcher.destination(&id).await).filter(|one| one.backlog == 3)).await;
    assert!(receiver.all().is_empty());
    for _ in 0..2 {
        let enable = EnableDestinationRequest { destination_id: id.clone() };
        dispatcher.destinations().enable_destination(enable).await.expect("it is enabled");
    }
    receiver.until_taken(3).await;
    dispatcher.stop().await;
}
