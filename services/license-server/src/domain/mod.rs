//! What the licence server knows and decides, without I/O: containers, firms, sessions, and the records that change them.

pub mod ask;
pub mod blocks;
pub mod crypto;
pub mod deciding;
pub mod event;
pub mod firm;
pub mod keeper;
pub mod noticing;
pub mod peer;
pub mod queue;
pub mod record;
pub mod rules;
pub mod session;
mod settle;
pub mod state;
pub mod taken_back;
pub mod time;
pub mod units;
pub mod usage;
pub mod users;
pub mod waiting;

/// Most sessions at once.
pub const MAX_SESSIONS: usize = 100_000;
/// Longest name of a program, user or host, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Most firms in one container.
pub const MAX_FIRMS: usize = 256;

/// The display name of a container: 130 and ten digits made from its id.
#[must_use]
pub fn serial(container_id: &[u8; 32]) -> String {
    let mut start = [0; 8];
    start.copy_from_slice(&container_id[..8]);
    format!("130-{:010}", u64::from_be_bytes(start) % 10_000_000_000)
}
