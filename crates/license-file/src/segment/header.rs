//! The clear, signed header of a segment.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_licensing::id::FirmCode;
use lictor_signing::KeyId;
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};

use crate::chain::{ContainerId, Digest};
use crate::limits::{MAX_ACCEPTED_HEADS, MAX_CRITICAL};
use crate::version::RuntimeVersion;

const MAX_EXTENSIONS: usize = 16;
const MAX_EXTENSION_BYTES: usize = 4096;

/// How a segment moves the counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// From exactly one position to the next, by operations.
    Ordinary,
    /// From any of the listed positions to the next after all of them, by carrying the whole vendor-owned state.
    Checkpoint {
        /// Counters and heads that a container may stand at, ascending. The header's own `from` may be among them.
        accepts: Vec<(u64, Digest)>,
    },
    /// Into a new epoch, from wherever the container stands, by carrying the whole vendor-owned state.
    Rebase {
        /// Head at which the vendor closed the chain of the epoch before.
        closes: Digest,
        /// The context that this answers.
        answers: Question,
    },
}

/// What makes a context a question that only one rebase can answer: random bytes of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Random bytes of the container, see [`crate::context::Context::device_nonce`].
    pub device_nonce: [u8; 16],
    /// The challenge that the vendor had given for the context.
    pub challenge: [u8; 32],
}

impl Canonical for Question {
    fn write(&self, writer: &mut Writer) {
        writer.array(2);
        writer.bytes(&self.device_nonce);
        writer.bytes(&self.challenge);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if reader.array(2)? != 2 {
            return Err(CborError::Value("a question has two parts"));
        }
        Ok(Self { device_nonce: reader.fixed()?, challenge: reader.fixed()? })
    }
}

/// The header: who it is for, where it belongs in the chain, and what a reader must be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The container.
    pub container_id: ContainerId,
    /// The firm whose chain this is.
    pub firm_code: FirmCode,
    /// Names the device keys that the body is sealed for.
    pub device_keys: KeyId,
    /// Epoch of the chain, starting at 0.
    pub epoch: u32,
    /// How it moves the counter.
    pub kind: SegmentKind,
    /// Counter before.
    pub from: u64,
    /// Counter after, always one more.
    pub to: u64,
    /// Head before.
    pub previous_head: Digest,
    /// When it was issued; decides which keys were valid.
    pub issued_at: Timestamp,
    /// Oldest program that may apply it.
    pub min_runtime: RuntimeVersion,
    /// Numbers of extensions that a reader must know, ascending.
    pub critical: Vec<u32>,
    /// SHA-256 of the body before it was sealed.
    pub body_digest: Digest,
    /// Additions of later versions. Unknown ones that are not critical are kept and ignored.
    pub extensions: BTreeMap<u32, Vec<u8>>,
}

impl SegmentHeader {
    /// Whether a container at this position may apply the segment. A rebase asks for more than a position, see
    /// [`crate::apply::verify_answering`].
    #[must_use]
    pub fn accepts(&self, counter: u64, head: &Digest) -> bool {
        if self.from == counter && self.previous_head == *head {
            return true;
        }
        match &self.kind {
            SegmentKind::Ordinary | SegmentKind::Rebase { .. } => false,
            SegmentKind::Checkpoint { accepts } => accepts.contains(&(counter, *head)),
        }
    }

    /// Whether it begins a new epoch.
    #[must_use]
    pub const fn is_rebase(&self) -> bool {
        matches!(self.kind, SegmentKind::Rebase { .. })
    }

    fn check(&self) -> Result<(), CborError> {
        if self.from.checked_add(1) != Some(self.to) {
            return Err(CborError::Value("a segment moves the counter by one"));
        }
        if let SegmentKind::Checkpoint { accepts } = &self.kind {
            let ascending = accepts.windows(2).all(|pair| pair[0].0 < pair[1].0);
            if !ascending || accepts.iter().any(|(counter, _)| *counter > self.from) {
                return Err(CborError::Value("accepted heads must ascend and lie before the checkpoint"));
            }
        }
        if self.is_rebase() && (self.from != 0 || self.epoch == 0) {
            return Err(CborError::Value("a rebase is the first segment of a later epoch"));
        }
        if !self.critical.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(CborError::Value("critical extensions must ascend"));
        }
        Ok(())
    }
}

impl Canonical for SegmentHeader {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| self.container_id.write(w));
            fields.field(1, |w| w.uint(u64::from(self.firm_code.get())));
            fields.field(2, |w| w.bytes(self.device_keys.as_bytes()));
            fields.field(3, |w| w.uint(u64::from(self.epoch)));
            fields.field(4, |w| w.uint(self.from));
            fields.field(5, |w| w.uint(self.to));
            fields.field(6, |w| self.previous_head.write(w));
            fields.field(7, |w| w.time(self.issued_at));
            fields.field(8, |w| self.min_runtime.write(w));
            fields.field(9, |w| self.body_digest.write(w));
            if let SegmentKind::Checkpoint { accepts } = &self.kind {
                fields.field(10, |w| {
                    w.list(accepts, |w, (counter, head)| {
                        w.array(2);
                        w.uint(*counter);
                        head.write(w);
                    });
                });
            }
            let critical = (!self.critical.is_empty()).then_some(&self.critical);
            fields.option(11, critical, |w, list| w.list(list, |w, number| w.uint(u64::from(*number))));
            let extensions = (!self.extensions.is_empty()).then_some(&self.extensions);
            fields.option(12, extensions, |w, map| {
                w.map(map.len());
                for (number, bytes) in map {
                    w.uint(u64::from(*number));
                    w.bytes(bytes);
                }
            });
            if let SegmentKind::Rebase { closes, answers } = &self.kind {
                fields.field(13, |w| {
                    w.array(2);
                    closes.write(w);
                    answers.write(w);
                });
            }
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let container_id = fields.required(0, ContainerId::read)?;
        let firm_code = fields.required(1, read_firm)?;
        let device_keys = KeyId::from_bytes(fields.required(2, Reader::fixed)?);
        let epoch = fields.required(3, Reader::u32)?;
        let from = fields.required(4, Reader::uint)?;
        let to = fields.required(5, Reader::uint)?;
        let previous_head = fields.required(6, Digest::read)?;
        let issued_at = fields.required(7, Reader::time)?;
        let min_runtime = fields.required(8, RuntimeVersion::read)?;
        let body_digest = fields.required(9, Digest::read)?;
        let accepts = fields.optional(10, |r| {
            r.list(MAX_ACCEPTED_HEADS, |r| {
                if r.array(2)? != 2 {
                    return Err(CborError::Value("an accepted head has two parts"));
                }
                Ok((r.uint()?, Digest::read(r)?))
            })
        })?;
        let critical = fields.optional(11, |r| r.list(MAX_CRITICAL, Reader::u32))?.unwrap_or_default();
        let extensions = fields.optional(12, read_extensions)?.unwrap_or_default();
        let rebase = fields.optional(13, |r| {
            if r.array(2)? != 2 {
                return Err(CborError::Value("a rebase has two parts"));
            }
            Ok(SegmentKind::Rebase { closes: Digest::read(r)?, answers: Question::read(r)? })
        })?;
        fields.end()?;
        let kind = match (accepts, rebase) {
            (Some(_), Some(_)) => return Err(CborError::Value("a segment has one kind")),
            (Some(accepts), None) => SegmentKind::Checkpoint { accepts },
            (None, rebase) => rebase.unwrap_or(SegmentKind::Ordinary),
        };
        let header = Self {
            container_id,
            firm_code,
            device_keys,
            epoch,
            kind,
            from,
            to,
            previous_head,
            issued_at,
            min_runtime,
            critical,
            body_digest,
            extensions,
        };
        header.check()?;
        Ok(header)
    }
}

/// Reads a firm code; zero is none.
pub(crate) fn read_firm(reader: &mut Reader<'_>) -> Result<FirmCode, CborError> {
    FirmCode::new(reader.u32()?).map_err(|_| CborError::Value("firm code zero"))
}

fn read_extensions(reader: &mut Reader<'_>) -> Result<BTreeMap<u32, Vec<u8>>, CborError> {
    let mut extensions = BTreeMap::new();
    for _ in 0..reader.map(MAX_EXTENSIONS)? {
        let number = reader.u32()?;
        if extensions.insert(number, reader.bytes(MAX_EXTENSION_BYTES)?.to_vec()).is_some() {
            return Err(CborError::NotCanonical);
        }
    }
    Ok(extensions)
}
