//! What a container saw that should not be. It is kept in the container's journal and sent with every context.

use lictor_clock::Timestamp;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};

use crate::FileError;
use crate::chain::Digest;
use crate::limits::{MAX_EVIDENCE, MAX_EVIDENCE_BYTES};

/// Largest piece of evidence. A larger segment is represented by its hash alone.
const MAX_PIECE_BYTES: usize = 66 * 1024;

/// One thing that should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A validly signed segment that differs from the one applied at the same counter.
    Fork {
        /// Counter of the segments.
        at: u64,
        /// Hash of the segment that was applied, when it is still known.
        known: Option<Digest>,
        /// Hash of the bytes of the other segment.
        other_hash: Digest,
        /// The other segment with its signatures; empty when it is too large to keep.
        other: Vec<u8>,
    },
    /// The state on disk is older than a witness remembers.
    Rollback {
        /// Position of the state on disk.
        local: u64,
        /// Position that the witness remembers.
        witness: u64,
        /// When it was noticed.
        at: Timestamp,
    },
    /// The clock runs behind a time that was proven.
    Clock {
        /// Latest proven time.
        floor: Timestamp,
        /// What the clock said.
        clock: Timestamp,
    },
}

impl Evidence {
    /// The evidence that a refused file leaves, if it leaves any.
    #[must_use]
    pub fn from_refusal(error: &FileError) -> Option<Self> {
        let FileError::Fork { at, known, other } = error else {
            return None;
        };
        let kept = if other.len() <= MAX_PIECE_BYTES { other.clone() } else { Vec::new() };
        Some(Self::Fork { at: *at, known: *known, other_hash: Digest::of(other), other: kept })
    }
}

/// Adds a piece to the kept evidence, once, and drops the oldest pieces above the limits.
pub fn keep(kept: &mut Vec<Evidence>, piece: Evidence) {
    if kept.contains(&piece) {
        return;
    }
    kept.push(piece);
    while kept.len() > MAX_EVIDENCE || kept.iter().map(|e| cbor::encode(e).len()).sum::<usize>() > MAX_EVIDENCE_BYTES {
        kept.remove(0);
    }
}

impl Canonical for Evidence {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| match self {
            Evidence::Fork { at, known, other_hash, other } => {
                fields.field(0, |w| w.uint(1));
                fields.field(1, |w| w.uint(*at));
                fields.option(2, known.as_ref(), |w, hash| hash.write(w));
                fields.field(3, |w| other_hash.write(w));
                fields.field(4, |w| w.bytes(other));
            }
            Evidence::Rollback { local, witness, at } => {
                fields.field(0, |w| w.uint(2));
                fields.field(1, |w| w.uint(*local));
                fields.field(2, |w| w.uint(*witness));
                fields.field(3, |w| w.time(*at));
            }
            Evidence::Clock { floor, clock } => {
                fields.field(0, |w| w.uint(3));
                fields.field(1, |w| w.time(*floor));
                fields.field(2, |w| w.time(*clock));
            }
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let evidence = match fields.required(0, Reader::uint)? {
            1 => Evidence::Fork {
                at: fields.required(1, Reader::uint)?,
                known: fields.optional(2, Digest::read)?,
                other_hash: fields.required(3, Digest::read)?,
                other: fields.required(4, |r| r.bytes(MAX_PIECE_BYTES))?.to_vec(),
            },
            2 => Evidence::Rollback {
                local: fields.required(1, Reader::uint)?,
                witness: fields.required(2, Reader::uint)?,
                at: fields.required(3, Reader::time)?,
            },
            3 => Evidence::Clock { floor: fields.required(1, Reader::time)?, clock: fields.required(2, Reader::time)? },
            kind => return Err(CborError::UnknownKind(kind)),
        };
        fields.end()?;
        Ok(evidence)
    }
}
