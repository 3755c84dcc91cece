//! Own pace and intervals; working without the broker.

use std::time::Duration;

use lictor_api::notification::v1::{DestinationOptions, Limits};
use lictor_clock::{Clock as _, ManualClock, Timestamp};

use crate::{
    receiver::{Answer, Receiver},
    records::with_options,
    world::{World, until},
};

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

#[tokio::test]
async fn destination_gets_no_more_calls_per_second_than_it_wants() {
    let clock = ManualClock::new(START);
    let mut world = World::at(clock.shared()).await;
    world.settings.sweep_every = Duration::from_millis(5);
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let limits = Limits { per_second: 10, ..Limits::default() };
    let options = DestinationOptions { limits: Some(limits), ..DestinationOptions::default() };
    let (dispatcher, id) = with_options(&world, &receiver, options).await;
    world.producer.announce_many(40, 40);
    dispatcher.until(&id, "all are stored", |all| all.len() == 40).await;
    until("all are taken", async || {
        // Time goes in tenths of a second; after each the engine sends what it may.
        let seconds = clock.now().since(START).as_secs_f64();
        let taken = receiver.taken().len();
        assert!(taken as f64 <= 10.0 * seconds + 2.0, "{taken} calls after {seconds} seconds");
        clock.advance(Duration::from_millis(100));
        let _ = dispatcher.destination(&id).await;
        (taken == 40).then_some(())
    })
    .await;
    let seconds = clock.now().since(START).as_secs();
    assert!(seconds >= 3, "40 calls at 10 a second took {seconds} seconds");
    dispatcher.stop().await;
}

#[tokio::test]
async fn destination_with_an_interval_gets_what_was_collected_at_its_times() {
    let clock = ManualClock::new(START.saturating_add(Duration::from_secs(100)));
    let mut world = World::at(clock.shared()).await;
    world.settings.sweep_every = Duration::from_millis(5);
    let (collecting, at_once) =
        (Receiver::start(Answer::Status(200, "")).await, Receiver::start(Answer::Status(200, "")).await);
    let every = Some(prost_types::Duration { seconds: 900, nanos: 0 });
    let options = DestinationOptions { every, ..DestinationOptions::default() };
    let (dispatcher, id) = with_options(&world, &collecting, options).await;
    dispatcher.add(&at_once.url(), &[]).await;
    world.producer.announce_many(30, 4);
    at_once.until_taken(30).await;
    let waiting = dispatcher.deliveries(&id).await;
    let quarter = START.saturating_add(Duration::from_secs(900)).as_seconds();
    assert!(waiting.iter().all(|one| one.next_attempt_at.as_ref().is_some_and(|at| at.seconds == quarter)));
    clock.advance(Duration::from_secs(799));
    world.producer.announce("lic_late");
    at_once.until_taken(31).await;
    assert!(collecting.all().is_empty(), "its time has not come");
    clock.advance(Duration::from_secs(1));
    collecting.until_taken(31).await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn feeds_alone_are_enough_at_a_freely_set_interval() {
    let mut world = World::new().await;
    world.settings.broker = None;
    world.settings.pull_every = Duration::from_millis(200);
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    for round in 1..=3 {
        world.producer.announce_many(5, 2);
        receiver.until_taken(5 * round).await;
    }
    dispatcher.stop().await;
}
