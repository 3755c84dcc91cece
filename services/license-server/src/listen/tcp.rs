//! Programs come over TLS 1.3; the certificate is the lease key's own, and clients check the key by the vendor's chain.

use std::io;
use std::sync::Arc;

use lictor_licensing::access::Origin;
use lictor_runtime::{StartError, Stream, install_crypto_provider};
use lictor_signing::{CHANNEL_BINDING_BYTES, CHANNEL_LABEL};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{CipherSuite, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

use super::connection::{Channel, Connection, Peer, Place};
use super::handshakes::Handshakes;
use super::{HANDSHAKE_TIME, MAX_HANDSHAKES, PAUSE};
use crate::attestor::Peers;
use crate::domain::peer::{Subnet, origin_of};
use crate::metrics::Metrics;
use crate::store::keys::Secrets;

/// TLS 1.3 and HTTP/2 only, with the lease key.
///
/// # Errors
/// When the keys of the folder do not fit each other.
pub fn server_config(secrets: &Secrets) -> Result<Arc<ServerConfig>, StartError> {
    install_crypto_provider();
    let unusable = |error: &dyn std::fmt::Display| {
        StartError::failed("the keys in the state folder cannot be used for TLS", error.to_string())
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(secrets.tls_key()));
    let certificate = CertificateDer::from(secrets.certificate.clone());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.ignore_client_order = true;
    // A client keeps its connection for as long as it holds seats, and proves itself anew on each; tickets for resuming
    // would cost every handshake and serve next to nobody.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The suite that every program of TLS 1.3 must have comes first: its hash is done by the processor, and half of what a
/// handshake costs beside the keys is hashing. A storm of fresh containers is a storm of handshakes.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

/// Accepts for ever. Handshakes run beside each other, each with its time limit, so a slow one holds nobody up; when there are
/// too many, the slowest of whoever has most of them makes room.
pub(crate) async fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    local: Arc<[Subnet]>,
    peers: Peers,
    places: Arc<Semaphore>,
    metrics: Metrics,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    let acceptor = TlsAcceptor::from(config);
    let handshakes = Handshakes::default();
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let origin = origin_of(address.ip(), &local);
        let (acceptor, sender, metrics, peers) = (acceptor.clone(), sender.clone(), metrics.clone(), peers.clone());
        let handshake = handshakes.begin(address.ip().to_canonical(), MAX_HANDSHAKES);
        tokio::spawn(async move {
            let done = tokio::select! {
                done = shake_hands(&acceptor, stream) => done,
                () = handshake.evicted() => None,
            };
            let Some((stream, binding)) = done else {
                metrics.turned_away();
                return;
            };
            drop(handshake);
            // An address of the wide network says nothing about the containers of this machine.
            let container = if origin == Origin::Local { peers.container(address.ip()).await } else { None };
            let channel = Channel::new(Peer::Tcp(address), origin, binding, container);
            let place = Place::new(place, metrics.connected());
            let connection = Connection::new(Stream::Tls(Box::new(stream)), channel, place);
            // A server that is stopping takes no more.
            let _ = sender.send(Ok(connection)).await;
        });
    }
}

async fn shake_hands(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, [u8; CHANNEL_BINDING_BYTES])> {
    stream.set_nodelay(true).ok()?;
    let stream = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await.ok()?.ok()?;
    let (_, session) = stream.get_ref();
    let binding = session.export_keying_material([0; CHANNEL_BINDING_BYTES], CHANNEL_LABEL, None).ok()?;
    Some((stream, binding))
}
