//! Replays: one, a time, what was given up, what was never tried; through a crash too.

use lictor_api::{
    error::problem,
    notification::v1::{
        GetDeliveryRequest, StartReplayRequest, delivery_service_client::DeliveryServiceClient,
        replay_service_client::ReplayServiceClient,
    },
};
use lictor_licensing::error::ErrorCode;

use crate::{
    receiver::{Answer, Received, Receiver},
    world::{World, unique},
};

const ONE: i32 = 1;
const RANGE: i32 = 2;
const FAILED: i32 = 3;
const NEVER: i32 = 4;

fn since_the_beginning(destination: &str, kind: i32) -> StartReplayRequest {
    StartReplayRequest {
        kind,
        destination_id: destination.to_owned(),
        since: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
        until: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..Default::default()
    }
}

async fn replaying(world: World) {
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let announced = world.producer.announce_many(300, 7);
    let (id, _) = dispatcher.add(&receiver.url(), &[]).await;
    let events = dispatcher.add("https://hooks.example.com/", &["lictor.order.created.v1"]).await.0;

    // Whether these events were taken in before the destination was added or after it, now they are all there.
    let never = dispatcher.replay(since_the_beginning(&id, NEVER)).await;
    let taken = receiver.until_taken(300).await;
    assert!(never.replayed <= 300);
    let ids: Vec<String> = taken.iter().map(Received::id).collect();
    assert!(announced.iter().all(|event| ids.contains(&event.id)));
    dispatcher.until(&id, "all are done", |all| all.len() == 300 && all.iter().all(|one| one.state == 3)).await;
    assert_eq!(dispatcher.replay(since_the_beginning(&id, NEVER)).await.replayed, 0, "nothing is left");
    assert_eq!(
        dispatcher.replay(since_the_beginning(&events, NEVER)).await.replayed,
        0,
        "nothing that it does not want"
    );

    let again = dispatcher.replay(since_the_beginning(&id, RANGE)).await;
    assert_eq!(again.replayed, 300);
    let all = receiver.until("everything comes again", |all| all.len() >= 600).await;
    let mut last = std::collections::HashMap::new();
    for request in &all[300..] {
        let number = request.json()["sequence"].as_str().expect("a sequence").to_owned();
        if let Some(before) = last.insert(request.subject(), number.clone()) {
            assert!(before < number, "a replay keeps the order of each subject");
        }
    }
    dispatcher.stop().await;
}

#[tokio::test]
async fn everything_of_a_time_is_sent_again_in_order() {
    replaying(World::new().await).await;
}

#[tokio::test]
async fn everything_of_a_time_is_sent_again_in_order_on_postgres() {
    if let Some(world) = World::postgres().await {
        replaying(world).await;
    }
}

#[tokio::test]
async fn what_was_given_up_is_sent_again_and_nothing_else() {
    let mut world = World::new().await;
    world.settings.schedule = "1ms".parse().expect("waits");
    world.settings.schedule.give_up_after = std::time::Duration::from_millis(1);
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    receiver.answer_by(|request| Answer::Status(if request.subject() == "lic_bad" { 400 } else { 200 }, ""));
    let dispatcher = world.start().await;
    let (id, _) = dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce("lic_good");
    let bad = world.producer.announce("lic_bad");
    let parked = dispatcher
        .until(&id, "one is given up", |all| {
            all.iter().any(|one| one.state == 4) && all.iter().any(|one| one.state == 3)
        })
        .await;
    assert_eq!(dispatcher.destination(&id).await.parked, 1);
    receiver.answer(Answer::Status(200, ""));
    let before = receiver.all().len();
    let job = dispatcher.replay(since_the_beginning(&id, FAILED)).await;
    assert_eq!(job.replayed, 1);
    receiver.until("it is taken", |all| all.iter().any(|one| one.taken && one.id() == bad.id)).await;
    assert_eq!(receiver.all().len(), before + 1, "nothing but what was given up");

    // The record holds every attempt and the body.
    let of_bad = parked.iter().find(|one| one.event_id == bad.id).expect("its delivery").delivery_id.clone();
    dispatcher.until(&id, "it is done", |all| all.iter().all(|one| one.state == 3)).await;
    let mut deliveries = DeliveryServiceClient::new(dispatcher.channel.clone());
    let found =
        deliveries.get_delivery(GetDeliveryRequest { delivery_id: of_bad.clone() }).await.expect("found").into_inner();
    let numbers: Vec<u32> = found.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (1..=found.delivery.expect("a delivery").attempts).collect::<Vec<_>>());
    assert_eq!(found.attempts.last().map(|attempt| attempt.result.as_str()), Some("taken"));
    assert_eq!(found.body, receiver.taken().last().expect("a request").body);

    // One alone, twice under one name.
    let mut replays = ReplayServiceClient::new(dispatcher.channel.clone());
    let one = StartReplayRequest { request_id: unique(), kind: ONE, delivery_id: of_bad, ..Default::default() };
    let first = replays.start_replay(one.clone()).await.expect("it begins").into_inner();
    let second = replays.start_replay(one).await.expect("it is answered").into_inner();
    assert_eq!(first, second);
    receiver.until("it comes once more", |all| all.len() == before + 2).await;
    dispatcher.until(&id, "all are done", |all| all.iter().all(|one| one.state == 3)).await;
    dispatcher.stop().await;
    assert_eq!(receiver.all().len(), before + 2);
}

#[tokio::test]
async fn what_is_under_way_cannot_be_replayed_and_slips_are_refused() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Hang).await;
    let dispatcher = world.start().await;
    let (id, _) = dispatcher.add(&receiver.url(), &[]).await;
    world.producer.announce("lic_1");
    let open = dispatcher.until(&id, "a call", |all| !all.is_empty()).await;
    let mut replays = ReplayServiceClient::new(dispatcher.channel.clone());
    let one = StartReplayRequest {
        request_id: unique(),
        kind: ONE,
        delivery_id: open[0].delivery_id.clone(),
        ..Default::default()
    };
    let refused = replays.start_replay(one.clone()).await.expect_err("it is open");
    assert_eq!(problem(&refused).code, ErrorCode::Conflict);
    for bad in [
        StartReplayRequest { kind: 0, ..one.clone() },
        StartReplayRequest { kind: RANGE, ..one.clone() },
        StartReplayRequest { since: None, ..since_the_beginning(&id, RANGE) },
        StartReplayRequest { until: Some(prost_types::Timestamp::default()), ..since_the_beginning(&id, RANGE) },
        StartReplayRequest { destination_id: id.clone(), ..one },
    ] {
        let bad = StartReplayRequest { request_id: unique(), ..bad };
        let refused = replays.start_replay(bad.clone()).await.expect_err("a slip");
        assert_eq!(problem(&refused).code, ErrorCode::InvalidArgument, "{bad:?}");
    }
    dispatcher.stop().await;
}
