//! What a seat costs the server. Prints figures and asserts only counts, which do not depend on the machine; run it with
//! `cargo test -p lictor-license-server --test it cost -- --nocapture`.

use std::time::{Duration, Instant};

use lictor_api::server::v1 as wire;

use crate::process::{Program, cpu_of, fill, metric};
use crate::stage::client::RawClient;
use crate::stage::scale;

const CONNECTIONS: u8 = 4;
const IN_FLIGHT: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_share_a_sync() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, http) = Program::start_with_http(folder.path()).await;
    fill(&program.socket, 100_000).await;
    let pairs = 20 * usize::try_from(scale()).expect("small");
    let mut lanes = tokio::task::JoinSet::new();
    let syncs_before = metric(http, "lictor_journal_syncs").await;
    let signatures_before = metric(http, "lictor_grant_signatures_total").await;
    let (cpu, begun) = (cpu_of(program.child.id()), Instant::now());
    for connection in 0..CONNECTIONS {
        let client = RawClient::connect(&program.socket, 1 + connection).await;
        for lane in 0..IN_FLIGHT {
            let wish = client.wish(0, 201);
            let mut seats = client.seats.clone();
            lanes.spawn(async move {
                for round in 0..pairs {
                    let mut request = wish.clone();
                    let name = (u128::from(connection) << 64) | ((lane as u128) << 32) | round as u128;
                    request.request_id = name.to_be_bytes().to_vec();
                    let answer = seats.acquire(request).await.expect("an answer").into_inner();
                    let Some(wire::acquire_response::Outcome::Grant(grant)) = answer.outcome else {
                        panic!("a seat for everybody: {answer:?}")
                    };
                    let request = wire::ReleaseRequest { session_id: grant.session_id, proof: Vec::new() };
                    seats.release(request).await.expect("released");
                }
            });
        }
    }
    while let Some(done) = lanes.join_next().await {
        done.expect("joined");
    }
    let (cpu, wall) = (cpu_of(program.child.id()) - cpu, begun.elapsed());
    let all = usize::from(CONNECTIONS) * IN_FLIGHT * pairs;
    let syncs = metric(http, "lictor_journal_syncs").await - syncs_before;
    let signatures = metric(http, "lictor_grant_signatures_total").await - signatures_before;
    let per_pair = |span: Duration| span.as_secs_f64() * 1e6 / all as f64;
    println!(
        "{all} pairs: {:.1} us CPU each, {:.1} us wall each, {syncs} syncs, {signatures} signatures",
        per_pair(cpu),
        per_pair(wall)
    );
    assert!(syncs * 8.0 <= all as f64, "{syncs} syncs for {all} grants");
    assert!(signatures <= syncs + 1.0 && signatures > 0.0, "{signatures} signatures in {syncs} commits");
}
