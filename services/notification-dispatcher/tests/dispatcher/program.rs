//! The dispatcher as a process: killed in the middle, stopped in order, misconfigured.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lictor_api::notification::v1::{
    ListReplaysRequest, ReadEventsRequest, StartReplayRequest, event_service_client::EventServiceClient,
    replay_service_client::ReplayServiceClient,
};

use crate::{
    receiver::{Answer, Received, Receiver},
    world::{World, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_notification-dispatcher");

/// The program over the world's database. Its issuer is nobody: the tests only watch what it delivers.
pub(crate) fn launch(world: &World) -> Child {
    let producers: Vec<String> = world.settings.producers.0.iter().map(|(name, url)| format!("{name}={url}")).collect();
    Command::new(PROGRAM)
        .env("DATABASE_URL", world.settings.database.url.expose())
        .env("GRPC_LISTEN", "127.0.0.1:0")
        .env("HTTP_LISTEN", "127.0.0.1:0")
        .env("LICTOR_PRODUCERS", producers.join(","))
        .env("LICTOR_DESTINATION_KEY", "00".repeat(32))
        .env("LICTOR_PULL_EVERY", "100ms")
        .env("LICTOR_WEBHOOK_ALLOW", "127.0.0.1")
        .env("LICTOR_DELIVERY_LEASE", "300ms")
        .env("LICTOR_WEBHOOK_DEADLINE", "1s")
        .env("LICTOR_RETRY_WAITS", "20ms,50ms")
        .env("RUST_LOG", "warn")
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the program starts")
}

async fn killed_mid_delivery(world: World) {
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    dispatcher.stop().await;

    let mut announced = Vec::new();
    for round in 0..4 {
        // Answers hang until the kill, so calls are surely under way when it comes.
        receiver.answer(Answer::Hang);
        announced.extend(world.producer.announce_many(25, 6));
        let seen = receiver.all().len();
        let mut program = launch(&world);
        receiver.until("calls under way", |all| all.len() > seen).await;
        if round % 2 == 0 {
            receiver.answer(Answer::Status(200, ""));
            let so_far = receiver.all().len();
            receiver
                .until("some more", |all| all.len() > so_far + 3 || all.iter().filter(|one| one.taken).count() > 3)
                .await;
        }
        program.kill().expect("it is killed");
        program.wait().expect("it is gone");
    }
    receiver.answer(Answer::Status(200, ""));
    let dispatcher = world.start().await;
    let taken = receiver.until_taken(announced.len()).await;
    let ids: Vec<String> = taken.iter().map(Received::id).collect();
    for event in &announced {
        assert!(ids.contains(&event.id), "event {} was lost", event.sequence);
    }
    dispatcher.until(&destination, "all are done", |all| all.iter().all(|one| one.state == 3)).await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn killed_in_the_middle_loses_nothing() {
    killed_mid_delivery(World::new().await).await;
}

#[tokio::test]
async fn killed_in_the_middle_loses_nothing_on_postgres() {
    if let Some(world) = World::postgres().await {
        killed_mid_delivery(world).await;
    }
}

#[tokio::test]
async fn replay_goes_on_where_it_was_when_it_is_killed() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let announced = world.producer.announce_many(1_500, 40);
    let dispatcher = world.start().await;
    // The stream ends when all were taken in; nobody wanted them then.
    let mut client = EventServiceClient::new(dispatcher.channel.clone());
    let request = ReadEventsRequest { limit: 1_500, follow: true, ..Default::default() };
    let mut stream = client.read_events(request).await.expect("a stream").into_inner();
    while stream.message().await.expect("no error").is_some() {}
    let (destination, _) = dispatcher.add(&receiver.url(), &[]).await;
    let request = StartReplayRequest {
        request_id: "once".to_owned(),
        kind: 4,
        destination_id: destination.clone(),
        since: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
        until: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..Default::default()
    };
    let mut replays = ReplayServiceClient::new(dispatcher.channel.clone());
    replays.start_replay(request).await.expect("it begins");
    dispatcher.stop().await;
    for more in [50, 100, 150] {
        let mut program = launch(&world);
        receiver.until("some were sent", |all| all.len() >= more).await;
        program.kill().expect("it is killed");
        program.wait().expect("it is gone");
    }
    let dispatcher = world.start().await;
    let taken = receiver.until_taken(announced.len()).await;
    let ids: std::collections::HashSet<String> = taken.iter().map(Received::id).collect();
    assert!(announced.iter().all(|event| ids.contains(&event.id)), "nothing was left out");
    until("the replay has ended", async || {
        let mut replays = ReplayServiceClient::new(dispatcher.channel.clone());
        let all = replays.list_replays(ListReplaysRequest::default()).await.expect("a list").into_inner().replays;
        (all.len() == 1 && all[0].state == 2 && all[0].replayed == 1_500).then_some(())
    })
    .await;
    dispatcher.stop().await;
}

#[tokio::test]
async fn idle_program_stops_within_a_second() {
    let world = World::new().await;
    let receiver = Receiver::start(Answer::Status(200, "")).await;
    let dispatcher = world.start().await;
    dispatcher.add(&receiver.url(), &[]).await;
    dispatcher.stop().await;
    let mut program = launch(&world);
    world.producer.announce("lic_1");
    receiver.until_taken(1).await;
    let asked = Instant::now();
    let told = Command::new("kill").args(["-TERM", &program.id().to_string()]).status().expect("kill runs");
    assert!(told.success());
    let status = tokio::task::spawn_blocking(move || program.wait()).await.expect("joined").expect("it ended");
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(1), "it took {:?}", asked.elapsed());
}

#[test]
fn every_wrong_setting_is_named_in_one_start() {
    let output = Command::new(PROGRAM)
        .arg("--check-config")
        .env_clear()
        .env("LICTOR_WEBHOOK_ALLOW", "10.0.0.0/99")
        .env("LICTOR_PRODUCERS", "central")
        .env("LICTOR_RETRY_WAITS", "soon")
        .env("LICTOR_PULL_EVERY", "1ms")
        .env("LICTOR_IN_FLIGHT", "0")
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    for name in [
        "DATABASE_URL",
        "LICTOR_DESTINATION_KEY",
        "LICTOR_WEBHOOK_ALLOW",
        "LICTOR_PRODUCERS",
        "LICTOR_RETRY_WAITS",
        "LICTOR_PULL_EVERY",
        "LICTOR_IN_FLIGHT",
    ] {
        assert!(text.contains(name), "{name} is not named in: {text}");
    }
}
