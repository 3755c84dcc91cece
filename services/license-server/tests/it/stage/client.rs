//! A client that speaks the protocol by hand, so that tests can say wrong things too.

use std::path::Path;

use hyper_util::rt::TokioIo;
use lictor_api::server::v1 as wire;
use lictor_api::server::v1::seat_service_client::SeatServiceClient;
use lictor_api::types::v1::Refusal;
use lictor_key_store::MemorySigner;
use lictor_signing::{Signer as _, client_proof_message};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::vendor::FIRM;

pub(crate) async fn unix_channel(path: &Path) -> Channel {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://license-server").connect_with_connector(connector).await.expect("a connection")
}

pub(crate) struct RawClient {
    pub(crate) seats: SeatServiceClient<Channel>,
    pub(crate) key: MemorySigner,
    pub(crate) proof: Vec<u8>,
}

impl RawClient {
    /// A connection of its own for the client with key number `key`.
    pub(crate) async fn connect(socket: &Path, key: u8) -> Self {
        let key = MemorySigner::from_seed(&[key; 32]);
        let mut seats = SeatServiceClient::new(unix_channel(socket).await);
        let hello = wire::HelloRequest { nonce: vec![1; 32], firm_code: 0 };
        let hello = seats.hello(hello).await.expect("hello").into_inner();
        let binding = (*hello.channel_binding).try_into().expect("a binding");
        let message = client_proof_message(&binding, key.public_key().as_bytes());
        let proof = key.sign(&message).expect("signed").as_bytes().to_vec();
        Self { seats, key, proof }
    }

    /// The wish with a request id made from `number`.
    pub(crate) fn wish(&self, number: u8, product_code: u32) -> wire::AcquireRequest {
        wire::AcquireRequest {
            request_id: vec![number; 16],
            client_key: self.key.public_key().as_bytes().to_vec(),
            nonce: vec![number; 32],
            firm_code: FIRM,
            product_code,
            units: 1,
            program: "test".to_owned(),
            proof: self.proof.clone(),
            ..Default::default()
        }
    }

    pub(crate) async fn ask(&mut self, wish: wire::AcquireRequest) -> Result<wire::Grant, Refusal> {
        match self.seats.acquire(wish).await.expect("an answer").into_inner().outcome.expect("an outcome") {
            wire::acquire_response::Outcome::Grant(grant) => Ok(grant),
            wire::acquire_response::Outcome::Refusal(refusal) => Err(refusal),
        }
    }

    pub(crate) async fn acquire(&mut self, number: u8, product_code: u32) -> Result<wire::Grant, Refusal> {
        let wish = self.wish(number, product_code);
        self.ask(wish).await
    }

    pub(crate) async fn hold(&mut self, session_id: &str) -> Result<tonic::Streaming<wire::HoldEvent>, tonic::Status> {
        let request = wire::HoldRequest { session_id: session_id.to_owned(), proof: self.proof.clone() };
        self.seats.hold(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn release(&mut self, session_id: &str) -> Result<(), tonic::Status> {
        let request = wire::ReleaseRequest { session_id: session_id.to_owned(), proof: Vec::new() };
        self.seats.release(request).await.map(|_| ())
    }

    pub(crate) async fn revalidate(&mut self, session_id: &str) -> Result<(), tonic::Status> {
        let request = wire::RevalidateRequest { session_id: session_id.to_owned(), proof: self.proof.clone() };
        self.seats.revalidate(request).await.map(|_| ())
    }
}

/// A TLS connection that trusts anybody, and the fingerprint of the certificate it saw.
pub(crate) async fn tls_channel(address: std::net::SocketAddr) -> (Channel, String) {
    use sha2::Digest as _;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
    let certificate = std::sync::Arc::clone(&seen);
    let config = lictor_sdk::tls::client_config(move |shown| {
        let digest: String = sha2::Sha256::digest(shown).iter().map(|byte| format!("{byte:02x}")).collect();
        *certificate.lock().expect("not poisoned") = Some(digest);
        true
    });
    let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let name = rustls::pki_types::ServerName::try_from("license-server").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut only = Some(TokioIo::new(connector.connect(name, stream).await.expect("a handshake")));
    let connector = tower::service_fn(move |_: Uri| {
        std::future::ready(only.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
    });
    let channel =
        Endpoint::from_static("http://license-server").connect_with_connector(connector).await.expect("a connection");
    let fingerprint = seen.lock().expect("not poisoned").clone().expect("a certificate");
    (channel, fingerprint)
}

/// The whole answer to an HTTP request.
pub(crate) fn http_get(address: std::net::SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("connected");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}
