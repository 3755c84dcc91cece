//! Nothing is lost, order is kept per key, nobody waits for another.

use std::{collections::HashMap, time::Duration};

use lictor_api::event::v1::Event;

use crate::{
    receiver::{Answer, Received, Receiver},
    world::World,
};

fn scale() -> usize {
    std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Every event was taken, and the first taking of each is in the order of its subject.
fn assert_whole_and_in_order(announced: &[Event], taken: &[Received]) {
    let mut first: HashMap<String, usize> = HashMap::new();
    for (place, request) in taken.iter().enumerate() {
        first.entry(request.id()).or_insert(place);
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    for event in announced {
        let place = *first.get(&event.id).unwrap_or_else(|| panic!("event {} was lost", event.sequence));
        if let Some(before) = last.insert(&event.subject, place) {
            assert!(before < place, "event {} of {} came too early", event.aggregate_sequence, event.subject);
        }
    }
}

async fn down_then_up(world: World) {
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let (address, url) = (receiver.address, receiver.url());
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&url, &[]).await;
    let mut announced = world.producer.announce_many(20, 4);
    receiver.until_taken(20).await;
    let before = receiver.taken();
    drop(receiver);

    announced.extend(world.producer.announce_many(60 * scale(), 7));
    dispatcher.until(&destination, "failed attempts", |all| all.iter().any(|one| one.attempts >= 2)).await;
    let receiver = Receiver::start_at(address, Answer::Status(200, "")).await;
    receiver.until_taken(60 * scale()).await;
    let taken: Vec<Received> = before.into_iter().chain(receiver.taken()).collect();
    assert_whole_and_in_order(&announced, &taken);
    dispatcher.stop().await;
}

#[tokio::test]
async fn receiver_that_was_down_gets_everything_in_order() {
    down_then_up(World::new().await).await;
}

#[tokio::test]
async fn receiver_that_was_down_gets_everything_in_order_on_postgres() {
    if let Some(world) = World::postgres().await {
        down_then_up(world).await;
    }
}

#[tokio::test]
async fn flaky_receiver_gets_everything_in_order() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let mut number = 0_u32;
    receiver.answer_by(move |_| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match number >> 29 {
            0 => Answer::Status(500, ""),
            1 => Answer::Close,
            2 => Answer::Half,
            _ => Answer::Status(200, ""),
        }
    });
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    let announced = world.producer.announce_many(100 * scale(), 9);
    let taken = receiver.until_taken(100 * scale()).await;
    assert_whole_and_in_order(&announced, &taken);
    dispatcher.stop().await;
}

#[tokio::test]
async fn waiting_head_holds_back_its_own_key_only() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    receiver.answer_by(|request| Answer::Status(if request.subject() == "lic_bad" { 500 } else { 200 }, ""));
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    let first = world.producer.announce("lic_bad");
    let second = world.producer.announce("lic_bad");
    world.producer.announce_many(10, 3);
    receiver.until_taken(10).await;
    dispatcher.until(&destination, "more attempts", |all| all.iter().any(|one| one.attempts >= 3)).await;
    assert!(receiver.all().iter().all(|request| request.id() != second.id), "the follower waits for its head");

    receiver.answer(Answer::Status(200, ""));
    let taken = receiver.until_taken(12).await;
    let ids: Vec<String> = taken.iter().filter(|request| request.subject() == "lic_bad").map(Received::id).collect();
    assert_eq!(ids, [first.id, second.id]);
    dispatcher.stop().await;
}

#[tokio::test]
async fn hanging_destination_does_not_delay_another() {
    let mut world = World::new().await;
    world.settings.webhook_deadline = Duration::from_secs(60);
    let (hanging, healthy) = (Receiver::start(Answer::Hang).await, Receiver::start(Answer::Status(200, "")).await);
    let dispatcher = world.start().await;
    let (stuck, _) = dispatcher.add(&hanging.url(), &[]).await;
    dispatcher.add(&healthy.url(), &[]).await;
    let count = 300 * scale();
    world.producer.announce_many(count, count);
    healthy.until_taken(count).await;
    let calls = hanging.all().len();
    assert!(calls <= world.settings.in_flight_per_destination, "{calls} calls hang at once");
    assert_eq!(dispatcher.destination(&stuck).await.backlog, count as u64);
    dispatcher.running.shutdown();
    assert!(dispatcher.running.wait().await.is_ok());
}

#[tokio::test]
async fn events_of_before_a_destination_are_not_sent_to_it() {
    let world = World::new().await;
    let (old, new) = (Receiver::start(Answer::Status(200, "")).await, Receiver::start(Answer::Status(200, "")).await);
    let dispatcher = world.start().await;
    dispatcher.add(&old.url(), &[]).await;
    world.producer.announce("lic_1");
    old.until_taken(1).await;
    dispatcher.add(&new.url(), &[]).await;
    let later = world.producer.announce("lic_1");
    let taken = new.until_taken(1).await;
    assert_eq!(taken[0].id(), later.id);
    dispatcher.stop().await;
}

#[tokio::test]
async fn two_replicas_share_the_work_and_keep_the_order() {
    let Some(world) = World::postgres().await else {
        return;
    };
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let mut number = 0_u32;
    receiver.answer_by(move |_| {
        number += 1;
        Answer::Status(if number.is_multiple_of(7) { 503 } else { 200 }, "")
    });
    let first = world.start().await;
    let second = world.start().await;
    let (destination, _) = first.add(&receiver.url(), &[]).await;
    let mut announced = world.producer.announce_many(100 * scale(), 8);
    receiver.until_taken(50).await;
    announced.extend(world.producer.announce_many(100 * scale(), 8));
    // One of them goes in the middle, the other carries on.
    first.stop().await;
    let taken = receiver.until_taken(200 * scale()).await;
    assert_whole_and_in_order(&announced, &taken);
    second.until(&destination, "all are done", |all| all.iter().all(|one| one.state == 3)).await;
    second.stop().await;
}
