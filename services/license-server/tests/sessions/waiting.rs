//! Waiting for a seat: first come, first served, nobody passed, nobody forgotten.

use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::wait_event::Event;
use lictor_licensing::options::{LingerTime, Options};
use tonic::Streaming;

use crate::stage::client::RawClient;
use crate::stage::server::TestServer;
use crate::stage::vendor::{add, add_item, options};

const EDITOR: u32 = 201;

async fn client(server: &TestServer, key: u8) -> RawClient {
    RawClient::connect(&server.server.socket, key).await
}

/// Somebody in the queue.
struct Waiter {
    client: RawClient,
    stream: Streaming<wire::WaitEvent>,
}

impl Waiter {
    async fn joins(server: &TestServer, key: u8, units: u32) -> Self {
        Self::joins_for(server, key, units, Duration::from_secs(600)).await
    }

    async fn joins_for(server: &TestServer, key: u8, units: u32, span: Duration) -> Self {
        let mut client = client(server, key).await;
        let request = wire::AcquireRequest { units, ..client.wish(key, EDITOR) };
        let wait_ms = u64::try_from(span.as_millis()).expect("short");
        let stream = client.seats.wait(wire::WaitRequest { request: Some(request), wait_ms }).await;
        let stream = stream.expect("a stream").into_inner();
        Self { client, stream }
    }

    async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(Duration::from_secs(20), self.stream.message()).await.expect("in time");
        event.expect("no failure").expect("not over").event.expect("something")
    }

    /// Waits until it stands at a place.
    async fn stands(&mut self, position: u32) -> wire::Waiting {
        loop {
            match self.next().await {
                Event::Waiting(waiting) if waiting.position == position => return waiting,
                Event::Waiting(_) => {}
                other => panic!("expected place {position}, not {other:?}"),
            }
        }
    }

    async fn granted(&mut self) -> wire::Grant {
        loop {
            match self.next().await {
                Event::Grant(grant) => return grant,
                Event::Waiting(_) => {}
                Event::Refusal(refusal) => panic!("{refusal:?}"),
            }
        }
    }

    async fn refused(&mut self) -> u32 {
        loop {
            match self.next().await {
                Event::Refusal(refusal) => return refusal.reasons[0].code,
                Event::Waiting(_) => {}
                Event::Grant(grant) => panic!("{grant:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_that_is_free_is_given_without_waiting() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut waiter = Waiter::joins(&server, 1, 1).await;
    let grant = waiter.granted().await;
    waiter.client.release(&grant.session_id).await.expect("released");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_served_in_the_order_of_coming_and_knows_his_place() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut holder = client(&server, 1).await;
    let mut held = holder.acquire(1, EDITOR).await.expect("a seat").session_id;
    let mut waiters = Vec::new();
    for (key, place) in [(2, 1), (3, 2), (4, 3)] {
        let mut waiter = Waiter::joins(&server, key, 1).await;
        assert_eq!(waiter.stands(place).await.waiting, place);
        waiters.push(waiter);
    }
    server.clock.advance(Duration::from_secs(20));
    holder.revalidate(&held).await.expect("kept");
    for place in 0..3 {
        holder.release(&held).await.expect("released");
        let grant = waiters[place].granted().await;
        for (ahead, behind) in waiters[place + 1..].iter_mut().enumerate() {
            let waiting = behind.stands(u32::try_from(ahead).expect("few") + 1).await;
            assert!(waiting.estimated_ms.is_some(), "seats were given back, so it can be told");
        }
        held = grant.session_id;
        holder = std::mem::replace(&mut waiters[place].client, client(&server, 99).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_passes_those_who_wait_neither_with_fewer_seats_nor_without_waiting() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 3)]).await;
    let mut holder = client(&server, 1).await;
    let one = holder.acquire(1, EDITOR).await.expect("a seat").session_id;
    let mut another = client(&server, 9).await;
    let two = another.acquire(9, EDITOR).await.expect("a seat").session_id;
    let mut large = Waiter::joins(&server, 2, 3).await;
    large.stands(1).await;
    let mut small = Waiter::joins(&server, 3, 1).await;
    small.stands(2).await;
    let mut newcomer = client(&server, 4).await;
    let refusal = newcomer.acquire(4, EDITOR).await.expect_err("one seat is free, and awaited");
    assert_eq!(
        (refusal.reasons[0].code, &*refusal.reasons[0].reason),
        (212, "others wait for the seats that are free")
    );
    assert_eq!(refusal.reasons[0].instead, "wait for a seat in the queue");
    holder.release(&one).await.expect("released");
    another.release(&two).await.expect("released");
    let grant = large.granted().await;
    small.stands(1).await;
    large.client.release(&grant.session_id).await.expect("released");
    small.granted().await;
    newcomer.acquire(5, EDITOR).await.expect("nobody waits any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_goes_away_leaves_the_queue_and_the_others_move_up() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut holder = client(&server, 1).await;
    let held = holder.acquire(1, EDITOR).await.expect("a seat").session_id;
    let mut first = Waiter::joins(&server, 2, 1).await;
    first.stands(1).await;
    let mut second = Waiter::joins(&server, 3, 1).await;
    second.stands(2).await;
    drop(first);
    second.stands(1).await;
    holder.release(&held).await.expect("released");
    second.granted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_that_waiting_cannot_meet_is_refused_at_once() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 2)]).await;
    assert_eq!(Waiter::joins(&server, 1, 3).await.refused().await, 212, "there are only two seats");
    let mut client = client(&server, 2).await;
    let request = Some(client.wish(2, 999));
    let mut stream = client.seats.wait(wire::WaitRequest { request, wait_ms: 0 }).await.expect("a stream").into_inner();
    let answer = stream.message().await.expect("no failure").expect("an answer").event;
    assert!(matches!(answer, Some(Event::Refusal(refusal)) if refusal.reasons[0].code == 200));
    assert!(stream.message().await.expect("no failure").is_none(), "then it is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_ends_with_a_refusal_on_the_clock_that_nobody_sets() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut holder = client(&server, 1).await;
    let held = holder.acquire(1, EDITOR).await.expect("a seat").session_id;
    let mut hold = holder.hold(&held).await.expect("held");
    hold.message().await.expect("a beat");
    let mut waiter = Waiter::joins_for(&server, 2, 1, Duration::from_secs(30)).await;
    waiter.stands(1).await;
    server.clock.set_now(server.clock.shared().now().saturating_add(Duration::from_secs(7_200)));
    let mut other = Waiter::joins_for(&server, 3, 1, Duration::from_secs(600)).await;
    other.stands(2).await;
    server.clock.advance(Duration::from_secs(31));
    assert_eq!(waiter.refused().await, 212);
    other.stands(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_wish_on_another_connection_keeps_its_place_and_gets_one_seat() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut holder = client(&server, 1).await;
    let held = holder.acquire(1, EDITOR).await.expect("a seat").session_id;
    let mut older = Waiter::joins(&server, 2, 1).await;
    older.stands(1).await;
    let mut behind = Waiter::joins(&server, 3, 1).await;
    behind.stands(2).await;
    let mut again = Waiter::joins(&server, 2, 1).await;
    again.stands(1).await;
    assert!(matches!(older.stream.message().await, Ok(None)), "the older stream ends without a word");
    drop(older);
    holder.release(&held).await.expect("released");
    let grant = again.granted().await;
    behind.stands(1).await;
    assert_eq!(server.sessions().await.len(), 1);
    // And once more, after the grant: the same session.
    assert_eq!(Waiter::joins(&server, 2, 1).await.granted().await.session_id, grant.session_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_wish_that_waits_cannot_be_used_for_another_one() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    client(&server, 1).await.acquire(1, EDITOR).await.expect("a seat");
    let mut waiter = Waiter::joins(&server, 2, 1).await;
    waiter.stands(1).await;
    let mut thief = client(&server, 3).await;
    let request = Some(wire::AcquireRequest { request_id: vec![2; 16], ..thief.wish(3, EDITOR) });
    let mut stream = thief.seats.wait(wire::WaitRequest { request, wait_ms: 0 }).await.expect("a stream").into_inner();
    let status = stream.message().await.expect_err("another client");
    assert_eq!(lictor_api::error::problem(&status).code.name(), "request_id_reused");
    let mut other = client(&server, 4).await;
    let request = Some(wire::AcquireRequest { proof: vec![7; 64], ..other.wish(2, EDITOR) });
    let status = other.seats.wait(wire::WaitRequest { request, wait_ms: 0 }).await.expect_err("no proof");
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_whose_waiter_died_between_his_turn_and_the_answer_comes_free() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut holder = client(&server, 1).await;
    let held = holder.acquire(1, EDITOR).await.expect("a seat").session_id;
    let mut dying = Waiter::joins(&server, 2, 1).await;
    dying.stands(1).await;
    let mut next = Waiter::joins(&server, 3, 1).await;
    next.stands(2).await;
    // Both messages are on their way at once: the turn may come before the end of the stream, or after it.
    let (released, ()) = tokio::join!(holder.release(&held), async { drop(dying) });
    released.expect("released");
    server.until_sessions("somebody's turn", |sessions| sessions.len() == 1).await;
    if server.sessions().await[0].client.is_empty() {
        panic!("a session has a client");
    }
    // Whoever it was given to, it is free again after the grace at the latest, or with the next one already.
    server.clock.advance(Duration::from_secs(67));
    next.granted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_that_linger_are_given_when_their_time_is_over() {
    let linger = Options {
        linger_time: Some(LingerTime::new(Duration::from_secs(60)).expect("a time")),
        ..options(EDITOR, Some(1))
    };
    let (server, _vendor) = TestServer::with(vec![add_item(1, linger, Vec::new(), 1)]).await;
    let mut holder = client(&server, 1).await;
    let held = holder.acquire(1, EDITOR).await.expect("a seat").session_id;
    let mut waiter = Waiter::joins(&server, 2, 1).await;
    waiter.stands(1).await;
    holder.release(&held).await.expect("released");
    let again =
        holder.acquire(11, EDITOR).await.expect("the same client has it back at once, whoever waits").session_id;
    holder.release(&again).await.expect("released");
    server.clock.advance(Duration::from_secs(61));
    waiter.granted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_that_an_update_brings_go_to_those_who_wait() {
    let (mut server, mut vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut holder = client(&server, 1).await;
    holder.acquire(1, EDITOR).await.expect("a seat");
    let mut waiter = Waiter::joins(&server, 2, 1).await;
    waiter.stands(1).await;
    let context = server.context(crate::stage::vendor::FIRM).await;
    server.import(&vendor.update(&context, vec![add(2, EDITOR, 1)])).await.expect("imported");
    waiter.granted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_server_stops_the_streams_end_and_the_queue_begins_anew_behind_the_sessions() {
    let (server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut holder = client(&server, 1).await;
    let held = holder.acquire(1, EDITOR).await.expect("a seat").session_id;
    let mut waiter = Waiter::joins(&server, 2, 1).await;
    waiter.stands(1).await;
    drop(holder);
    let restarting = tokio::spawn(server.restarted());
    // Ended or cut off, but never answered.
    assert!(!matches!(waiter.stream.message().await, Ok(Some(_))));
    drop(waiter);
    let server = restarting.await.expect("restarted");
    let mut waiter = Waiter::joins(&server, 2, 1).await;
    waiter.stands(1).await;
    let mut holder = client(&server, 1).await;
    let _ = holder.acquire(1, EDITOR).await.expect("the same session");
    holder.release(&held).await.expect("released");
    waiter.granted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_says_what_every_entry_answers_and_where_one_would_stand() {
    let (mut server, _vendor) =
        TestServer::with(vec![add(1, EDITOR, 1), add_item(2, options(EDITOR, None), Vec::new(), 0)]).await;
    let wish = |mode: i32, units| wire::AcquireRequest {
        firm_code: crate::stage::vendor::FIRM,
        product_code: EDITOR,
        mode,
        units,
        ..Default::default()
    };
    let request = wire::ExplainRequest { request: Some(wish(0, 1)) };
    let explained = server.containers.explain(request).await.expect("explained").into_inner();
    assert!(explained.granted && explained.verdicts.len() == 2);
    assert!(explained.rules.expect("rules").allowed);

    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    client(&server, 1).await.acquire(1, EDITOR).await.expect("a seat");
    let mut waiter = Waiter::joins(&server, 2, 1).await;
    waiter.stands(1).await;
    let request = wire::ExplainRequest { request: Some(wish(0, 1)) };
    let explained = server.containers.explain(request).await.expect("explained").into_inner();
    assert!(!explained.granted);
    assert_eq!(explained.position, 2);
    let verdict = &explained.verdicts[0];
    assert!(!verdict.serves && verdict.reason.as_ref().is_some_and(|reason| reason.code == 212), "{verdict:?}");
}
