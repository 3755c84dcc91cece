//! Batches: what is written, synced and believed as a whole.
//!
//! A batch is sealed with the state key. Its header, which is part of what the seal covers, names the seal of the batch
//! before it; so batches can be neither changed, left out, repeated nor put in another order. The checksum only tells
//! damage apart quickly from a batch that was never finished.
//!
//! Layout: magic 8, version 2, oldest reader 2, records 4, body length 4, first record's number 8, instance 16, previous seal 16,
//! nonce 24, body, CRC-32C 4. Numbers are little-endian.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use thiserror::Error;

/// How a batch begins; does not survive transport as text.
pub const MAGIC: [u8; 8] = [0x9d, b'L', b'J', b'B', 0x0d, 0x0a, 0x1a, 0x0a];
/// The format that this program writes, of batches, snapshots and what is in them.
pub const VERSION: u16 = 2;
/// The oldest format whose programs can read what this one writes. Whoever knows only older ones refuses: going on without
/// what it does not know would forget what was promised.
pub const OLDEST_READER: u16 = 2;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 84;
/// Largest body: a whole update file with room for what comes with it.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Most records in one batch.
pub const MAX_RECORDS: usize = 1024;

const CRC_BYTES: usize = 4;

/// The seal of a batch, which the next batch names.
pub type Seal = [u8; 16];

/// The seal before the first batch of all.
pub const FIRST_SEAL: Seal = [0; 16];

/// Whether this program can read what states this format and this oldest reader.
#[must_use]
pub const fn can_read(version: u16, oldest_reader: u16) -> bool {
    version <= VERSION || oldest_reader <= VERSION
}

/// Seals batches and snapshots with the state key.
#[derive(Clone)]
pub struct Sealer(XChaCha20Poly1305);

impl Sealer {
    /// A sealer with a key of 32 bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    /// Seals `plain`; `header` is covered but stays readable. The last 16 bytes of the answer are the seal.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; 24], header: &[u8], plain: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: plain, aad: header };
        self.0.encrypt(&XNonce::from(*nonce), payload).expect("a batch is far smaller than the cipher's limit")
    }

    /// Opens what [`Sealer::seal`] made.
    #[must_use]
    pub fn open(&self, nonce: &[u8; 24], header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: sealed, aad: header };
        self.0.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// Where the next batch goes: its first record's number and the seal before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Number of the next record; the first of all has 1.
    pub next: u64,
    /// Seal of the last batch.
    pub seal: Seal,
}

impl Position {
    /// Before everything.
    pub const START: Self = Self { next: 1, seal: FIRST_SEAL };
}

/// A batch that was checked.
#[derive(Debug)]
pub struct Batch {
    /// The records, in order.
    pub records: Vec<Vec<u8>>,
    /// Where the next batch goes.
    pub after: Position,
    /// Bytes that the batch takes in the file.
    pub length: usize,
}

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Not whole: cut off, or the checksum does not fit. At the end of the last file this is what a crash leaves.
    #[error("the batch is not whole")]
    NotWhole,
    /// Whole, but made by a newer program.
    #[error("the batch has format {0}, which this program does not know")]
    TooNew(u16),
    /// Whole, but not the one that belongs here.
    #[error("a batch is out of its order")]
    OutOfOrder,
    /// Whole, but not sealed with this folder's key.
    #[error("a batch was changed")]
    Forged,
}

/// Encodes records as the batch at `position`, and says where the next one goes.
#[must_use]
pub fn encode(
    sealer: &Sealer,
    position: Position,
    instance: &[u8; 16],
    nonce: &[u8; 24],
    records: &[Vec<u8>],
) -> (Vec<u8>, Position) {
    let size: usize = records.iter().map(|record| record.len() + 4).sum();
    let mut plain = Vec::with_capacity(size);
    for record in records {
        plain.extend_from_slice(&length_u32(record.len()));
        plain.extend_from_slice(record);
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + size + 16 + CRC_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&OLDEST_READER.to_le_bytes());
    bytes.extend_from_slice(&length_u32(records.len()));
    bytes.extend_from_slice(&length_u32(size + 16));
    bytes.extend_from_slice(&position.next.to_le_bytes());
    bytes.extend_from_slice(instance);
    bytes.extend_from_slice(&position.seal);
    bytes.extend_from_slice(nonce);
    let body = sealer.seal(nonce, &bytes, &plain);
    let mut seal = FIRST_SEAL;
    seal.copy_from_slice(&body[body.len() - 16..]);
    bytes.extend_from_slice(&body);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let next = position.next + records.len() as u64;
    (bytes, Position { next, seal })
}

/// Lengths here are bounded far below 2^32 by the limits above.
fn length_u32(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads the batch that `bytes` begin with; it must be the one at `position`.
///
/// # Errors
/// See [`BatchError`]. Nothing is allocated before lengths were checked against limits and against what is there.
pub fn decode(sealer: &Sealer, position: Position, bytes: &[u8]) -> Result<Batch, BatchError> {
    let whole = whole(bytes).ok_or(BatchError::NotWhole)?;
    let version = u16::from_le_bytes(part(whole, 8));
    if !can_read(version, u16::from_le_bytes(part(whole, 10))) {
        return Err(BatchError::TooNew(version));
    }
    let first = u64::from_le_bytes(part(whole, 20));
    let previous: Seal = part(whole, 44);
    if first != position.next || previous != position.seal {
        return Err(BatchError::OutOfOrder);
    }
    let nonce: [u8; 24] = part(whole, 60);
    let (header, rest) = whole.split_at(HEADER_BYTES);
    let body = &rest[..rest.len() - CRC_BYTES];
    let plain = sealer.open(&nonce, header, body).ok_or(BatchError::Forged)?;
    let count = u32::from_le_bytes(part(whole, 12)) as usize;
    let records = split(&plain, count).ok_or(BatchError::Forged)?;
    let mut seal = FIRST_SEAL;
    seal.copy_from_slice(&body[body.len() - 16..]);
    Ok(Batch { after: Position { next: first + records.len() as u64, seal }, records, length: whole.len() })
}

/// Whether a whole batch begins anywhere in `bytes`. Asked about what follows a broken one: a crash can only break the
/// last batch, because the next one is written after the sync of the one before returned.
#[must_use]
pub fn any_whole(bytes: &[u8]) -> bool {
    bytes.windows(MAGIC.len()).enumerate().any(|(at, window)| window == MAGIC && whole(&bytes[at..]).is_some())
}

/// The bytes of one batch when length and checksum fit.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
        return None;
    }
    let records = u32::from_le_bytes(part(bytes, 12)) as usize;
    let body = u32::from_le_bytes(part(bytes, 16)) as usize;
    if records > MAX_RECORDS || !(16..=MAX_BODY_BYTES).contains(&body) {
        return None;
    }
    let end = HEADER_BYTES + body;
    let checksum = bytes.get(end..end + CRC_BYTES)?;
    (crc32c::crc32c(&bytes[..end]).to_le_bytes() == checksum).then(|| &bytes[..end + CRC_BYTES])
}

/// A field of the header, whose length was checked.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

fn split(mut plain: &[u8], count: usize) -> Option<Vec<Vec<u8>>> {
    let mut records = Vec::with_capacity(count);
    while let Some((length, rest)) = plain.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        records.push(rest.get(..length)?.to_vec());
        plain = &rest[length..];
    }
    (plain.is_empty() && records.len() == count).then_some(records)
}
