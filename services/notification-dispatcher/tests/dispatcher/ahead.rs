//! What is leased beyond the calls that run: it waits in memory for no longer than it may.

use std::time::Duration;

use lictor_api::notification::v1::{Delivery, DeliveryState, DisableDestinationRequest};

use crate::{
    receiver::{Answer, Receiver},
    world::{Dispatcher, World},
};

/// Calls at once to the destination.
const CALLS: usize = 4;
/// Changes of as many licenses, so that none waits for another.
const BURST: usize = 60;

fn leased(all: &[Delivery]) -> usize {
    all.iter().filter(|one| one.state() == DeliveryState::Leased).count()
}

/// A destination that took everything quickly, and now hangs with more leased than calls may run.
async fn hangs_with_more_than_calls(world: &mut World) -> (Dispatcher, Receiver, String) {
    // Nothing here may come back by a lease that runs out.
    world.settings.lease = Duration::from_secs(60);
    world.settings.in_flight_per_destination = CALLS;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce_many(BURST, BURST);
    receiver.until_taken(BURST).await;
    dispatcher.until(&destination, "results on record", |all| leased(all) == 0).await;
    receiver.answer(Answer::Hang);
    world.producer.announce_many(BURST, BURST);
    dispatcher.until(&destination, "leases beyond the calls", |all| leased(all) > CALLS).await;
    receiver.until("as many calls as may run", |all| all.len() == BURST + CALLS).await;
    (dispatcher, receiver, destination)
}

async fn given_back_at_a_stop(mut world: World) {
    let (dispatcher, receiver, _) = hangs_with_more_than_calls(&mut world).await;
    dispatcher.stop().await;
    assert_eq!(receiver.all().len(), BURST + CALLS, "a stop begins no calls");
    receiver.answer(Answer::Status(200, ""));
    let dispatcher = world.start().await;
    // Well before any lease would run out.
    receiver.until_taken(2 * BURST).await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn what_waits_in_memory_is_given_back_at_a_stop() {
    given_back_at_a_stop(World::new().await).await;
}

#[tokio::test]
async fn what_waits_in_memory_is_given_back_at_a_stop_on_postgres() {
    if let Some(world) = World::postgres().await {
        given_back_at_a_stop(world).await;
    }
}

#[tokio::test]
async fn disabled_destination_gets_nothing_of_what_waits_in_memory() {
    let mut world = World::new().await;
    world.settings.webhook_deadline = Duration::from_secs(2);
    let (dispatcher, receiver, destination) = hangs_with_more_than_calls(&mut world).await;
    let disable = DisableDestinationRequest { destination_id: destination.clone(), reason: "moving house".to_owned() };
    dispatcher.destinations().disable_destination(disable).await.expect("it is disabled");
    dispatcher.until(&destination, "no leases any more", |all| leased(all) == 0).await;
    let calls = receiver.all().len();
    assert!(calls <= BURST + 2 * CALLS, "{calls} calls: only those that ran when it was disabled");
    dispatcher.stop().await;
}

#[tokio::test]
async fn failed_call_lets_those_that_wait_go_back() {
    let mut world = World::new().await;
    world.settings.webhook_deadline = Duration::from_secs(2);
    world.settings.schedule = "1h".parse().expect("waits");
    let (dispatcher, receiver, destination) = hangs_with_more_than_calls(&mut world).await;
    // The breaker opens with the fifth failure, so what waited in memory must not have been sent.
    dispatcher.until(&destination, "no leases any more", |all| leased(all) == 0).await;
    let calls = receiver.all().len();
    assert!(calls < BURST + 4 * CALLS, "{calls} calls: the breaker never opened");
    dispatcher.stop().await;
}
