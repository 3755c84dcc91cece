//! The search list of programs: which server is asked, and what is told when none has a seat.

use std::time::{Duration, Instant};

use lictor_clock::ManualClock;
use lictor_sdk::{AcquireError, Client, Refusal, Request};

use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add, start_of_tests};

fn socket(server: &TestServer) -> String {
    format!("unix:{}", server.server.socket.display())
}

fn client(vendor: &Vendor, list: &[&str], clock: &ManualClock) -> Client {
    let builder = Client::builder().trust_root(&vendor.root_document).server(&list.join(","));
    builder.clock(clock.shared()).time_limit(Duration::from_secs(5)).build().expect("a client")
}

async fn refused(client: &Client) -> Refusal {
    match client.acquire(Request::new(FIRM, 201)).await {
        Err(AcquireError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_without_a_free_seat_or_away_lets_the_next_one_serve_and_every_refusal_names_its_server() {
    let (first, vendor) = TestServer::with(vec![add(1, 201, 1)]).await;
    let (second, _) = TestServer::with(vec![add(1, 201, 1)]).await;
    let (first_at, second_at) = (socket(&first), socket(&second));
    let nobody = "unix:/nonexistent/lictor.sock";
    let clock = ManualClock::new(start_of_tests());
    let programs: Vec<Client> = (0..3).map(|_| client(&vendor, &[nobody, &first_at, &second_at], &clock)).collect();
    let one = programs[0].acquire(Request::new(FIRM, 201)).await.expect("a seat of the first");
    let two = programs[1].acquire(Request::new(FIRM, 201)).await.expect("a seat of the second");
    assert_ne!(one.serial(), two.serial());
    let refusal = refused(&programs[2]).await;
    let told: Vec<(&str, u32)> = refusal.reasons.iter().map(|reason| (reason.server.as_str(), reason.code)).collect();
    assert_eq!(told, [(first_at.as_str(), 212), (second_at.as_str(), 212), (nobody, 101)], "{refusal}");
    // The better one has a seat again: it serves, though another one did meanwhile.
    one.release().await;
    let three = programs[2].acquire(Request::new(FIRM, 201)).await.expect("a seat");
    assert_ne!(three.serial(), two.serial());
}

#[tokio::test]
async fn a_server_that_was_away_serves_new_seats_again_and_keeps_nobody_waiting_meanwhile() {
    let (better, vendor) = TestServer::with(vec![add(1, 201, 5)]).await;
    let (other, _) = TestServer::with(vec![add(1, 201, 5)]).await;
    let (better_at, other_at) = (socket(&better), socket(&other));
    let clock = ManualClock::new(start_of_tests());
    let program = client(&vendor, &[&better_at, &other_at], &clock);
    let serial = |seat: &lictor_sdk::Seat| seat.serial().to_owned();
    let at_better = serial(&program.acquire(Request::new(FIRM, 201)).await.expect("a seat"));
    better.server.running.shutdown();
    better.server.running.wait().await.expect("a clean stop");
    let meanwhile = serial(&program.acquire(Request::new(FIRM, 201)).await.expect("a seat of the other"));
    assert_ne!(meanwhile, at_better);
    let TestServer { folder, clock: server_clock, .. } = better;
    let _better = TestServer::on(folder, server_clock, |_| {}).await;
    assert_eq!(serial(&program.acquire(Request::new(FIRM, 201)).await.expect("a seat")), meanwhile, "it rests");
    clock.advance(Duration::from_secs(11));
    assert_eq!(serial(&program.acquire(Request::new(FIRM, 201)).await.expect("a seat")), at_better);
}

#[tokio::test]
async fn servers_that_never_answer_cost_no_more_than_the_time_limit() {
    let vendor = Vendor::new(FIRM, 1);
    // They accept, and say nothing.
    let mute: Vec<std::net::TcpListener> =
        (0..6).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let list: Vec<String> = mute.iter().map(|one| one.local_addr().expect("an address").to_string()).collect();
    let program = Client::builder()
        .trust_root(&vendor.root_document)
        .server(&list.join(","))
        .time_limit(Duration::from_millis(600))
        .build()
        .expect("a client");
    let begun = Instant::now();
    let Err(AcquireError::Unreachable(tried)) = program.acquire(Request::new(FIRM, 201)).await else {
        panic!("nobody answers")
    };
    // Each alone would take its five seconds.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(tried.len(), 6, "each is named: {tried:?}");
}
