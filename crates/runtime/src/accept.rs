//! Accepting gRPC connections, plain or TLS, with limits on what an unknown peer can hold.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::connection::{self, Stream};

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 32_768;
/// TLS handshakes at once.
const HANDSHAKES: usize = 512;
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Connections ready for the server but not yet taken.
const WAITING: usize = 64;

/// Label of the exported keying material by which a client key can be bound to its TLS channel.
pub const SESSION_EXPORTER_LABEL: &[u8] = b"EXPORTER-lictor-session";

/// A connection with its place among those that are served at once.
pub(crate) type Connection = connection::Connection<Peer, OwnedSemaphorePermit>;

/// Who is on the other end of a connection; in the extensions of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address of the other end.
    pub remote: SocketAddr,
    /// Address on this end.
    pub local: Option<SocketAddr>,
    /// 32 bytes that only the two ends of this TLS channel know (label [`SESSION_EXPORTER_LABEL`]); nothing when plain.
    pub exporter: Option<[u8; 32]>,
    /// The client's certificate in DER, when one was demanded.
    pub certificate: Option<Arc<[u8]>>,
}

/// Accepts until `stop`; the stream of connections ends then.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept(listener, tls.map(TlsAcceptor::from), sender) => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, sender: mpsc::Sender<io::Result<Connection>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    // Neither semaphore is ever closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, for example: a pause lets some close.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let local = stream.local_addr().ok();
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = tls.clone() else {
            let peer = Peer { remote, local, exporter: None, certificate: None };
            if sender.send(Ok(Connection::new(Stream::Plain(stream), peer, place))).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            let _handshake = handshake;
            let stream = match tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%remote, %error, "a TLS handshake failed");
                    return;
                }
                Err(_) => {
                    tracing::debug!(%remote, "a TLS handshake took too long");
                    return;
                }
            };
            let peer = tls_peer(&stream, remote, local);
            let _ = sender.send(Ok(Connection::new(Stream::Tls(Box::new(stream)), peer, place))).await;
        });
    }
}

fn tls_peer(stream: &TlsStream<TcpStream>, remote: SocketAddr, local: Option<SocketAddr>) -> Peer {
    let (_, session) = stream.get_ref();
    let exporter = session.export_keying_material([0_u8; 32], SESSION_EXPORTER_LABEL, None).ok();
    let certificate =
        session.peer_certificates().and_then(|chain| chain.first()).map(|first| Arc::from(first.as_ref()));
    Peer { remote, local, exporter, certificate }
}
