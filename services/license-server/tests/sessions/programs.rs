//! Programs that wait by the SDK.

use std::time::Duration;

use lictor_sdk::{AcquireError, Client, Request, SeatState, Standing};
use tokio::sync::mpsc;

use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add};

const EDITOR: u32 = 201;

fn program(server: &TestServer, vendor: &Vendor) -> Client {
    let builder = Client::builder().trust_root(&vendor.root_document).clock(server.shared_clock());
    builder.server(&format!("unix:{}", server.server.socket.display())).build().expect("a client")
}

fn wish() -> Request {
    Request::new(FIRM, EDITOR).wait(Duration::from_secs(600))
}

/// Asks and waits in the background; gives what it hears, and its seat.
fn waits(
    client: Client,
) -> (mpsc::UnboundedReceiver<Standing>, tokio::task::JoinHandle<Result<lictor_sdk::Seat, AcquireError>>) {
    let (told, hears) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move { client.acquire_telling(wish(), |standing| drop(told.send(standing))).await });
    (hears, task)
}

async fn place(hears: &mut mpsc::UnboundedReceiver<Standing>) -> u32 {
    let heard = tokio::time::timeout(Duration::from_secs(20), hears.recv()).await;
    heard.expect("in time").expect("a place").position
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_waits_is_told_its_place_and_gets_its_seat() {
    let (server, vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let first = program(&server, &vendor).acquire(wish()).await.expect("free");
    let (mut hears, second) = waits(program(&server, &vendor));
    assert_eq!(place(&mut hears).await, 1);
    let (mut hears, third) = waits(program(&server, &vendor));
    assert_eq!(place(&mut hears).await, 2);
    first.release().await;
    let second = second.await.expect("no panic").expect("its turn");
    assert_eq!(second.state(), SeatState::Held);
    assert!(second.is_valid());
    assert_eq!(place(&mut hears).await, 1);
    second.release().await;
    third.await.expect("no panic").expect("its turn").release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_waits_comes_again_by_itself_after_a_restart() {
    let (server, vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let first = program(&server, &vendor).acquire(wish()).await.expect("free");
    let (mut hears, second) = waits(program(&server, &vendor));
    assert_eq!(place(&mut hears).await, 1);
    let server = server.restarted().await;
    assert_eq!(place(&mut hears).await, 1, "told again by the new one");
    first.release().await;
    second.await.expect("no panic").expect("its turn").release().await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_stops_waiting_leaves_the_queue_and_one_without_patience_is_refused() {
    let (server, vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let first = program(&server, &vendor).acquire(wish()).await.expect("free");
    let refused = program(&server, &vendor).acquire(Request::new(FIRM, EDITOR)).await;
    assert!(matches!(refused, Err(AcquireError::Refused(refusal)) if refusal.reasons[0].code == 212));
    let (mut hears, second) = waits(program(&server, &vendor));
    assert_eq!(place(&mut hears).await, 1);
    let (mut hears, third) = waits(program(&server, &vendor));
    assert_eq!(place(&mut hears).await, 2);
    second.abort();
    assert_eq!(place(&mut hears).await, 1);
    first.release().await;
    third.await.expect("no panic").expect("its turn").release().await;
}
