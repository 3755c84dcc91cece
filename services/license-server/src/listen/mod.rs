//! The two ways in: TLS 1.3 over TCP for programs, a Unix socket for this machine. Both give gRPC connections that know
//! who is on the other end.

mod connection;
mod handshakes;
mod networks;
mod tcp;
mod unix;

use std::time::Duration;

pub use connection::{Channel, Connection, Peer, Place};
pub use lictor_runtime::GREETING_TIME;
pub use networks::local_networks;
pub(crate) use tcp::accept as accept_tcp;
pub use tcp::server_config;
pub(crate) use unix::{accept as accept_unix, bind as bind_unix};

/// Connections that may be open at once.
pub const MAX_CONNECTIONS: usize = 40_000;
/// Connections that may be without a finished TLS handshake at once; one more takes the place of the oldest of the address that
/// has most of them.
pub const MAX_HANDSHAKES: usize = 2_000;
/// Longest time for a TLS handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Client keys that one connection may prove.
pub const MAX_CLIENTS_PER_CONNECTION: usize = 4_096;
/// Pause after the system refused a connection, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
