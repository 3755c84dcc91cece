//! The real program is killed while programs hold its seats and others wait for them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lictor_api::server::v1::ListSessionsRequest;
use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_sdk::{Client, Request, Seat};

use crate::process::{Program, fill_with};
use crate::stage::client::unix_channel;
use crate::stage::vendor::{FIRM, Vendor};

const SEATS: usize = 2;
const WAITERS: usize = 6;

async fn sessions(socket: &Path) -> BTreeSet<String> {
    let mut containers = ContainerServiceClient::new(unix_channel(socket).await);
    let listed = containers.list_sessions(ListSessionsRequest {}).await.expect("sessions").into_inner().sessions;
    let ids: BTreeSet<String> = listed.iter().map(|session| session.session_id.clone()).collect();
    assert_eq!(ids.len(), listed.len());
    assert!(ids.len() <= SEATS, "more seats than there are: {ids:?}");
    ids
}

fn program(vendor: &Vendor, socket: &Path) -> Client {
    let at = format!("unix:{}", socket.display());
    Client::builder().trust_root(&vendor.root_document).server(&at).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_with_a_queue_every_waiter_comes_back_and_gets_one_seat_and_no_seat_is_lost_or_doubled() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut vendor = Vendor::new(FIRM, 1);
    let mut server = Program::start(folder.path()).await;
    fill_with(&server.socket, &mut vendor, u32::try_from(SEATS).expect("few")).await;
    let socket = server.socket.clone();
    let mut held: Vec<Seat> = Vec::new();
    for _ in 0..SEATS {
        held.push(program(&vendor, &socket).acquire(Request::new(FIRM, 201)).await.expect("a seat"));
    }
    let before = sessions(&socket).await;
    // How often any of them was told how he stands.
    let told = Arc::new(AtomicUsize::new(0));
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..WAITERS {
        let (client, told) = (program(&vendor, &socket), Arc::clone(&told));
        waiters.spawn(async move {
            let mut places = Vec::new();
            let request = Request::new(FIRM, 201).wait(Duration::from_secs(120));
            let seat = client
                .acquire_telling(request, |standing| {
                    places.push(standing.position);
                    told.fetch_add(1, Ordering::Relaxed);
                })
                .await;
            (client, seat.expect("a seat in the end"), places)
        });
    }
    let until = |count: usize, told: Arc<AtomicUsize>| async move {
        let begun = Instant::now();
        while told.load(Ordering::Relaxed) < count {
            assert!(begun.elapsed() < Duration::from_secs(60), "they do not all stand in the queue");
            tokio::task::yield_now().await;
        }
    };
    until(WAITERS, Arc::clone(&told)).await;
    for round in 2..4 {
        server.kill();
        server = Program::start(folder.path()).await;
        // The seats are still their holders', and whoever waited stands in the queue again and is told where.
        assert_eq!(sessions(&socket).await, before, "after kill {}", round - 1);
        until(round * WAITERS, Arc::clone(&told)).await;
        assert!(waiters.try_join_next().is_none(), "somebody was given a seat that another one holds");
        assert_eq!(sessions(&socket).await, before);
    }
    // One after the other gives his seat back, and each of them serves one more.
    let mut served = BTreeSet::new();
    while !waiters.is_empty() {
        held.remove(0).release().await;
        let (_client, seat, places) = waiters.join_next().await.expect("one waits").expect("served");
        assert!(places.len() >= 3, "told at first and after each kill: {places:?}");
        assert!(served.insert(seat.session_id().to_string()), "one seat for two");
        held.push(seat);
        assert_eq!(sessions(&socket).await.len(), SEATS, "no seat is lost");
    }
    assert_eq!(served.len(), WAITERS);
    for seat in held {
        seat.release().await;
    }
    assert!(sessions(&socket).await.is_empty());
}
