//! A client of either server: TLS 1.3, one connection, proofs of possession as the contract wants them. The twin does
//! not look at the proofs, but the bytes are the same.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use hyper_util::rt::TokioIo;
use lictor_api::server::v1::{
    AcquireRequest, HelloRequest, HoldEvent, HoldRequest, ReleaseRequest, RevalidateRequest, acquire_response::Outcome,
    seat_service_client::SeatServiceClient,
};
use lictor_key_store::MemorySigner;
use lictor_signing::{CHANNEL_BINDING_BYTES, CHANNEL_LABEL, Signer as _, client_proof_message};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Uri},
};

use crate::provision::{FIRM, PRODUCT};

/// The TLS settings of all clients. They do not look at whose key it is: the real client trusts through the vendor's
/// chain, which is the same work for both servers and none of theirs.
#[must_use]
pub fn tls() -> Arc<ClientConfig> {
    let mut config = lictor_sdk::tls::client_config(|_| true);
    // Each connection is a fresh client.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// A connection to one server.
#[derive(Clone)]
pub struct Connection {
    seats: SeatServiceClient<Channel>,
    binding: [u8; CHANNEL_BINDING_BYTES],
}

impl Connection {
    /// Connects and says hello.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn open(address: SocketAddr, tls: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        let mut connection = Self::dial(address, tls).await?;
        connection.seats.hello(HelloRequest { nonce: random::<32>()?.to_vec(), firm_code: FIRM }).await?;
        Ok(connection)
    }

    /// Connects and says nothing yet.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn dial(address: SocketAddr, tls: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("license-server")?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        let binding = stream.get_ref().1.export_keying_material([0; CHANNEL_BINDING_BYTES], CHANNEL_LABEL, None)?;
        let mut only = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_: Uri| {
            std::future::ready(only.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
        });
        let channel = Endpoint::from_static("http://license-server").connect_with_connector(connector).await?;
        Ok(Self { seats: SeatServiceClient::new(channel), binding })
    }

    /// A client instance with a key of its own on this connection.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn instance(&self) -> anyhow::Result<Instance> {
        self.instance_of(&MemorySigner::from_seed(&random()?))
    }

    /// The client instance that has this key, on this connection.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn instance_of(&self, key: &MemorySigner) -> anyhow::Result<Instance> {
        let message = client_proof_message(&self.binding, key.public_key().as_bytes());
        let proof = key.sign(&message).map_err(|error| anyhow::anyhow!("{error}"))?.as_bytes().to_vec();
        Ok(Instance { seats: self.seats.clone(), key: key.public_key().as_bytes().to_vec(), proof })
    }
}

/// One running copy of a protected program.
pub struct Instance {
    seats: SeatServiceClient<Channel>,
    key: Vec<u8>,
    /// Given once, then empty.
    proof: Vec<u8>,
}

impl Instance {
    /// Takes a seat and gives the session's id.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn acquire(&mut self) -> anyhow::Result<String> {
        let request = AcquireRequest {
            request_id: random::<16>()?.to_vec(),
            client_key: self.key.clone(),
            nonce: random::<32>()?.to_vec(),
            firm_code: FIRM,
            product_code: PRODUCT,
            units: 1,
            program: "bench".to_owned(),
            proof: std::mem::take(&mut self.proof),
            ..AcquireRequest::default()
        };
        match self.seats.acquire(request).await?.into_inner().outcome.context("an outcome")? {
            Outcome::Grant(grant) => Ok(grant.session_id),
            Outcome::Refusal(refusal) => bail!("no seat: {refusal:?}"),
        }
    }

    /// Keeps it for another while.
    ///
    /// # Errors
    /// The server does not know it, or does not answer.
    pub async fn revalidate(&mut self, session_id: String) -> anyhow::Result<()> {
        self.seats.revalidate(RevalidateRequest { session_id, proof: Vec::new() }).await?;
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn release(&mut self, session_id: String) -> anyhow::Result<()> {
        self.seats.release(ReleaseRequest { session_id, proof: Vec::new() }).await?;
        Ok(())
    }

    /// Takes a seat and holds it: returns with the open stream after its first beat.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn hold(&mut self) -> anyhow::Result<(String, Streaming<HoldEvent>)> {
        let session_id = self.acquire().await?;
        let beats = self.hold_again(session_id.clone()).await?;
        Ok((session_id, beats))
    }

    /// Holds a seat that it has already: returns with the open stream after its first beat.
    ///
    /// # Errors
    /// The server does not know it, or does not answer.
    pub async fn hold_again(&mut self, session_id: String) -> anyhow::Result<Streaming<HoldEvent>> {
        let request = HoldRequest { session_id, proof: std::mem::take(&mut self.proof) };
        let mut beats = self.seats.hold(request).await?.into_inner();
        beats.message().await?.context("a first beat")?;
        Ok(beats)
    }
}

/// Random bytes.
///
/// # Errors
/// The machine gives none.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(bytes)
}
