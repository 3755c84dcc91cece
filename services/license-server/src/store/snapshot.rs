//! Snapshots: the whole state at one place of the journal, sealed with the state key.
//!
//! Layout: magic 8, version 2, oldest reader 2, next record's number 8, seal of the last batch 16, nonce 24, body length 8, body,
//! CRC-32C 4. The file's name carries the same number; the newest two are kept.

use thiserror::Error;

use super::batch::{OLDEST_READER, Position, Sealer, VERSION, can_read};

const MAGIC: [u8; 8] = [0x9d, b'L', b'S', b'N', 0x0d, 0x0a, 0x1a, 0x0a];
const HEADER_BYTES: usize = 68;
const CRC_BYTES: usize = 4;

/// Why a file is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// Cut off, changed, or sealed with another key.
    #[error("the snapshot is damaged")]
    Damaged,
    /// Made by a newer program.
    #[error("the snapshot has format {0}, which this program does not know")]
    TooNew(u16),
}

/// Encodes `state` as it is before the record `position.next`.
#[must_use]
pub fn encode(sealer: &Sealer, position: Position, nonce: &[u8; 24], state: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + state.len() + 16 + CRC_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&OLDEST_READER.to_le_bytes());
    bytes.extend_from_slice(&position.next.to_le_bytes());
    bytes.extend_from_slice(&position.seal);
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(&(state.len() as u64 + 16).to_le_bytes());
    let body = sealer.seal(nonce, &bytes, state);
    bytes.extend_from_slice(&body);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads a snapshot: where the journal goes on, and the state.
///
/// # Errors
/// See [`SnapshotError`].
pub fn decode(sealer: &Sealer, bytes: &[u8]) -> Result<(Position, Vec<u8>), SnapshotError> {
    if bytes.len() < HEADER_BYTES + CRC_BYTES || bytes[..8] != MAGIC {
        return Err(SnapshotError::Damaged);
    }
    let (content, checksum) = bytes.split_at(bytes.len() - CRC_BYTES);
    if crc32c::crc32c(content).to_le_bytes() != checksum {
        return Err(SnapshotError::Damaged);
    }
    let version = u16::from_le_bytes(part(content, 8));
    if !can_read(version, u16::from_le_bytes(part(content, 10))) {
        return Err(SnapshotError::TooNew(version));
    }
    let (header, body) = content.split_at(HEADER_BYTES);
    if u64::from_le_bytes(part(header, 60)) != body.len() as u64 {
        return Err(SnapshotError::Damaged);
    }
    let state = sealer.open(&part(header, 36), header, body).ok_or(SnapshotError::Damaged)?;
    let position = Position { next: u64::from_le_bytes(part(header, 12)), seal: part(header, 20) };
    Ok((position, state))
}

/// A field of the header, whose length was checked.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
