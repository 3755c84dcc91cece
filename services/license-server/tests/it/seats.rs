//! Seats as clients see them: never one too many, never charged twice, never lost by a restart.

use std::time::Duration;

use crate::stage::client::RawClient;
use crate::stage::server::TestServer;
use crate::stage::vendor::{add, add_item, options};
use lictor_api::server::v1 as wire;
use lictor_licensing::item::ModuleItem;
use lictor_licensing::options::{LingerTime, Options};
use tonic::Code;

const EDITOR: u32 = 201;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_seat_too_many_is_refused_and_names_the_holders() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 2)]).await;
    let mut first = RawClient::connect(&server.server.socket, 1).await;
    let mut second = RawClient::connect(&server.server.socket, 2).await;
    let mut third = RawClient::connect(&server.server.socket, 3).await;
    let granted = first.acquire(1, EDITOR).await.unwrap();
    second.acquire(2, EDITOR).await.unwrap();
    let refusal = third.acquire(3, EDITOR).await.unwrap_err();
    assert_eq!(refusal.reasons.len(), 1);
    let reason = &refusal.reasons[0];
    assert_eq!((reason.code, reason.product_code), (212, EDITOR));
    assert_eq!(reason.holders.len(), 2, "{reason:?}");
    assert_eq!(reason.serial, granted.serial);
    assert!(reason.free_at.is_some(), "nobody holds a stream, so the end is known");

    first.release(&granted.session_id).await.unwrap();
    third.acquire(4, EDITOR).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_id_is_the_same_session_also_after_a_restart() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let first = client.acquire(1, EDITOR).await.unwrap();
    let again = client.acquire(1, EDITOR).await.unwrap();
    assert_eq!(first, again, "byte for byte the same grant");
    drop(client);

    let mut server = server.restarted().await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let after = client.acquire(1, EDITOR).await.unwrap();
    assert_eq!((after.session_id, after.statement), (first.session_id, first.statement));
    assert_eq!(server.sessions().await.len(), 1);
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    assert_eq!(other.acquire(2, EDITOR).await.unwrap_err().reasons[0].code, 212, "the seat is still taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_with_another_wish_or_after_its_end_is_an_error() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 5), add(2, 300, 5)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    let other = client.wish(1, 300);
    let status = client.seats.acquire(other).await.unwrap_err();
    assert_eq!(lictor_api::error::problem(&status).code.name(), "request_id_reused");

    client.release(&granted.session_id).await.unwrap();
    client.release(&granted.session_id).await.expect("releasing twice is no error");
    let late = client.wish(1, EDITOR);
    let status = client.seats.acquire(late).await.unwrap_err();
    assert_eq!(lictor_api::error::problem(&status).code.name(), "wrong_state", "a late copy takes no seat");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_stream_keeps_the_seat_for_the_grace_and_no_longer() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    let mut stream = client.hold(&granted.session_id).await.unwrap();
    assert!(matches!(stream.message().await.unwrap().unwrap().event, Some(wire::hold_event::Event::Beat(_))));
    server.until_sessions("held", |sessions| sessions[0].state == "held").await;

    // Held by a stream, a session outlives any span.
    server.clock.advance(Duration::from_secs(3_600));
    assert_eq!(server.sessions().await.len(), 1);

    drop(stream);
    drop(client);
    server.until_sessions("reserved", |sessions| sessions[0].state == "reserved").await;
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    server.clock.advance(Duration::from_millis(32_900));
    assert_eq!(other.acquire(2, EDITOR).await.unwrap_err().reasons[0].code, 212, "within grace and a tenth");

    // A reconnect within the grace is the same session and charges nothing.
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let mut stream = client.hold(&granted.session_id).await.unwrap();
    stream.message().await.unwrap().unwrap();
    assert_eq!(server.sessions().await.len(), 1);
    server.clock.advance(Duration::from_secs(100));
    assert_eq!(other.acquire(3, EDITOR).await.unwrap_err().reasons[0].code, 212);

    drop(stream);
    drop(client);
    server.until_sessions("reserved", |sessions| sessions[0].state == "reserved").await;
    server.clock.advance(Duration::from_secs(33));
    other.acquire(4, EDITOR).await.expect("free after the grace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revalidation_keeps_a_session_without_a_stream() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    for _ in 0..3 {
        server.clock.advance(Duration::from_secs(60));
        client.revalidate(&granted.session_id).await.unwrap();
    }
    assert_eq!(server.sessions().await.len(), 1);
    server.clock.advance(Duration::from_secs(66));
    assert_eq!(client.revalidate(&granted.session_id).await.unwrap_err().code(), Code::NotFound);
    server.until_sessions("gone", <[_]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_nobody_gets_a_seat_before_its_time_is_over() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    server.clock.advance(Duration::from_secs(50));
    let server = server.restarted().await;
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    server.clock.advance(Duration::from_secs(65));
    assert_eq!(other.acquire(2, EDITOR).await.unwrap_err().reasons[0].code, 212);
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    client.revalidate(&granted.session_id).await.expect("the session came back with its id");
    server.clock.advance(Duration::from_secs(67));
    other.acquire(3, EDITOR).await.expect("free now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_promised_before_a_restart_holds_when_a_stream_breaks_after_it() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let granted = RawClient::connect(&server.server.socket, 1).await.acquire(1, EDITOR).await.unwrap();
    let mut server = server.restarted().await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let mut stream = client.hold(&granted.session_id).await.unwrap();
    stream.message().await.unwrap().unwrap();
    server.until_sessions("held", |sessions| sessions[0].state == "held").await;
    drop(stream);
    drop(client);
    server.until_sessions("reserved", |sessions| sessions[0].state == "reserved").await;

    let mut other = RawClient::connect(&server.server.socket, 2).await;
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(other.acquire(2, EDITOR).await.unwrap_err().reasons[0].code, 212, "longer than the grace of the stream");
    server.clock.advance(Duration::from_secs(7));
    other.acquire(3, EDITOR).await.expect("free now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stream_replaces_the_first_and_an_old_end_frees_nothing() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    let mut first = client.hold(&granted.session_id).await.unwrap();
    first.message().await.unwrap().unwrap();
    let mut second = client.hold(&granted.session_id).await.unwrap();
    second.message().await.unwrap().unwrap();
    assert!(first.message().await.unwrap().is_none(), "the first stream ends");
    drop(first);
    server.clock.advance(Duration::from_secs(600));
    assert_eq!(server.sessions().await[0].state, "held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_holder_of_the_client_key_may_use_or_free_a_session() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    let mut thief = RawClient::connect(&server.server.socket, 2).await;
    thief.release(&granted.session_id).await.expect("no error, and no effect");
    assert_eq!(thief.hold(&granted.session_id).await.unwrap_err().code(), Code::Unauthenticated);
    // The proof of the right client, heard on another connection.
    thief.proof.clone_from(&client.proof);
    assert_eq!(thief.hold(&granted.session_id).await.unwrap_err().code(), Code::Unauthenticated);
    thief.proof.clear();
    assert_eq!(thief.hold(&granted.session_id).await.unwrap_err().code(), Code::NotFound);
    let mut forged = client.wish(9, EDITOR);
    forged.proof.clear();
    assert_eq!(thief.seats.acquire(forged).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(server.sessions().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_needs_its_parent_shares_the_seat_of_its_client() {
    let module = ModuleItem {
        options: Options { product_code: Some(lictor_licensing::id::ProductCode(202)), ..Options::default() },
        requires_parent: true,
    };
    let (server, _vendor) = TestServer::with(vec![add_item(1, options(EDITOR, Some(1)), vec![module], 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    assert_eq!(client.acquire(1, 202).await.unwrap_err().reasons[0].code, 231, "the parent is not held");
    client.acquire(2, EDITOR).await.unwrap();
    let module = client.acquire(3, 202).await.expect("the same client takes no second seat");
    assert_eq!(module.entry.unwrap().module_of, Some(EDITOR));
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    assert_eq!(other.acquire(4, 202).await.unwrap_err().reasons[0].code, 231);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_lingers_for_others_but_not_for_its_client() {
    let linger = LingerTime::new(Duration::from_secs(300)).unwrap();
    let options = Options { linger_time: Some(linger), ..options(EDITOR, Some(1)) };
    let (server, _vendor) = TestServer::with(vec![add_item(1, options, Vec::new(), 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    client.release(&granted.session_id).await.unwrap();
    assert_eq!(other.acquire(2, EDITOR).await.unwrap_err().reasons[0].code, 212);
    let granted = client.acquire(3, EDITOR).await.expect("back at once");
    client.release(&granted.session_id).await.unwrap();
    server.clock.advance(Duration::from_secs(301));
    other.acquire(4, EDITOR).await.expect("free after the linger time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_license_and_its_client_is_told_why() {
    let end = crate::stage::vendor::start_of_tests().saturating_add(Duration::from_secs(600));
    let options = Options { expiration_time: Some(end), ..options(EDITOR, Some(1)) };
    let (mut server, _vendor) = TestServer::with(vec![add_item(1, options, Vec::new(), 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    let mut stream = client.hold(&granted.session_id).await.unwrap();
    stream.message().await.unwrap().unwrap();
    server.clock.advance(Duration::from_secs(600));
    let ended = loop {
        match stream.message().await.unwrap().unwrap().event.unwrap() {
            wire::hold_event::Event::Beat(_) => {}
            wire::hold_event::Event::Ended(ended) => break ended,
        }
    };
    assert_eq!(ended.reason.unwrap().code, 35);
    assert!(server.sessions().await.is_empty());
    assert_eq!(client.acquire(2, EDITOR).await.unwrap_err().reasons[0].code, 35);
    // Turning the clock back does not bring it back: the time was seen by nobody else, so the day decides.
    let explained = server.containers.explain(wire::ExplainRequest { request: Some(client.wish(3, EDITOR)) }).await;
    assert!(!explained.unwrap().into_inner().granted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_usage_period_starts_once_also_over_a_restart() {
    let period = lictor_licensing::options::UsagePeriod::new(Duration::from_secs(1_000)).unwrap();
    let options = Options { usage_period: Some(period), ..options(EDITOR, Some(1)) };
    let (server, _vendor) = TestServer::with(vec![add_item(1, options, Vec::new(), 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(1, EDITOR).await.unwrap();
    client.release(&granted.session_id).await.unwrap();
    server.clock.advance(Duration::from_secs(700));
    let server = server.restarted().await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let granted = client.acquire(2, EDITOR).await.expect("300 seconds are left");
    client.release(&granted.session_id).await.unwrap();
    server.clock.advance(Duration::from_secs(300));
    assert_eq!(client.acquire(3, EDITOR).await.unwrap_err().reasons[0].code, 71);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_firm_product_and_malformed_wishes_are_told_apart() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let wish = wire::AcquireRequest { firm_code: 77, ..client.wish(1, EDITOR) };
    assert_eq!(client.ask(wish).await.unwrap_err().reasons[0].code, 200);
    assert_eq!(client.acquire(2, 999).await.unwrap_err().reasons[0].code, 200);
    let wish = wire::AcquireRequest { feature_map: 8, ..client.wish(3, EDITOR) };
    assert_eq!(client.ask(wish).await.unwrap_err().reasons[0].code, 200);
    let good = client.wish(4, EDITOR);
    let bad = [
        wire::AcquireRequest { request_id: vec![1; 15], ..good.clone() },
        wire::AcquireRequest { nonce: vec![1; 31], ..good.clone() },
        wire::AcquireRequest { client_key: vec![0; 32], ..good.clone() },
        wire::AcquireRequest { firm_code: 0, ..good.clone() },
        wire::AcquireRequest { units: 10_001, ..good.clone() },
        wire::AcquireRequest { program: "x".repeat(129), ..good.clone() },
        wire::AcquireRequest { host: "a\nb".to_owned(), ..good.clone() },
        wire::AcquireRequest { parent_sessions: vec!["ses_x".to_owned()], ..good.clone() },
        wire::AcquireRequest {
            release_date: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            ..good.clone()
        },
    ];
    for request in bad {
        let status = client.seats.acquire(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}");
    }
    let huge = wire::AcquireRequest { user: "x".repeat(20_000), ..good };
    assert_eq!(client.seats.acquire(huge).await.unwrap_err().code(), Code::OutOfRange);
    assert!(server.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explaining_takes_nothing_and_says_the_same() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let wish =
        wire::AcquireRequest { firm_code: crate::stage::vendor::FIRM, product_code: EDITOR, ..Default::default() };
    for _ in 0..2 {
        let explained = server.containers.explain(wire::ExplainRequest { request: Some(wish.clone()) }).await;
        let explained = explained.unwrap().into_inner();
        assert!(explained.granted);
        assert_eq!(explained.entry.unwrap().free, 1);
    }
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    client.acquire(1, EDITOR).await.unwrap();
    let explained = server.containers.explain(wire::ExplainRequest { request: Some(wish) }).await.unwrap().into_inner();
    assert!(!explained.granted);
    assert_eq!(explained.refusal.unwrap().reasons[0].code, 212);
}
