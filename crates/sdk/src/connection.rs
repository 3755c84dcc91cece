//! One proved connection to one licence server. It never reconnects behind the caller's back: a new connection has a new
//! channel binding and needs new proofs.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lictor_api::server::v1 as wire;
use lictor_api::server::v1::seat_service_client::SeatServiceClient;
use lictor_key_store::MemorySigner;
use lictor_signing::{
    CHANNEL_BINDING_BYTES, CHANNEL_LABEL, LeaseCertificate, PublicKey, Signature, Signer as _, client_proof_message,
    server_proof_message,
};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::Address;
use crate::error::TrustError;
use crate::trust::Trust;

/// Longest time for a connection with its proof.
const CONNECT_TIME: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Nobody answers; trying again may help.
    Unreachable(String),
    /// Somebody answers who is not what he says.
    NotTrusted(TrustError),
}

/// A connection whose server proved its key.
pub(crate) struct Connection {
    pub(crate) seats: SeatServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) lease_key: PublicKey,
    chains: BTreeMap<u32, Result<LeaseCertificate, TrustError>>,
    client_proof: Vec<u8>,
    proof_given: AtomicBool,
    broken: AtomicBool,
}

impl Connection {
    /// Connects and lets the server prove itself.
    pub(crate) async fn open(
        address: &Address,
        tls: &Arc<rustls::ClientConfig>,
        trust: &Trust,
        client: &MemorySigner,
    ) -> Result<Self, ConnectError> {
        match tokio::time::timeout(CONNECT_TIME, Self::open_unlimited(address, tls, trust, client)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Unreachable(format!("no answer within {} s", CONNECT_TIME.as_secs()))),
        }
    }

    async fn open_unlimited(
        address: &Address,
        tls: &Arc<rustls::ClientConfig>,
        trust: &Trust,
        client: &MemorySigner,
    ) -> Result<Self, ConnectError> {
        let (channel, exporter) =
            dial(address, tls).await.map_err(|error| ConnectError::Unreachable(inmost(&*error)))?;
        let mut seats = SeatServiceClient::new(channel.clone());
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        let hello = seats
            .hello(wire::HelloRequest { nonce: nonce.to_vec(), firm_code: 0 })
            .await
            .map_err(|status| ConnectError::Unreachable(status.message().to_owned()))?
            .into_inner();
        Self::check((seats, channel), &hello, exporter, &nonce, trust, client).map_err(ConnectError::NotTrusted)
    }

    fn check(
        (seats, channel): (SeatServiceClient<Channel>, Channel),
        hello: &wire::HelloResponse,
        exporter: Option<[u8; CHANNEL_BINDING_BYTES]>,
        nonce: &[u8; 32],
        trust: &Trust,
        client: &MemorySigner,
    ) -> Result<Self, TrustError> {
        // Over TLS only the exporter counts, whatever the server says.
        let binding = match exporter {
            Some(exporter) => exporter,
            None => (*hello.channel_binding)
                .try_into()
                .map_err(|_| TrustError::Malformed("the channel binding has not 32 bytes"))?,
        };
        let lease_key =
            PublicKey::from_slice(&hello.lease_key).map_err(|_| TrustError::Malformed("the lease key is no key"))?;
        let proof: [u8; Signature::LENGTH] =
            (*hello.proof).try_into().map_err(|_| TrustError::Malformed("the proof is no signature"))?;
        if !lease_key.verifies(&server_proof_message(&binding, nonce), &Signature::from_bytes(proof)) {
            return Err(TrustError::Proof);
        }
        let chains = hello.chains.iter().map(|chain| (chain.firm_code, trust.certificate(chain, &lease_key))).collect();
        let message = client_proof_message(&binding, client.public_key().as_bytes());
        // A key in memory never refuses; without a proof the server would, and say so.
        let client_proof = client.sign(&message).map(|proof| proof.as_bytes().to_vec()).unwrap_or_default();
        Ok(Self {
            seats,
            channel,
            lease_key,
            chains,
            client_proof,
            proof_given: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        })
    }

    /// The certificate by which this server may speak for a firm.
    pub(crate) fn certificate(&self, firm_code: u32) -> Result<&LeaseCertificate, TrustError> {
        match self.chains.get(&firm_code) {
            Some(Ok(certificate)) => Ok(certificate),
            Some(Err(error)) => Err(error.clone()),
            None => Err(TrustError::NoCertificate(firm_code)),
        }
    }

    /// The client's proof for a call: needed until one call with it was answered.
    pub(crate) fn proof(&self) -> Vec<u8> {
        if self.proof_given.load(Ordering::Relaxed) { Vec::new() } else { self.client_proof.clone() }
    }

    /// A call that carried the proof was answered.
    pub(crate) fn proved(&self) {
        self.proof_given.store(true, Ordering::Relaxed);
    }

    /// Marks the connection as of no more use.
    pub(crate) fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

type DialError = Box<dyn std::error::Error + Send + Sync>;

/// Connects; gives the TLS exporter, or nothing for a Unix socket.
async fn dial(
    address: &Address,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<(Channel, Option<[u8; CHANNEL_BINDING_BYTES]>), DialError> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            Ok((channel(stream).await?, None))
        }
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            // The name plays no part in the check.
            let name = ServerName::try_from("license-server")?;
            let stream = tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
            let binding = stream.get_ref().1.export_keying_material([0; CHANNEL_BINDING_BYTES], CHANNEL_LABEL, None)?;
            Ok((channel(stream).await?, Some(binding)))
        }
    }
}

/// Speaks gRPC over a stream. The connector has only this one stream to give: the channel ends with it.
async fn channel<S>(stream: S) -> Result<Channel, DialError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let mut only = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = only.take().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset));
        std::future::ready(stream)
    });
    let channel = Endpoint::from_static("http://license-server")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await?;
    Ok(channel)
}

/// The cause behind all wrapping, which is what a person can act on.
fn inmost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
