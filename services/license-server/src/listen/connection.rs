//! An open connection and what is known about it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use lictor_licensing::access::Origin;
use lictor_signing::{CHANNEL_BINDING_BYTES, PublicKey, Signature, client_proof_message};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{GREETING_TIME, MAX_CLIENTS_PER_CONNECTION};
use crate::metrics::OpenConnection;

/// Who is on the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A program of this machine that may open the socket.
    Unix,
    /// A peer of the network.
    Tcp(SocketAddr),
}

/// What is known about a connection; in the extensions of every request on it.
#[derive(Clone, Debug)]
pub struct Channel(Arc<Known>);

#[derive(Debug)]
struct Known {
    peer: Peer,
    origin: Origin,
    binding: [u8; CHANNEL_BINDING_BYTES],
    /// Keys whose proof was checked here: one check per connection, however many calls.
    proved: Mutex<HashMap<[u8; 32], PublicKey>>,
}

impl Channel {
    pub(super) fn new(peer: Peer, origin: Origin, binding: [u8; CHANNEL_BINDING_BYTES]) -> Self {
        Self(Arc::new(Known { peer, origin, binding, proved: Mutex::default() }))
    }

    /// Who is on the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// Whether that counts as local.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// What proofs on this connection are bound to.
    #[must_use]
    pub fn binding(&self) -> &[u8; CHANNEL_BINDING_BYTES] {
        &self.0.binding
    }

    /// Whether the binding has to be told, because both ends cannot derive it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.peer == Peer::Unix
    }

    /// Whether the holder of `key` has proved itself on this connection.
    #[must_use]
    pub fn has_proved(&self, key: &PublicKey) -> bool {
        self.lock().contains_key(key.as_bytes())
    }

    /// The key with these bytes, when its holder has proved itself here. Unpacking a key anew for each call repeats a decompression
    /// of a point that the proof has paid for already.
    #[must_use]
    pub fn proved_key(&self, bytes: &[u8; PublicKey::LENGTH]) -> Option<PublicKey> {
        self.lock().get(bytes).copied()
    }

    /// Whether the holder of `key` speaks on this connection: known from before, or by this proof.
    #[must_use]
    pub fn proves(&self, key: &PublicKey, proof: &[u8]) -> bool {
        if self.has_proved(key) {
            return true;
        }
        let Ok(proof) = <[u8; Signature::LENGTH]>::try_from(proof) else { return false };
        if !key.verifies(&client_proof_message(&self.0.binding, key.as_bytes()), &Signature::from_bytes(proof)) {
            return false;
        }
        let mut proved = self.lock();
        if proved.len() >= MAX_CLIENTS_PER_CONNECTION {
            return false;
        }
        proved.insert(*key.as_bytes(), *key);
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], PublicKey>> {
        self.0.proved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that can be served.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    channel: Channel,
    greeting: Option<Greeting>,
    _place: OwnedSemaphorePermit,
    _counted: OpenConnection,
}

/// Whoever connects has to begin to speak: HTTP/2 opens with a fixed text, and a connection without it is cut.
#[derive(Debug)]
struct Greeting {
    missing: usize,
    until: Pin<Box<tokio::time::Sleep>>,
}

impl Greeting {
    fn new() -> Self {
        Self { missing: GREETING_BYTES, until: Box::pin(tokio::time::sleep(GREETING_TIME)) }
    }
}

/// Length of the text that every HTTP/2 connection opens with.
const GREETING_BYTES: usize = 24;

#[derive(Debug)]
enum Stream {
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Connection {
    pub(super) fn tls(
        stream: TlsStream<TcpStream>,
        channel: Channel,
        place: OwnedSemaphorePermit,
        counted: OpenConnection,
    ) -> Self {
        Self {
            stream: Stream::Tls(Box::new(stream)),
            channel,
            greeting: Some(Greeting::new()),
            _place: place,
            _counted: counted,
        }
    }

    pub(super) fn unix(
        stream: UnixStream,
        channel: Channel,
        place: OwnedSemaphorePermit,
        counted: OpenConnection,
    ) -> Self {
        Self {
            stream: Stream::Unix(stream),
            channel,
            greeting: Some(Greeting::new()),
            _place: place,
            _counted: counted,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Channel;

    fn connect_info(&self) -> Channel {
        self.channel.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if let Some(greeting) = &mut self.greeting {
            let came = buf.filled().len() - before;
            greeting.missing = greeting.missing.saturating_sub(came);
            if greeting.missing == 0 {
                self.greeting = None;
            } else if greeting.until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
