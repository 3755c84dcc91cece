//! Peers that only want to keep a door open, and links that somebody planted in the state folder.

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use lictor_api::server::v1::HelloRequest;
use lictor_api::server::v1::seat_service_client::SeatServiceClient;
use lictor_clock::SystemClock;
use lictor_license_server::listen::{GREETING_TIME, HANDSHAKE_TIME, MAX_HANDSHAKES};
use lictor_license_server::{Settings, start_server};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tonic::transport::{Endpoint, Uri};

/// These tests are about the door, not about who opens it.
async fn shake_hands(address: SocketAddr) -> TlsStream<TcpStream> {
    let config = lictor_sdk::tls::client_config(|_| true);
    let stream = TcpStream::connect(address).await.expect("connected");
    let name = ServerName::try_from("license-server").expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

/// Waits until the server closes; what it says before that does not matter.
async fn until_cut(mut stream: impl AsyncRead + Unpin, within: Duration, what: &str) {
    let reading = async {
        let mut some = [0; 1_024];
        while stream.read(&mut some).await.is_ok_and(|count| count > 0) {}
    };
    assert!(tokio::time::timeout(within, reading).await.is_ok(), "{what} is still open after {within:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_cut_and_hold_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings::loopback(folder.path().to_owned());
    let server = start_server(settings, SystemClock::shared()).await.expect("a server");
    let address = server.addresses().grpc;
    let mut silent = tokio::task::JoinSet::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        if number % 2 == 0 {
            // The first byte of a TLS record, and never the second.
            stream.write_all(&[0x16]).await.expect("sent");
        }
        silent.spawn(until_cut(stream, 3 * HANDSHAKE_TIME, "a connection without a handshake"));
    }
    let tls = tokio::time::timeout(HANDSHAKE_TIME, shake_hands(address)).await.expect("nobody is in the way");
    silent.spawn(until_cut(tls, 2 * GREETING_TIME, "a TLS connection without a greeting"));
    let mut begun = shake_hands(address).await;
    begun.write_all(b"PRI * HTTP/2.0").await.expect("sent");
    silent.spawn(until_cut(begun, 2 * GREETING_TIME, "half a greeting"));
    let socket = UnixStream::connect(&server.socket).await.expect("connected");
    silent.spawn(until_cut(socket, 2 * GREETING_TIME, "a local connection without a greeting"));
    while let Some(done) = silent.join_next().await {
        done.expect("cut in time");
    }
    server.running.shutdown();
    server.running.wait().await.expect("a clean stop");
}

const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_oversized_frames_end_their_own_connection_and_nobody_elses() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start_server(Settings::loopback(folder.path().to_owned()), SystemClock::shared()).await;
    let server = server.expect("a server");
    let address = server.addresses().grpc;
    // Nothing but a greeting, then: no frame at all, a frame of 16 MiB, settings that are none, a message without headers.
    let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let mut pieces: Vec<Vec<u8>> = vec![
        vec![0xff; 4_096],
        [settings, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &[7; 65_536]].concat(),
        vec![0, 0, 5, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5],
        [settings, &[0, 0, 5, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]].concat(),
    ];
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..32 {
        // Never zero: as a length that is what a frame beyond every limit begins with.
        let random = (0..512).map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.to_be_bytes()[0] | 0x80
        });
        pieces.push([settings, &random.collect::<Vec<u8>>()].concat());
    }
    let mut talking = tokio::task::JoinSet::new();
    for (number, piece) in pieces.into_iter().enumerate() {
        let mut tls = shake_hands(address).await;
        talking.spawn(async move {
            // It may be cut while it still speaks.
            let _ = tls.write_all(&[GREETING, &piece].concat()).await;
            until_cut(tls, Duration::from_secs(20), &format!("garbage {number}")).await;
        });
        one_comes_in(address).await;
    }
    while let Some(done) = talking.join_next().await {
        done.expect("cut in time");
    }
    one_comes_in(address).await;
    server.running.shutdown();
    server.running.wait().await.expect("a clean stop");
}

/// How long somebody new takes from nothing to an answer of the server.
async fn one_comes_in(address: SocketAddr) -> Duration {
    let begun = Instant::now();
    let tls = shake_hands(address).await;
    let mut only = Some(TokioIo::new(tls));
    let connector = tower::service_fn(move |_: Uri| {
        std::future::ready(only.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
    });
    let channel = Endpoint::from_static("http://license-server").connect_with_connector(connector).await;
    let mut seats = SeatServiceClient::new(channel.expect("a connection"));
    seats.hello(HelloRequest { nonce: vec![1; 32], firm_code: 0 }).await.expect("an answer");
    begun.elapsed()
}

/// Median and p99 of so many newcomers, one after the other.
async fn newcomers(address: SocketAddr, count: usize) -> (Duration, Duration) {
    let mut took = Vec::new();
    for _ in 0..count {
        took.push(one_comes_in(address).await);
    }
    took.sort_unstable();
    (took[count / 2], took[count * 99 / 100])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_half_open_connections_take_no_place_from_those_who_come_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start_server(Settings::loopback(folder.path().to_owned()), SystemClock::shared()).await;
    let server = server.expect("a server");
    let address = server.addresses().grpc;
    let scale: usize = std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    // More than may be in a handshake at once, whatever the scale.
    let attackers = (MAX_HANDSHAKES + 500 * scale.max(1)).min(10_000);
    let (median, p99) = newcomers(address, 100).await;
    let mut half_open = Vec::new();
    for number in 0..attackers {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        if number % 2 == 0 {
            // The first bytes of a TLS record that never comes. Whoever was cut off already hears of it later.
            let _ = stream.write_all(&[0x16, 0x03, 0x01]).await;
        }
        half_open.push(stream);
    }
    let (beside, p99_beside) = newcomers(address, 100).await;
    eprintln!("newcomers: median {median:?}, p99 {p99:?}; beside {attackers} half open: {beside:?}, {p99_beside:?}");
    // A newcomer that waits for a silent one waits for seconds. The median is no matter of what else the machine does.
    assert!(p99_beside < HANDSHAKE_TIME / 2, "a newcomer waits for those who say nothing: {p99_beside:?}");
    assert!(beside < 2 * median + Duration::from_millis(5), "{beside:?} beside them, {median:?} without");
    drop(half_open);
    server.running.shutdown();
    server.running.wait().await.expect("a clean stop");
}

fn content(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("read");
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_planted_in_the_state_folder_is_not_followed() {
    for name in ["lock", "keys", "lictor.sock"] {
        let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let victim = elsewhere.path().join("victim");
        std::fs::write(&victim, b"precious").expect("written");
        symlink(&victim, folder.path().join(name)).expect("a link");
        let started = start_server(Settings::loopback(folder.path().to_owned()), SystemClock::shared()).await;
        assert!(started.is_err(), "{name}: a server runs on a planted link");
        assert_eq!(content(&victim), b"precious", "{name}");
    }
    // Files that are written under another name first replace a link instead of writing through it.
    for name in ["admin-token", "fingerprint"] {
        let (folder, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let victim = elsewhere.path().join("victim");
        std::fs::write(&victim, b"precious").expect("written");
        symlink(&victim, folder.path().join(name)).expect("a link");
        let started = start_server(Settings::loopback(folder.path().to_owned()), SystemClock::shared()).await;
        assert_eq!(content(&victim), b"precious", "{name}");
        if let Ok(server) = started {
            server.running.shutdown();
            server.running.wait().await.expect("a clean stop");
        }
    }
}
