//! Events come in by two ways, each of which may fail.

use std::{collections::HashSet, time::Duration};

use lictor_api::event::v1::Event;
use lictor_broker::{Broker, RabbitOptions};

use crate::{
    receiver::{Answer, Received, Receiver},
    world::World,
};

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn event_that_comes_by_both_ways_is_delivered_once() {
    let mut world = World::new().await;
    let broker = Broker::in_process();
    world.settings.broker = Some(broker.clone());
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    for number in 0..30 {
        let event = world.producer.announce(&format!("lic_{}", number % 4));
        for _ in 0..2 {
            broker.publish(std::slice::from_ref(&event)).await.expect("published");
        }
    }
    receiver.until_taken(30).await;
    dispatcher.until(&destination, "all are done", |all| all.len() == 30 && all.iter().all(|one| one.state == 3)).await;
    assert_eq!(receiver.all().len(), 30);
    dispatcher.stop().await;
}

#[tokio::test]
async fn hole_on_the_broker_is_filled_by_the_cursor_in_order() {
    let mut world = World::new().await;
    let broker = Broker::in_process();
    world.settings.broker = Some(broker.clone());
    world.settings.pull_every = LONG;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    let first = world.producer.announce("lic_1");
    broker.publish(std::slice::from_ref(&first)).await.expect("published");
    receiver.until_taken(1).await;

    let lost = world.producer.announce("lic_1");
    let later = world.producer.announce("lic_1");
    let other = world.producer.announce("lic_2");
    broker.publish(&[later.clone(), other.clone()]).await.expect("published");
    let taken = receiver.until_taken(4).await;
    let of_first: Vec<String> = taken.iter().filter(|one| one.subject() == "lic_1").map(Received::id).collect();
    assert_eq!(of_first, [first.id, lost.id, later.id]);
    dispatcher.stop().await;
}

#[tokio::test]
async fn everything_arrives_without_any_broker_after_a_restart() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    dispatcher.stop().await;
    world.producer.announce_many(50, 6);
    let dispatcher = world.start().await;
    receiver.until_taken(50).await;
    dispatcher.stop().await;
    assert_eq!(receiver.all().len(), 50, "each once");
}

#[tokio::test]
async fn event_that_cannot_be_understood_is_kept_aside_and_stops_nobody() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    let good = world.producer.announce("lic_1");
    for (place, odd) in [
        Event { data: None, ..good.clone() },
        Event { id: "evt_\0".to_owned(), ..good.clone() },
        Event { source: "another\0one".to_owned(), ..good.clone() },
        Event { traceparent: "\0".repeat(10), id: good.id.clone(), ..good.clone() },
        Event { time: None, ..good.clone() },
        Event { subject: "x".repeat(100_000), ..good.clone() },
    ]
    .into_iter()
    .enumerate()
    {
        world.producer.announce_odd(Event { sequence: place as u64 + 2, ..odd });
    }
    let last = world.producer.announce("lic_2");
    let taken = receiver.until_taken(2).await;
    let ids: HashSet<String> = taken.iter().map(Received::id).collect();
    assert_eq!(ids, HashSet::from([good.id, last.id]));
    dispatcher.stop().await;
}

#[tokio::test]
async fn events_come_over_rabbitmq() {
    let Some(url) = std::env::var("LICTOR_TEST_AMQP_URL").ok().filter(|url| !url.is_empty()) else {
        eprintln!("SKIPPED on RabbitMQ: LICTOR_TEST_AMQP_URL is not set");
        return;
    };
    let mut world = World::new().await;
    let prefix = format!("test-{}", std::process::id());
    let broker = Broker::rabbit(&url, RabbitOptions { prefix, ca: None }).expect("an address");
    world.settings.broker = Some(broker.clone());
    world.settings.pull_every = LONG;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    let events = world.producer.announce_many(200, 10);
    broker.publish(&events).await.expect("published");
    receiver.until_taken(200).await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn producer_whose_database_was_restored_is_noticed_and_told_by_readiness() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce_many(5, 5);
    receiver.until_taken(5).await;
    let page = async |path| crate::world::page(&dispatcher.running, path).await;
    let ready = async || page("/ready").await.starts_with("HTTP/1.1 200").then_some(());
    crate::world::until("it is ready", ready).await;
    world.producer.restore(2);
    let told = crate::world::until("it is noticed", async || {
        let told = page("/ready").await;
        told.starts_with("HTTP/1.1 503").then_some(told)
    })
    .await;
    assert!(told.contains("license-central") && told.contains("restored from a backup"), "{told}");
    assert!(page("/metrics").await.contains("lictor_feeds_restored_total 1"));
    // When the numbers are above what was read, what comes from then on is delivered again.
    world.producer.announce_many(3, 3);
    let fresh = world.producer.announce("lic_fresh");
    let taken = receiver.until_taken(6).await;
    assert!(taken.iter().any(|one| one.id() == fresh.id));
    crate::world::until("all is well", ready).await;
    dispatcher.stop().await;
}
