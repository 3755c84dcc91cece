//! The attestor: a child process that alone speaks to the container engine, and speaks to nobody else.
//!
//! The server that listens on the network never holds the engine's socket, which is as good as root on the host. It
//! asks its attestor over two pipes: who am I, who has this address, are you there, tell me who dies.

mod answer;
mod archive;
pub mod child;
pub mod confine;
pub mod engine;
pub mod handle;
pub mod peers;
pub mod protocol;

pub use handle::{Attestor, AttestorError, Identity, Told};
pub use peers::Peers;

/// The word by which the licence server's program becomes the attestor.
pub const ENTRY_POINT: &str = "attestor";
