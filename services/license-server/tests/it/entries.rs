//! What an update changes takes effect on the live server at once, and takes no seat from anybody without need.

use std::time::{Duration, Instant};

use lictor_api::server::v1 as wire;
use lictor_clock::{Clock as _, Timestamp};
use lictor_license_file::segment::Operation;
use lictor_licensing::options::Options;

use crate::stage::client::RawClient;
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, add, add_item, license, options, replace, start_of_tests};

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn until(product: u32, seats: u32, end: Timestamp) -> Options {
    Options { expiration_time: Some(end), ..options(product, Some(seats)) }
}

fn withdraw(number: u128) -> Operation {
    Operation::WithdrawEntry { license: license(number) }
}

async fn revalidated(client: &mut RawClient, session: &str) -> bool {
    client.revalidate(session).await.is_ok()
}

/// Lets a span pass in steps that are shorter than a client may be silent, and revalidates after each.
async fn hold_on(server: &TestServer, client: &mut RawClient, session: &str, span: Duration) {
    let step = Duration::from_secs(50);
    let until = server.clock.boottime() + span;
    while server.clock.boottime() < until {
        let left = until - server.clock.boottime();
        server.clock.advance(step.min(left));
        assert!(revalidated(client, session).await, "{left:?} before the end of {span:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_license_keeps_its_sessions_past_the_old_end() {
    let start = start_of_tests();
    let until = |days: u32| until(201, 3, start.saturating_add(days * DAY));
    let (mut server, mut vendor) = TestServer::with(vec![add_item(1, until(1), Vec::new(), 3)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let held = client.acquire(1, 201).await.expect("a seat");
    let context = server.context(FIRM).await;
    hold_on(&server, &mut client, &held.session_id, DAY - Duration::from_secs(3_600)).await;
    server.import(&vendor.update(&context, vec![replace(1, until(31), 3)])).await.expect("imported");
    hold_on(&server, &mut client, &held.session_id, Duration::from_secs(7_200)).await;
    let mut second = RawClient::connect(&server.server.socket, 2).await;
    second.acquire(2, 201).await.expect("a new seat past the old end");
    let ids = |sessions: Vec<wire::Session>| sessions.into_iter().map(|session| session.session_id).collect::<Vec<_>>();
    assert!(ids(server.sessions().await).contains(&held.session_id));

    // Over a restart: the same session, and new seats.
    let mut server = server.restarted().await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    hold_on(&server, &mut client, &held.session_id, Duration::from_secs(3_600)).await;
    let mut third = RawClient::connect(&server.server.socket, 3).await;
    third.acquire(3, 201).await.expect("a new seat after the restart");
    // Until the new end, and not longer. Nobody speaks for a month, so the sessions are long over; the seats are not.
    server.clock.advance(30 * DAY - Duration::from_secs(4 * 3_600));
    third.acquire(4, 201).await.expect("day 30");
    server.clock.advance(DAY);
    assert_eq!(third.acquire(5, 201).await.expect_err("day 31 is over").reasons[0].code, 35);
    assert!(ids(server.sessions().await).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_session_ends_with_its_license_and_a_renewal_moves_that_end() {
    let start = start_of_tests();
    let short = |seconds| until(201, 1, start.saturating_add(Duration::from_secs(seconds)));
    let (mut server, mut vendor) = TestServer::with(vec![add_item(1, short(40), Vec::new(), 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let held = client.acquire(1, 201).await.expect("a seat");
    let mut stream = client.hold(&held.session_id).await.expect("held");
    let context = server.context(FIRM).await;
    server.import(&vendor.update(&context, vec![replace(1, short(80), 1)])).await.expect("imported");
    server.clock.advance(Duration::from_secs(50));
    assert!(revalidated(&mut client, &held.session_id).await, "past the old end");
    // Brought forward: it ends at once, with the reason.
    server.import(&vendor.update(&context, vec![replace(1, short(45), 1)])).await.expect("imported");
    let ended = loop {
        match stream.message().await.expect("a message").expect("a message").event.expect("an event") {
            wire::hold_event::Event::Beat(_) => {}
            wire::hold_event::Event::Ended(ended) => break ended.reason.expect("a reason"),
        }
    };
    assert_eq!(ended.code, 35);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_subscription_takes_its_sessions_along() {
    let start = start_of_tests();
    let old = add_item(1, until(201, 2, start.saturating_add(DAY)), Vec::new(), 2);
    let (mut server, mut vendor) = TestServer::with(vec![old]).await;
    let mut first = RawClient::connect(&server.server.socket, 1).await;
    let mut second = RawClient::connect(&server.server.socket, 2).await;
    let held = first.acquire(1, 201).await.expect("a seat");
    let mut stream = first.hold(&held.session_id).await.expect("held");
    let reserved = second.acquire(2, 201).await.expect("a seat");
    let context = server.context(FIRM).await;
    let merged = add_item(2, until(201, 2, start.saturating_add(31 * DAY)), Vec::new(), 2);
    let update = vendor.update(&context, vec![withdraw(1), merged]);
    server.import(&update).await.expect("imported");

    let ids = |sessions: Vec<wire::Session>| -> std::collections::BTreeSet<String> {
        sessions.into_iter().map(|session| session.session_id).collect()
    };
    let both = std::collections::BTreeSet::from([held.session_id.clone(), reserved.session_id.clone()]);
    assert_eq!(ids(server.sessions().await), both, "nobody loses a running seat by paying for more");
    let entry = server.listed().await[0].firms[0].entries[0].clone();
    assert_eq!((entry.license_id.as_str(), entry.free), (license(2).to_string().as_str(), 0));
    let mut third = RawClient::connect(&server.server.socket, 3).await;
    assert_eq!(third.acquire(3, 201).await.expect_err("two seats, two holders").reasons[0].code, 212);
    // The stream lives on, and the seat with it.
    assert!(matches!(
        stream.message().await.expect("a message").expect("a message").event,
        Some(wire::hold_event::Event::Beat(_))
    ));
    assert!(revalidated(&mut second, &reserved.session_id).await);

    let mut server = server.restarted().await;
    assert_eq!(ids(server.sessions().await), both, "also after a restart");
    let mut second = RawClient::connect(&server.server.socket, 2).await;
    second.revalidate(&reserved.session_id).await.expect("still its session");
    second.release(&reserved.session_id).await.expect("released");
    assert_eq!(server.listed().await[0].firms[0].entries[0].free, 1, "the seat of the new licence came free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_new_license_has_fewer_seats_the_oldest_sessions_go_over() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 3)]).await;
    let mut sessions = Vec::new();
    for number in 1..=3 {
        let mut client = RawClient::connect(&server.server.socket, number).await;
        sessions.push(client.acquire(number, 201).await.expect("a seat").session_id);
        server.clock.advance(Duration::from_millis(5));
    }
    let context = server.context(FIRM).await;
    server.import(&vendor.update(&context, vec![withdraw(1), add(2, 201, 2)])).await.expect("imported");
    let left: Vec<String> = server.sessions().await.into_iter().map(|session| session.session_id).collect();
    assert_eq!(left, sessions[..2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_over_only_to_the_same_product_with_its_features() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, 201, 1), add(2, 202, 5)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    client.acquire(1, 201).await.expect("a seat");
    let context = server.context(FIRM).await;
    server.import(&vendor.update(&context, vec![withdraw(1)])).await.expect("imported");
    assert!(server.sessions().await.is_empty(), "another product is no way out");
    assert_eq!(server.listed().await[0].firms[0].entries[0].free, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lent_license_ends_here_on_its_date_for_holders_and_newcomers() {
    let start = start_of_tests();
    let lent = add_item(1, until(201, 2, start.saturating_add(7 * DAY)), Vec::new(), 2);
    let (mut server, _vendor) = TestServer::with(vec![lent]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let held = client.acquire(1, 201).await.expect("a seat");
    let _stream = client.hold(&held.session_id).await.expect("held");
    server.clock.advance(7 * DAY - Duration::from_secs(1));
    assert!(revalidated(&mut client, &held.session_id).await);
    server.clock.advance(Duration::from_secs(1));
    let begun = Instant::now();
    while !server.sessions().await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the session goes on");
    }
    assert_eq!(client.acquire(2, 201).await.expect_err("over").reasons[0].code, 35);
}
