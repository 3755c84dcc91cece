//! Peers that only want to keep a door open, and links that somebody planted in the state folder.

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lictor_clock::SystemClock;
use lictor_license_server::listen::{GREETING_TIME, HANDSHAKE_TIME};
use lictor_license_server::{Settings, start_server};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

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
