//! Access modes at a real server, what one station is, and modules that need their parent.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lictor_api::server::v1 as wire;
use lictor_api::server::v1::seat_service_client::SeatServiceClient;
use lictor_clock::ManualClock;
use lictor_key_store::MemorySigner;
use lictor_license_file::segment::Operation;
use lictor_license_server::settings::StationRule;
use lictor_licensing::access::{AccessMode, AccessModes};
use lictor_licensing::id::ProductCode;
use lictor_licensing::item::ModuleItem;
use lictor_licensing::options::{Options, Quantity};
use lictor_signing::{CHANNEL_BINDING_BYTES, CHANNEL_LABEL, Signer as _, client_proof_message};
use tonic::transport::{Endpoint, Uri};

use crate::stage::client::RawClient;
use crate::stage::server::TestServer;
use crate::stage::vendor::{add, add_item, options, start_of_tests};

const EDITOR: u32 = 201;
const MODULE: u32 = 202;

/// A program of its own that comes over TLS from an address of this machine, as from a container of its own.
async fn from(last: u8, server: SocketAddr, key: u8) -> RawClient {
    let config = lictor_sdk::tls::client_config(|_| true);
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0).into()).expect("an address of this machine");
    let stream = socket.connect(server).await.expect("connected");
    let name = rustls::pki_types::ServerName::try_from("license-server").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.expect("a handshake");
    let binding = stream.get_ref().1.export_keying_material([0; CHANNEL_BINDING_BYTES], CHANNEL_LABEL, None);
    let mut only = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        std::future::ready(only.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
    });
    let channel = Endpoint::from_static("http://license-server").connect_with_connector(connector).await;
    let key = MemorySigner::from_seed(&[key; 32]);
    let message = client_proof_message(&binding.expect("a binding"), key.public_key().as_bytes());
    let proof = key.sign(&message).expect("signed").as_bytes().to_vec();
    RawClient { seats: SeatServiceClient::new(channel.expect("a connection")), key, proof }
}

/// The number of the refusal, or 0 for a seat.
async fn asks(client: &mut RawClient, number: u8, product: u32, mode: wire::AccessMode) -> u32 {
    let wish = wire::AcquireRequest { mode: mode.into(), ..client.wish(number, product) };
    client.ask(wish).await.map_or_else(|refusal| refusal.reasons[0].code, |_| 0)
}

/// So many seats, and the vendor allows every mode.
fn every_mode(seats: u32) -> Operation {
    let quantity = Quantity::new(seats).and_then(|quantity| quantity.allowing(AccessModes::of(AccessMode::ALL)));
    let quantity = Some(quantity.expect("modes"));
    add_item(1, Options { license_quantity: quantity, ..options(EDITOR, Some(seats)) }, Vec::new(), seats)
}

async fn served(rule: StationRule, operations: Vec<Operation>) -> TestServer {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::new(start_of_tests());
    let mut server = TestServer::on(folder, clock, |settings| settings.station = rule).await;
    server.licensed(operations).await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_seat_serves_a_station_which_is_the_host_or_each_container_as_it_is_set() {
    for (rule, elsewhere) in [(StationRule::Host, 0), (StationRule::Container, 212)] {
        let server = served(rule, vec![every_mode(1)]).await;
        let at = server.server.addresses().grpc;
        let share = wire::AccessMode::StationShare;
        let (mut one, mut two) = (from(2, at, 1).await, from(2, at, 2).await);
        assert_eq!(asks(&mut one, 1, EDITOR, share).await, 0, "{rule:?}");
        assert_eq!(asks(&mut two, 2, EDITOR, share).await, 0, "{rule:?}: the same container");
        let mut three = from(3, at, 3).await;
        assert_eq!(asks(&mut three, 3, EDITOR, share).await, elsewhere, "{rule:?}: another container");
        // The socket is the host itself in either case.
        let mut host = RawClient::connect(&server.server.socket, 4).await;
        assert_eq!(asks(&mut host, 4, EDITOR, share).await, elsewhere, "{rule:?}: the host");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusive_access_is_alone_on_its_station_and_takes_a_seat() {
    let server = served(StationRule::Container, vec![every_mode(2)]).await;
    let at = server.server.addresses().grpc;
    let exclusive = wire::AccessMode::Exclusive;
    let (mut one, mut two, mut three) = (from(2, at, 1).await, from(2, at, 2).await, from(3, at, 3).await);
    assert_eq!(asks(&mut one, 1, EDITOR, exclusive).await, 0);
    for (number, mode) in [(2, exclusive), (3, wire::AccessMode::UserLimit), (4, wire::AccessMode::StationShare)] {
        assert_eq!(asks(&mut two, number, EDITOR, mode).await, 213, "{mode:?} beside it");
    }
    assert_eq!(asks(&mut three, 5, EDITOR, exclusive).await, 0, "on another station");
    assert_eq!(
        asks(&mut from(4, at, 4).await, 6, EDITOR, wire::AccessMode::UserLimit).await,
        212,
        "both seats are taken"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_cannot_choose_his_way_out_of_counting() {
    let server = served(StationRule::Host, vec![add(1, EDITOR, 1)]).await;
    let at = server.server.addresses().grpc;
    let mut client = from(2, at, 1).await;
    let denied = [wire::AccessMode::NoUserLimit, wire::AccessMode::StationShare, wire::AccessMode::Exclusive];
    for (number, mode) in (1..).zip(denied) {
        assert_eq!(
            asks(&mut client, number, EDITOR, mode).await,
            223,
            "{mode:?} is not allowed unless the vendor says so"
        );
    }
    assert_eq!(asks(&mut client, 9, EDITOR, wire::AccessMode::UserLimit).await, 0);
    // Where the vendor allows it, it takes no seat, however many there are.
    let server = served(StationRule::Host, vec![every_mode(1)]).await;
    let at = server.server.addresses().grpc;
    for key in 1..5 {
        let mut client = from(2, at, key).await;
        assert_eq!(asks(&mut client, key, EDITOR, wire::AccessMode::NoUserLimit).await, 0);
    }
    assert_eq!(
        asks(&mut from(2, at, 9).await, 9, EDITOR, wire::AccessMode::UserLimit).await,
        0,
        "the seat is still there"
    );
}

/// One seat of the parent, and a module with five of its own that needs the parent.
fn with_module() -> Operation {
    let module = ModuleItem {
        options: Options {
            product_code: Some(ProductCode(MODULE)),
            license_quantity: Quantity::new(5).ok(),
            ..Options::default()
        },
        requires_parent: true,
    };
    add_item(1, options(EDITOR, Some(1)), vec![module], 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_needs_its_parent_ends_with_the_last_seat_of_the_parent() {
    let (mut server, _vendor) = TestServer::with(vec![with_module()]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let parent = client.acquire(1, EDITOR).await.expect("the parent");
    let again = client.acquire(2, EDITOR).await.expect("the same client once more");
    let module = client.acquire(3, MODULE).await.expect("the module");
    let mut stream = client.hold(&module.session_id).await.expect("held");
    client.release(&parent.session_id).await.expect("released");
    assert_eq!(server.sessions().await.len(), 2, "it still holds the parent once");

    client.release(&again.session_id).await.expect("released");
    let ended = loop {
        match stream.message().await.expect("no failure").expect("told").event.expect("something") {
            wire::hold_event::Event::Beat(_) => {}
            wire::hold_event::Event::Ended(ended) => break ended.reason.expect("a reason"),
        }
    };
    assert_eq!((ended.code, ended.product_code), (231, MODULE), "{ended:?}");
    assert!(server.sessions().await.is_empty(), "nobody keeps the module of a parent that he gave back");
    client.revalidate(&module.session_id).await.expect_err("it is over");
    // Another client takes the parent, and it alone may use the module.
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    other.acquire(4, EDITOR).await.expect("the parent is free");
    other.acquire(5, MODULE).await.expect("the module");
    assert_eq!(client.acquire(6, MODULE).await.expect_err("without the parent").reasons[0].code, 231);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_ends_when_the_time_of_its_parent_runs_out_also_over_a_restart() {
    let (server, _vendor) = TestServer::with(vec![with_module()]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    client.acquire(1, EDITOR).await.expect("the parent");
    let module = client.acquire(2, MODULE).await.expect("the module");
    drop(client);
    let mut server = server.restarted().await;
    assert_eq!(server.sessions().await.len(), 2, "both are back");
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    // Only the module is kept; the parent's time is over after a minute and a tenth.
    for _ in 0..2 {
        client.revalidate(&module.session_id).await.expect("kept");
        server.clock.advance(Duration::from_secs(40));
    }
    server.until_sessions("both are over", <[_]>::is_empty).await;
    client.revalidate(&module.session_id).await.expect_err("it is over");
    let mut server = server.restarted().await;
    assert!(server.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parent_of_another_client_or_license_does_not_count() {
    let (server, _vendor) = TestServer::with(vec![with_module(), add(2, EDITOR, 1)]).await;
    let mut one = RawClient::connect(&server.server.socket, 1).await;
    let mut two = RawClient::connect(&server.server.socket, 2).await;
    let seats = [one.acquire(1, EDITOR).await.expect("a seat"), two.acquire(2, EDITOR).await.expect("a seat")];
    let licenses: Vec<String> = seats.iter().map(|seat| seat.entry.clone().expect("an entry").license_id).collect();
    assert_ne!(licenses[0], licenses[1], "one of them holds the license without modules");
    let codes = [
        one.acquire(3, MODULE).await.map_or_else(|refusal| refusal.reasons[0].code, |_| 0),
        two.acquire(4, MODULE).await.map_or_else(|refusal| refusal.reasons[0].code, |_| 0),
    ];
    assert!(codes == [0, 231] || codes == [231, 0], "{codes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sets_the_clock_frees_no_seat_early_and_keeps_none_for_longer() {
    let (mut server, _vendor) = TestServer::with(vec![add(1, EDITOR, 1)]).await;
    let mut client = RawClient::connect(&server.server.socket, 1).await;
    let mut other = RawClient::connect(&server.server.socket, 2).await;
    client.acquire(1, EDITOR).await.expect("a seat");
    let now = server.shared_clock().now();
    let (day, years) = (Duration::from_secs(86_400), Duration::from_secs(10 * 365 * 86_400));
    for (number, set) in (2..).zip([now.saturating_add(day), now.saturating_add(years), now.saturating_sub(day)]) {
        server.clock.set_now(set);
        assert_eq!(other.acquire(number, EDITOR).await.expect_err("taken").reasons[0].code, 212, "at {set}");
        assert_eq!(server.sessions().await.len(), 1);
    }
    // A minute and a tenth of running.
    server.clock.advance(Duration::from_secs(67));
    other.acquire(9, EDITOR).await.expect("its time was over");
}
