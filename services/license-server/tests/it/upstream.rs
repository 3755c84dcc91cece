//! A sidecar behind a network server: it hands out seats that it borrows in blocks.

use std::path::Path;
use std::time::{Duration, Instant};

use lictor_api::server::v1 as wire;
use lictor_api::server::v1::block_service_client::BlockServiceClient;
use lictor_clock::ManualClock;
use lictor_key_store::MemorySigner;
use lictor_licensing::options::{NamedUsers, Options, UnitCounter};
use lictor_sdk::{AcquireError, Client, Request, Seat, TrustError};
use lictor_signing::{BlockCertificate, Envelope, Signer as _};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::fake::{Fake, genuine, try_with};
use crate::process::{Program, fill_with};
use crate::stage::client::{RawClient, http_get, unix_channel};
use crate::stage::server::TestServer;
use crate::stage::vendor::{FIRM, Vendor, add, add_item, options, start_of_tests};

/// A sidecar that has no container of its own and asks these servers.
async fn sidecar(
    vendor: &Vendor,
    servers: &[String],
    change: impl FnOnce(&mut lictor_license_server::Settings),
) -> TestServer {
    let folder = tempfile::tempdir().expect("a folder");
    let lif = folder.path().join("vendor.lif");
    std::fs::write(&lif, vendor.lif()).expect("written");
    TestServer::on(folder, ManualClock::new(start_of_tests()), |settings| {
        settings.bootstrap.remote_servers = servers.to_vec();
        settings.upstream_trust = vec![lif];
        change(settings);
    })
    .await
}

fn address(server: &TestServer) -> String {
    server.server.addresses().grpc.to_string()
}

fn program(vendor: &Vendor, at: &str) -> Client {
    let clock = ManualClock::new(start_of_tests()).shared();
    Client::builder().trust_root(&vendor.root_document).server(at).clock(clock).build().expect("a client")
}

async fn blocks(socket: &Path) -> wire::ListBlocksResponse {
    let mut client = BlockServiceClient::new(unix_channel(socket).await);
    client.list_blocks(wire::ListBlocksRequest {}).await.expect("blocks").into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_hands_out_seats_of_a_network_server_that_programs_believe() {
    let (mut network, vendor) = TestServer::with(vec![add(1, 201, 3)]).await;
    let at_network = address(&network);
    let side = sidecar(&vendor, std::slice::from_ref(&at_network), |_| {}).await;
    let mut seats: Vec<Seat> = Vec::new();
    for _ in 0..3 {
        let asked = program(&vendor, &address(&side)).acquire(Request::new(FIRM, 201)).await;
        seats.push(asked.expect("a seat of the network server"));
    }
    let serial = network.listed().await[0].serial.clone();
    assert!(seats.iter().all(|seat| seat.serial() == serial && seat.units() == 1));
    let Err(AcquireError::Refused(refusal)) = program(&vendor, &address(&side)).acquire(Request::new(FIRM, 201)).await
    else {
        panic!("a seat too many")
    };
    assert!(refusal.reasons.iter().any(|reason| reason.server == at_network && reason.code == 212), "{refusal}");
    // What is lent counts as taken there.
    let Err(AcquireError::Refused(_)) = program(&vendor, &at_network).acquire(Request::new(FIRM, 201)).await else {
        panic!("a seat twice")
    };
    let (lent, borrowed) = (blocks(&network.server.socket).await.lent, blocks(&side.server.socket).await.borrowed);
    assert_eq!((lent.len(), lent[0].seats), (1, 3));
    assert_eq!((borrowed.len(), borrowed[0].seats, borrowed[0].used), (1, 3, 3));
    assert_eq!(borrowed[0].block_id, lent[0].block_id);
    assert_eq!(network.sessions().await.len(), 1, "a block is one session there");
    // Keys of the product stay with the licence.
    let keys = lictor_sdk::KeyChoice::new(1);
    let answer = seats[0].encrypt(&keys, b"text", b"").await.expect_err("the key is not here");
    assert!(answer.to_string().contains("lent"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_overtaken_by_a_crowd_is_not_refused_while_the_network_server_has_seats() {
    let (network, vendor) = TestServer::with(vec![add(1, 201, 1_000)]).await;
    for _ in 0..10 {
        let side = sidecar(&vendor, &[address(&network)], |_| {}).await;
        let client = program(&vendor, &address(&side));
        // The first ones ask for as many seats as they are, and those who come while the answer is on its way are faster.
        let crowd: JoinSet<Seat> = (0..60)
            .map(|_| {
                let client = client.clone();
                async move { client.acquire(Request::new(FIRM, 201)).await.expect("there are a thousand seats") }
            })
            .collect();
        assert_eq!(crowd.join_all().await.len(), 60);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_means_that_a_seat_could_be_given_and_says_why_not() {
    let (network, vendor) = TestServer::with(vec![add(1, 201, 3)]).await;
    let gone = "unix:/nonexistent/lictor.sock".to_owned();
    let alone = sidecar(&vendor, std::slice::from_ref(&gone), |_| {}).await;
    let http = alone.server.addresses().http;
    let page = tokio::task::spawn_blocking(move || http_get(http, "/ready")).await.expect("joined");
    assert!(page.starts_with("HTTP/1.1 503") && page.contains("no network server answers"), "{page}");
    assert!(page.contains("/nonexistent/lictor.sock"), "{page}");
    let side = sidecar(&vendor, &[gone, address(&network)], |_| {}).await;
    let _seat = program(&vendor, &address(&side)).acquire(Request::new(FIRM, 201)).await.expect("a seat");
    let http = side.server.addresses().http;
    let page = tokio::task::spawn_blocking(move || http_get(http, "/ready")).await.expect("joined");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_server_that_the_vendor_does_not_certify_lends_nothing() {
    let mut network = TestServer::empty().await;
    let mut impostor = Vendor::new(FIRM, 9);
    network.create(&impostor.lif()).await.expect("created");
    let context = network.context(FIRM).await;
    network.import(&impostor.update(&context, vec![add(1, 201, 3)])).await.expect("imported");
    let vendor = Vendor::new(FIRM, 1);
    let side = sidecar(&vendor, &[address(&network)], |_| {}).await;
    let Err(AcquireError::Refused(refusal)) = program(&vendor, &address(&side)).acquire(Request::new(FIRM, 201)).await
    else {
        panic!("a seat of nobody")
    };
    assert!(refusal.to_string().contains("not believed"), "{refusal}");
    assert!(network.sessions().await.is_empty(), "it was not even asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn licenses_that_only_their_own_server_can_keep_are_not_lent_and_a_sidecar_keeps_its_rules() {
    let named = Options { named_users: NamedUsers::new(5, 5).ok(), ..options(202, Some(5)) };
    let counting = Options { unit_counter: Some(UnitCounter(9)), ..options(203, Some(5)) };
    let uncounted = options(204, None);
    let operations = vec![
        add(1, 201, 5),
        add_item(2, named, Vec::new(), 5),
        add_item(3, counting, Vec::new(), 5),
        add_item(4, uncounted, Vec::new(), 0),
    ];
    let (network, vendor) = TestServer::with(operations).await;
    let side = sidecar(&vendor, &[address(&network)], |_| {}).await;
    for product in [202, 203, 204] {
        let asked = program(&vendor, &address(&side)).acquire(Request::new(FIRM, product)).await;
        let Err(AcquireError::Refused(refusal)) = asked else { panic!("{product} was lent") };
        assert!(refusal.reasons.iter().all(|reason| reason.server == address(&network)), "{refusal}");
    }
    assert!(blocks(&network.server.socket).await.lent.is_empty());
    let rules = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rules.path(), "[[rule]]\nname = \"none\"\neffect = \"deny\"\nwhen = { product_code = [201] }\n")
        .expect("written");
    let path = rules.path().to_owned();
    let strict = sidecar(&vendor, &[address(&network)], |settings| settings.rules_file = Some(path)).await;
    let Err(AcquireError::Refused(refusal)) =
        program(&vendor, &address(&strict)).acquire(Request::new(FIRM, 201)).await
    else {
        panic!("the sidecar's rules do not count")
    };
    assert!(blocks(&network.server.socket).await.lent.is_empty(), "nothing was borrowed for nobody: {refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lender_s_rules_decide_by_the_address_of_the_server_that_borrows() {
    for (subnet, lent) in [("127.0.0.1", false), ("127.0.0.2", true)] {
        let rules = tempfile::NamedTempFile::new().expect("a file");
        let rule = format!("[[rule]]\nname = \"not these\"\neffect = \"deny\"\nwhen = {{ subnet = [\"{subnet}\"] }}\n");
        std::fs::write(rules.path(), rule).expect("written");
        let path = rules.path().to_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::new(start_of_tests());
        let mut network = TestServer::on(folder, clock, |settings| settings.rules_file = Some(path)).await;
        let vendor = network.licensed(vec![add(1, 201, 5)]).await;
        let side = sidecar(&vendor, &[address(&network)], |_| {}).await;
        let asked = program(&vendor, &address(&side)).acquire(Request::new(FIRM, 201)).await;
        assert_eq!(blocks(&network.server.socket).await.lent.len(), usize::from(lent), "{subnet}");
        match asked {
            Ok(_) => assert!(lent, "{subnet} is denied"),
            Err(AcquireError::Refused(refusal)) => {
                assert!(!lent && refusal.to_string().contains("not these"), "{subnet}: {refusal}");
            }
            Err(error) => panic!("{subnet}: {error}"),
        }
    }
}

/// What a lender signs for the key of the server that hands out its seats.
fn delegated(vendor: &Vendor, change: impl FnOnce(&mut BlockCertificate), signer: Option<&MemorySigner>) -> Fake {
    let (lender, server) = (MemorySigner::from_seed(&[60; 32]), MemorySigner::from_seed(&[61; 32]));
    let container_id = [4; 32];
    let day = Duration::from_secs(86_400);
    let mut block = BlockCertificate {
        firm_code: FIRM,
        product_code: 201,
        feature_map: 1,
        container_id,
        key: server.public_key(),
        seats: 4,
        max_grant_seconds: 900,
        not_before: start_of_tests().saturating_sub(day),
        not_after: start_of_tests().saturating_add(day),
    };
    change(&mut block);
    let delegation = Envelope::seal(&block, &[signer.unwrap_or(&lender)]).expect("signed").to_bytes();
    let chain = wire::LeaseChain {
        firm_code: FIRM,
        root_documents: vec![vendor.root_document.clone()],
        lease_certificate: vendor.certify(container_id, lender.public_key()),
        delegation,
    };
    Fake { claimed: server.public_key(), key: server, lender: Some(chain), ..genuine(vendor) }
}

#[tokio::test]
async fn a_server_may_grant_of_a_block_only_what_the_lender_let_this_very_key_grant() {
    let vendor = Vendor::new(FIRM, 1);
    try_with(&vendor, delegated(&vendor, |_| {}, None)).await.expect("the test itself works");
    let stranger = MemorySigner::from_seed(&[62; 32]);
    let day = Duration::from_secs(86_400);
    let cases: Vec<(&str, Fake)> = vec![
        ("signed by a stranger", delegated(&vendor, |_| {}, Some(&stranger))),
        ("to another key", delegated(&vendor, |block| block.key = stranger.public_key(), None)),
        ("another product", delegated(&vendor, |block| block.product_code = 202, None)),
        ("fewer features", delegated(&vendor, |block| block.feature_map = 0, None)),
        ("another container", delegated(&vendor, |block| block.container_id = [5; 32], None)),
        ("another firm", delegated(&vendor, |block| block.firm_code = 7, None)),
        ("no seat", delegated(&vendor, |block| block.seats = 0, None)),
        ("shorter grants", delegated(&vendor, |block| block.max_grant_seconds = 1, None)),
        ("over", delegated(&vendor, |block| block.not_after = start_of_tests().saturating_sub(day / 2), None)),
        ("not yet", delegated(&vendor, |block| block.not_before = start_of_tests().saturating_add(day / 2), None)),
    ];
    for (what, fake) in cases {
        let Err(AcquireError::NotTrusted { reason, .. }) = try_with(&vendor, fake).await else { panic!("{what}") };
        assert!(matches!(reason, TrustError::Chain(_) | TrustError::Grant(_)), "{what}: {reason:?}");
    }
    // The lender's own certificate gives the server that borrowed nothing.
    let mut bare = delegated(&vendor, |_| {}, None);
    if let Some(chain) = &mut bare.lender {
        chain.delegation.clear();
    }
    assert!(matches!(try_with(&vendor, bare).await, Err(AcquireError::NotTrusted { .. })));
}

/// A wire between the two servers that can be cut.
struct Wire {
    path: std::path::PathBuf,
    target: std::path::PathBuf,
    task: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Wire {
    fn to(target: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wire.sock");
        let mut wire = Self { path, target: target.to_owned(), task: None, _folder: folder };
        wire.mend();
        wire
    }

    fn mend(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).expect("a socket");
        let target = self.target.clone();
        self.task = Some(tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((mut here, _)) = listener.accept().await {
                let target = target.clone();
                lines.spawn(async move {
                    if let Ok(mut there) = UnixStream::connect(&target).await {
                        let _ = copy_bidirectional(&mut here, &mut there).await;
                    }
                });
            }
        }));
    }

    async fn cut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

const TIMES: [(&str, &str); 4] = [
    ("LICTOR_REVALIDATE_WITHIN", "3s"),
    ("LICTOR_RECONNECT_GRACE", "3s"),
    ("LICTOR_BEAT_INTERVAL", "300ms"),
    ("LICTOR_BLOCK_TIME", "10s"),
];

fn real_program(vendor: &Vendor, socket: &Path) -> Client {
    let at = format!("unix:{}", socket.display());
    Client::builder().trust_root(&vendor.root_document).server(&at).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_of_a_block_survive_the_kill_of_both_servers_and_a_cut_wire_never_makes_two_of_one() {
    let (up, down) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut vendor = Vendor::new(FIRM, 1);
    let lif = down.path().join("vendor.lif");
    std::fs::write(&lif, vendor.lif()).expect("written");
    let network = Program::start_with(up.path(), &TIMES).await;
    fill_with(&network.socket, &mut vendor, 2).await;
    let mut wire = Wire::to(&network.socket);
    let (list, lif) = (format!("unix:{}", wire.path.display()), lif.display().to_string());
    let environment: Vec<(&str, &str)> = TIMES
        .into_iter()
        .chain([("CM_REMOTE_SERVER", list.as_str()), ("LICTOR_UPSTREAM_TRUST", lif.as_str())])
        .collect();
    let side = Program::start_with(down.path(), &environment).await;
    let programs: Vec<Client> = (0..2).map(|_| real_program(&vendor, &side.socket)).collect();
    let one = programs[0].acquire(Request::new(FIRM, 201)).await.expect("a seat");
    let two = programs[1].acquire(Request::new(FIRM, 201)).await.expect("a seat");

    // The lender dies: what it has lent is still lent.
    network.kill();
    let network = Program::start_with(up.path(), &TIMES).await;
    let mut direct = RawClient::connect(&network.socket, 200).await;
    assert!(direct.acquire(1, 201).await.is_err(), "a seat twice");
    // The borrower dies: its programs get the same seats back.
    side.kill();
    let side = Program::start_with(down.path(), &environment).await;
    let begun = Instant::now();
    let held = |sessions: &wire::ListBlocksResponse| sessions.borrowed.iter().any(|block| block.usable_ms > 0);
    while !held(&blocks(&side.socket).await) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the block is not confirmed");
        tokio::task::yield_now().await;
    }
    let raw = RawClient::connect(&side.socket, 201).await;
    assert!(one.is_valid() && two.is_valid(), "{:?} {:?}", one.state(), two.state());
    drop(raw);
    assert!(direct.acquire(2, 201).await.is_err(), "a seat twice");

    // The wire is cut: the programs go on, then they stop, and only then somebody else gets the seats.
    wire.cut().await;
    assert!(one.is_valid() && two.is_valid(), "inside its block the sidecar needs nobody");
    let begun = Instant::now();
    let mut wishes = 3_u8;
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "the seats do not come back");
        let valid = one.is_valid() || two.is_valid();
        if direct.acquire(wishes, 201).await.is_ok() {
            assert!(!one.is_valid() && !two.is_valid(), "two holders of one seat");
            break;
        }
        wishes = if wishes > 190 { 3 } else { wishes + 1 };
        if valid {
            tokio::task::yield_now().await;
        }
    }
    // Mended: the seat that is left comes through again.
    wire.mend();
    let begun = Instant::now();
    loop {
        if programs[0].acquire(Request::new(FIRM, 201)).await.is_ok() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no seat after the wire was mended");
    }
    drop((network, side));
}
