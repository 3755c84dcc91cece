//! A sidecar that was copied with its state folder, as a machine is cloned: the network server finds out that there are two.

use std::path::Path;
use std::time::{Duration, Instant};

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::block_service_client::BlockServiceClient;
use lictor_clock::ManualClock;
use tempfile::TempDir;
use tonic::Streaming;

use crate::stage::client::{RawClient, http_get, unix_channel};
use crate::stage::server::TestServer;
use crate::stage::vendor::add;

/// More than half of the time for which a block is lent, so that its sidecar asks again.
const ROUND: Duration = Duration::from_secs(7 * 60);

/// A sidecar with a program that comes every now and then.
struct Side {
    server: TestServer,
    programs: Vec<(RawClient, Streaming<wire::HoldEvent>)>,
}

impl Side {
    async fn start(folder: TempDir, clock: &ManualClock, network: &str) -> Self {
        let lif = folder.path().join("vendor.lif");
        let server = TestServer::on(folder, clock.clone(), |settings| {
            settings.bootstrap.remote_servers = vec![network.to_owned()];
            settings.upstream_trust = vec![lif];
        })
        .await;
        Self { server, programs: Vec::new() }
    }

    /// One more program; whether it has a seat.
    async fn comes(&mut self, number: u8) -> bool {
        let mut program = RawClient::connect(&self.server.server.socket, number).await;
        let Ok(grant) = program.acquire(number, 201).await else { return false };
        let Ok(stream) = program.hold(&grant.session_id).await else { return false };
        self.programs.push((program, stream));
        true
    }

    async fn stop(self) -> TempDir {
        let Self { server, programs } = self;
        drop(programs);
        server.server.running.shutdown();
        server.server.running.wait().await.expect("a clean stop");
        server.folder
    }

    /// Waits until the network server has let it keep its seats for another while.
    async fn until_renewed(&self) {
        let begun = Instant::now();
        while !blocks(&self.server.server.socket).await.borrowed.iter().any(|block| block.usable_ms > 11 * 60_000) {
            assert!(begun.elapsed() < Duration::from_secs(30), "it is not let go on");
            tokio::task::yield_now().await;
        }
    }
}

async fn blocks(socket: &Path) -> wire::ListBlocksResponse {
    let mut client = BlockServiceClient::new(unix_channel(socket).await);
    client.list_blocks(wire::ListBlocksRequest {}).await.expect("blocks").into_inner()
}

async fn lent(network: &TestServer) -> u32 {
    blocks(&network.server.socket).await.lent.iter().map(|block| block.seats).sum()
}

/// Whether the network server says that it sees a copy. Its report may be a moment old.
async fn sees_a_copy(network: &TestServer) -> bool {
    let http = network.server.addresses().http;
    let begun = Instant::now();
    let mut page = String::new();
    while begun.elapsed() < Duration::from_millis(400) {
        page = tokio::task::spawn_blocking(move || http_get(http, "/ready")).await.expect("joined");
    }
    assert!(page.starts_with("HTTP/1.1 200"), "it goes on: {page}");
    page.contains("one of them is a copy of the other") && page.contains("stop the copy")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_sidecar_is_found_out_by_its_network_server_and_the_two_get_no_more_seats() {
    let (network, vendor) = TestServer::with(vec![add(1, 201, 200)]).await;
    let (clock, at) = (network.clock.clone(), network.server.addresses().grpc.to_string());
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("vendor.lif"), vendor.lif()).expect("written");
    let mut first = Side::start(folder, &clock, &at).await;
    assert!(first.comes(1).await);
    let (folder, copy) = (first.stop().await, tempfile::tempdir().expect("a folder"));
    let copied = std::process::Command::new("cp").arg("-a").arg(folder.path().join(".")).arg(copy.path()).status();
    assert!(copied.expect("cp runs").success());

    let mut one = Side::start(folder, &clock, &at).await;
    let mut two = Side::start(copy, &clock, &at).await;
    let mut rounds = 0_u8;
    while !sees_a_copy(&network).await {
        rounds += 1;
        assert!(rounds < 9, "it is never found out");
        clock.advance(ROUND);
        for (side, number) in [(&mut one, 10 + rounds), (&mut two, 100 + rounds)] {
            // The lender may have ended the block of one of them; then it begins anew.
            assert!(side.comes(number).await || side.comes(number + 50).await || rounds > 2);
            side.until_renewed().await;
        }
    }
    assert!(rounds >= 2, "one change of connections proves nothing");

    // What they have they keep; more they do not get, however many programs come.
    let before = lent(&network).await;
    let mut served = 0;
    for number in 30..60 {
        served += u32::from(two.comes(number).await);
    }
    assert!(served < 30, "{served}");
    assert_eq!(lent(&network).await, before);
    assert!(one.server.sessions().await.len() >= usize::from(rounds), "nobody lost a seat");

    // The copy is stopped: after a while the other one gets what it needs again.
    drop(two.stop().await);
    for _ in 0..4 {
        clock.advance(ROUND);
        one.until_renewed().await;
    }
    assert!(!sees_a_copy(&network).await, "there is only one any more");
    for number in 60..90 {
        assert!(one.comes(number).await, "program {number}");
    }
}
