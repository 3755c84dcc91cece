//! Fetching events instead of being called, and forgetting what is old.

use lictor_api::{
    error::problem,
    notification::v1::{ReadEventsRequest, event_service_client::EventServiceClient},
};
use lictor_auth::Role;
use lictor_clock::{ManualClock, Timestamp, duration};
use lictor_licensing::error::ErrorCode;
use serde_json::Value;

use crate::{
    receiver::{Answer, Receiver},
    world::{Dispatcher, PATIENCE, World, until},
};

/// Asks for `path` with a token of `role`, and gives status and body.
async fn get(world: &World, dispatcher: &Dispatcher, path: &str, role: Option<Role>) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.get(format!("http://{}{path}", dispatcher.running.addresses().http));
    if let Some(role) = role {
        request = request.bearer_auth(world.token(role));
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn cursor_reads_every_event_once_in_order_over_http_and_grpc() {
    lictor_runtime::install_crypto_provider();
    let world = World::new().await;
    let dispatcher = world.start().await;
    let announced = world.producer.announce_many(250, 9);
    let mut ids = Vec::new();
    let mut cursor = "0".to_owned();
    until("all events are fetched", async || {
        let (status, page) = get(&world, &dispatcher, "/events?after=0&limit=1000", Some(Role::Auditor)).await;
        assert_eq!(status, 200);
        (page["events"].as_array().map(Vec::len) == Some(250)).then_some(())
    })
    .await;
    loop {
        let (_, page) =
            get(&world, &dispatcher, &format!("/events?after={cursor}&limit=40"), Some(Role::BackOffice)).await;
        ids.extend(page["events"].as_array().expect("events").iter().map(|event| event["id"].clone()));
        cursor = page["cursor"].as_str().expect("a cursor").to_owned();
        if page["more"] == false {
            break;
        }
    }
    let expected: Vec<&str> = announced.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, expected);

    // The stream begins where somebody stopped, follows, and brings the same bodies.
    let mut client = EventServiceClient::new(dispatcher.channel.clone());
    let request = ReadEventsRequest { after: cursor.parse().expect("a number"), follow: true, ..Default::default() };
    let mut stream = client.read_events(request).await.expect("a stream").into_inner();
    let next = world.producer.announce("lic_new");
    let told =
        tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time").expect("no error").expect("an event");
    assert_eq!((told.event_id, told.subject.as_str()), (next.id, "lic_new"));
    let request = ReadEventsRequest { limit: 3, types: vec!["lictor.license.*".to_owned()], ..Default::default() };
    let mut stream = client.read_events(request).await.expect("a stream").into_inner();
    let mut count = 0;
    while stream.message().await.expect("no error").is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
    drop(stream);
    dispatcher.stop().await;
}

#[tokio::test]
async fn feed_asks_for_a_token_with_a_role() {
    lictor_runtime::install_crypto_provider();
    let world = World::new().await;
    let dispatcher = world.start().await;
    for (role, expected) in [
        (None, 401),
        (Some(Role::Support), 403),
        (Some(Role::Service), 403),
        (Some(Role::Admin), 200),
        (Some(Role::BackOffice), 200),
    ] {
        let (status, body) = get(&world, &dispatcher, "/events", role).await;
        assert_eq!(status, expected, "{role:?}");
        assert_eq!(body.get("error").is_some(), status != 200);
    }
    for bad in ["?after=x", "?limit=0", "?limit=1001", "?what=1", "?type=license"] {
        let (status, body) = get(&world, &dispatcher, &format!("/events{bad}"), Some(Role::Admin)).await;
        assert_eq!(status, 400, "{bad}: {body}");
    }
    let (status, _) = get(&world, &dispatcher, "/events?after=77", Some(Role::Admin)).await;
    assert_eq!(status, 409, "nothing ever had this number");
    dispatcher.stop().await;
}

async fn forgetting(clock: ManualClock, world: World) {
    let (good, bad) = (Receiver::start(Answer::Status(200, "")).await, Receiver::start(Answer::Status(400, "")).await);
    let dispatcher = world.start().await;
    let (taken, _) = dispatcher.add(&good.url(), &[]).await;
    let (waiting, _) = dispatcher.add(&bad.url(), &["lictor.order.*"]).await;
    for number in 0..600 {
        let order = lictor_api::event::v1::OrderCreated { order_id: format!("ord_{number}"), ..Default::default() };
        if number < 3 {
            world
                .producer
                .announce_as(&format!("ord_{number}"), lictor_api::event::v1::event::Data::OrderCreated(order));
        }
        world.producer.announce(&format!("lic_{}", number % 5));
    }
    good.until_taken(603).await;
    dispatcher.until(&waiting, "attempts", |all| all.len() == 3 && all.iter().all(|one| one.attempts > 0)).await;
    dispatcher.until(&taken, "all are done", |all| all.iter().all(|one| one.state == 3)).await;
    dispatcher.stop().await;
    clock.advance(duration::days(91));
    let dispatcher = world.start().await;
    dispatcher.until(&taken, "what was taken is forgotten", <[_]>::is_empty).await;
    assert_eq!(dispatcher.destination(&waiting).await.backlog, 3, "what was not taken is kept");
    let mut client = EventServiceClient::new(dispatcher.channel.clone());
    let gone = until("old events are forgotten", async || {
        let request = ReadEventsRequest { after: 1, ..Default::default() };
        client.clone().read_events(request).await.err()
    })
    .await;
    assert_eq!(problem(&gone).code, ErrorCode::NotFound);
    let left = until("only the last word about each license is left", async || {
        let mut stream = client.clone().read_events(ReadEventsRequest::default()).await.ok()?.into_inner();
        let mut left = Vec::new();
        while let Some(event) = stream.message().await.ok()? {
            left.push(event.event_type);
        }
        (left.len() == 8).then_some(left)
    })
    .await;
    assert_eq!(left.iter().filter(|kind| kind.starts_with("lictor.order.")).count(), 3);
    let _ = &mut client;
    dispatcher.stop().await;
}

#[tokio::test]
async fn old_events_are_forgotten_unless_somebody_waits_for_them() {
    let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
    let world = World::at(clock.shared()).await;
    forgetting(clock, world).await;
}
