//! An open connection and what is known about it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use lictor_licensing::access::Origin;
use lictor_signing::{CHANNEL_BINDING_BYTES, PublicKey, Signature, client_proof_message};
use tokio::sync::OwnedSemaphorePermit;

use super::MAX_CLIENTS_PER_CONNECTION;
use crate::domain::peer::PeerContainer;
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
    container: Option<Arc<PeerContainer>>,
    /// Keys whose proof was checked here: one check per connection, however many calls.
    proved: Mutex<HashMap<[u8; 32], PublicKey>>,
}

impl Channel {
    /// A connection; nobody has proved himself on it yet.
    #[must_use]
    pub fn new(
        peer: Peer,
        origin: Origin,
        binding: [u8; CHANNEL_BINDING_BYTES],
        container: Option<Arc<PeerContainer>>,
    ) -> Self {
        Self(Arc::new(Known { peer, origin, binding, container, proved: Mutex::default() }))
    }

    /// Who is on the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// The address of the other end; none for the Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match self.0.peer {
            Peer::Unix => None,
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
        }
    }

    /// Whether that counts as local.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// The container that the peer runs in, when the container engine knows it.
    #[must_use]
    pub fn container(&self) -> Option<&Arc<PeerContainer>> {
        self.0.container.as_ref()
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
pub type Connection = lictor_runtime::Connection<Channel, Place>;

/// A connection's place among those that may be open at once.
#[derive(Debug)]
pub struct Place {
    _place: OwnedSemaphorePermit,
    _counted: OpenConnection,
}

impl Place {
    pub(super) fn new(place: OwnedSemaphorePermit, counted: OpenConnection) -> Self {
        Self { _place: place, _counted: counted }
    }
}
