//! What is kept no longer, and what was not understood.

use lictor_api::{
    event::v1::Event,
    notification::v1::{
        ListQuarantinedRequest, QuarantinedEvent, ReprocessQuarantinedRequest, ReprocessQuarantinedResponse,
        quarantine_service_client::QuarantineServiceClient,
    },
};
use lictor_notification_dispatcher::store::{MIGRATIONS, SCHEMA};
use lictor_storage::sqlx;
use prost::Message;

use crate::{
    receiver::{Answer, Receiver},
    world::{Dispatcher, PRODUCER, World, page, until},
};

async fn kept_aside(dispatcher: &Dispatcher) -> Vec<QuarantinedEvent> {
    let mut client = QuarantineServiceClient::new(dispatcher.channel.clone());
    client.list_quarantined(ListQuarantinedRequest::default()).await.expect("a list").into_inner().events
}

async fn look_again(dispatcher: &Dispatcher) -> ReprocessQuarantinedResponse {
    let mut client = QuarantineServiceClient::new(dispatcher.channel.clone());
    client.reprocess_quarantined(ReprocessQuarantinedRequest::default()).await.expect("an answer").into_inner()
}

#[tokio::test]
async fn a_dispatcher_that_was_away_too_long_goes_on_and_tells_what_it_missed() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce_many(5, 2);
    receiver.until_taken(5).await;
    dispatcher.stop().await;

    // While it is away, ten more happen and all but the last three are kept no longer.
    let late = world.producer.announce_many(10, 2);
    world.producer.forget(12);
    let dispatcher = world.start().await;
    let taken = receiver.until_taken(8).await;
    let ids: Vec<String> = taken.iter().map(|one| one.id()).collect();
    assert_eq!(ids[5..].len(), 3);
    for event in &late[7..] {
        assert!(ids.contains(&event.id));
    }
    let shown = until("the figure", async || {
        Some(page(&dispatcher.running, "/metrics").await).filter(|text| text.contains("lictor_events_missed_total 7"))
    });
    shown.await;
    let ready = until("it works on", async || {
        Some(page(&dispatcher.running, "/ready").await).filter(|text| text.starts_with("HTTP/1.1 200"))
    });
    ready.await;
    // What came before the hole and after it keeps its order from here on.
    world.producer.announce_many(2, 2);
    receiver.until_taken(10).await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn a_new_dispatcher_begins_where_the_feed_begins() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    world.producer.announce_many(6, 2);
    world.producer.forget(4);
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce_many(2, 2);
    receiver.until_taken(2).await;
    assert!(
        page(&dispatcher.running, "/metrics").await.contains("lictor_events_missed_total 0"),
        "nothing was promised"
    );
    dispatcher.stop().await;
}

#[tokio::test]
async fn an_event_that_is_understood_after_an_update_is_delivered_under_its_own_id() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;

    // One that this version does not understand either stays, with its reason.
    let strange = Event { data: None, ..world.producer.announce("lic_1") };
    receiver.until_taken(1).await;
    let number = strange.sequence + 1;
    world.producer.announce_odd(Event { sequence: number, id: strange.id.replace("evt_0", "evt_1"), ..strange });
    let aside = until("it is kept aside", async || Some(kept_aside(&dispatcher).await).filter(|all| all.len() == 1));
    let aside = aside.await;
    assert_eq!((aside[0].source.as_str(), aside[0].sequence), (PRODUCER, number));
    assert!(aside[0].reason.contains("update the notification dispatcher"), "{}", aside[0].reason);
    assert_eq!(look_again(&dispatcher).await, ReprocessQuarantinedResponse { taken: 0, left: 1 });

    // One that an earlier version kept aside and this one understands.
    let understood = world.producer.announce("lic_2");
    receiver.until_taken(2).await;
    let early = Event { id: understood.id.replace("evt_0", "evt_2"), subject: "lic_3".to_owned(), ..understood };
    keep_aside(&world, &early).await;
    assert_eq!(kept_aside(&dispatcher).await.len(), 2);
    assert_eq!(look_again(&dispatcher).await, ReprocessQuarantinedResponse { taken: 1, left: 1 });
    let taken = receiver.until_taken(3).await;
    assert_eq!(taken[2].id(), early.id);
    assert_eq!(kept_aside(&dispatcher).await.len(), 1);
    dispatcher.stop().await;
}

async fn keep_aside(world: &World, event: &Event) {
    let now = world.clock.now();
    let db = world.settings.database.open(SCHEMA, MIGRATIONS, now).await.expect("the database");
    let mut tx = db.begin().await.expect("begin");
    sqlx::query(
        "INSERT INTO quarantined_event (source, sequence, digest, reason, payload, quarantined_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(PRODUCER)
    .bind(i64::try_from(event.sequence).expect("a number"))
    .bind("a digest")
    .bind("an earlier version did not know it")
    .bind(event.encode_to_vec())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await
    .expect("written");
    tx.commit().await.expect("commit");
    db.close().await;
}
