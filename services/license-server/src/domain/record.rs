//! What the journal says: one record for each change that a restart must not forget.

use std::sync::Arc;
use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_license_file::device::DeviceCounters;
use lictor_license_file::evidence::Evidence;
use lictor_license_file::limits::{MAX_PRODUCT_KEYS, MAX_ROOTS, MAX_SERIAL_BYTES, MAX_STATE_BYTES};
use lictor_license_file::segment::{ProductKey, Question};
use lictor_licensing::id::{FirmCode, ProductCode, SessionId};
use lictor_signing::MAX_ROOT_BYTES;
use lictor_signing::cbor::{self, Canonical, CborError, FieldWriter, Reader, Writer};

use super::blocks::{Asked, BlockId, Terms};
use super::session::{Session, read_firm};
use super::time::{Noted, read_span, write_span};
use super::units::UnitsTaken;

/// A change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The container was made.
    ContainerCreated {
        /// Its display name.
        serial: String,
        /// When.
        at: Timestamp,
    },
    /// A firm may put licences into the container.
    FirmAdded {
        /// The firm.
        firm: FirmCode,
        /// Its root documents, oldest first.
        roots: Vec<Vec<u8>>,
        /// When its licence information file was signed: a proven time.
        issued_at: Timestamp,
    },
    /// A firm moved to newer root documents.
    RootsFollowed {
        /// The firm.
        firm: FirmCode,
        /// The documents after the known ones.
        roots: Vec<Vec<u8>>,
    },
    /// One segment of an update was applied.
    SegmentApplied {
        /// The firm.
        firm: FirmCode,
        /// The vendor-owned state afterwards, encoded.
        state: Vec<u8>,
        /// All product keys afterwards.
        keys: Vec<(ProductCode, ProductKey)>,
        /// When the segment was issued: a proven time.
        issued_at: Timestamp,
        /// After a rebase, what the device-owned counters must at least be. A rebase also spends all questions and settles
        /// the evidence of forks and rollbacks.
        rebase: Option<DeviceCounters>,
    },
    /// A context with this number may leave.
    ContextNumbered {
        /// The firm.
        firm: FirmCode,
        /// The number.
        sequence: u64,
        /// What a rebase may answer, when the context carries a challenge.
        question: Option<Question>,
    },
    /// Something was seen that should not be.
    EvidenceKept {
        /// The firm.
        firm: FirmCode,
        /// What.
        evidence: Evidence,
    },
    /// A seat was given.
    Granted {
        /// The session.
        session: Box<Session>,
        /// The part whose usage period starts with it.
        starts_usage: Option<Timestamp>,
    },
    /// A seat came free.
    Released {
        /// The session.
        session: SessionId,
        /// When.
        at: Timestamp,
    },
    /// The time was noted.
    TimeSeen(Noted),
    /// A vendor's time role said the time.
    TimeStated {
        /// The time.
        at: Timestamp,
        /// How far the clock was ahead of it, when that was a leap.
        ahead_by: Option<Duration>,
    },
    /// A session went over to another licence, because an update took its own away.
    Moved {
        /// The session as it is now.
        session: Box<Session>,
        /// When the usage period of its new part started with it.
        starts_usage: Option<Timestamp>,
    },
    /// Units of pay-per-use were taken.
    UnitsTaken(UnitsTaken),
    /// Seats were lent to another server, or a block of them has another size.
    BlockLent {
        /// The session that is the block.
        session: Box<Session>,
        /// The part whose usage period starts with it.
        starts_usage: Option<Timestamp>,
    },
    /// A question about a block leaves: no more of its seats may be in use than this says.
    BlockAsked(Asked),
    /// A lender answered.
    BlockHeld {
        /// The block.
        block: BlockId,
        /// Number of the question.
        number: u64,
        /// Seats of the block.
        seats: u32,
        /// What they are.
        terms: Arc<Terms>,
    },
    /// A block is over.
    BlockDropped {
        /// The block.
        block: BlockId,
    },
}

impl Record {
    /// The bytes for the journal.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// The bytes of [`Record::Granted`], without taking the session.
    #[must_use]
    pub fn granted(session: &Session, starts_usage: Option<Timestamp>) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.record(|fields| write_granted(fields, 7, session, starts_usage));
        writer.into_bytes()
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// When the bytes are none, or of a newer program.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes)
    }
}

impl Canonical for Record {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| match self {
            Self::ContainerCreated { serial, at } => {
                fields.field(0, |w| w.uint(1));
                fields.field(1, |w| w.text(serial));
                fields.field(2, |w| w.time(*at));
            }
            Self::FirmAdded { firm, roots, issued_at } => {
                fields.field(0, |w| w.uint(2));
                fields.field(1, |w| w.uint(u64::from(firm.get())));
                fields.field(2, |w| write_roots(w, roots));
                fields.field(3, |w| w.time(*issued_at));
            }
            Self::RootsFollowed { firm, roots } => {
                fields.field(0, |w| w.uint(3));
                fields.field(1, |w| w.uint(u64::from(firm.get())));
                fields.field(2, |w| write_roots(w, roots));
            }
            Self::SegmentApplied { firm, state, keys, issued_at, rebase } => {
                fields.field(0, |w| w.uint(4));
                fields.field(1, |w| w.uint(u64::from(firm.get())));
                fields.field(2, |w| w.bytes(state));
                fields.field(3, |w| write_keys(w, keys.iter()));
                fields.field(4, |w| w.time(*issued_at));
                fields.option(5, rebase.as_ref(), |w, floor| floor.write(w));
            }
            Self::ContextNumbered { firm, sequence, question } => {
                fields.field(0, |w| w.uint(5));
                fields.field(1, |w| w.uint(u64::from(firm.get())));
                fields.field(2, |w| w.uint(*sequence));
                fields.option(3, question.as_ref(), |w, question| question.write(w));
            }
            Self::EvidenceKept { firm, evidence } => {
                fields.field(0, |w| w.uint(6));
                fields.field(1, |w| w.uint(u64::from(firm.get())));
                fields.field(2, |w| evidence.write(w));
            }
            Self::Granted { session, starts_usage } => {
                write_granted(fields, 7, session, *starts_usage);
            }
            Self::Released { session, at } => {
                fields.field(0, |w| w.uint(8));
                fields.field(1, |w| w.bytes(&session.to_u128().to_be_bytes()));
                fields.field(2, |w| w.time(*at));
            }
            Self::TimeSeen(Noted { at, leap, distrusted }) => {
                fields.field(0, |w| w.uint(9));
                fields.field(1, |w| w.time(*at));
                fields.option(2, Some(*leap).filter(|leap| !leap.is_zero()), write_span);
                fields.option(3, distrusted.then_some(true), Writer::bool);
            }
            Self::TimeStated { at, ahead_by } => {
                fields.field(0, |w| w.uint(10));
                fields.field(1, |w| w.time(*at));
                fields.option(2, *ahead_by, write_span);
            }
            Self::Moved { session, starts_usage } => write_granted(fields, 11, session, *starts_usage),
            Self::UnitsTaken(taken) => {
                fields.field(0, |w| w.uint(20));
                taken.write_fields(fields);
            }
            Self::BlockLent { session, starts_usage } => write_granted(fields, 30, session, *starts_usage),
            Self::BlockAsked(asked) => {
                fields.field(0, |w| w.uint(31));
                asked.write_fields(fields);
            }
            Self::BlockHeld { block, number, seats, terms } => {
                fields.field(0, |w| w.uint(32));
                fields.field(1, |w| w.bytes(block));
                fields.field(2, |w| w.uint(*number));
                fields.field(3, |w| w.uint(u64::from(*seats)));
                fields.field(4, |w| terms.write(w));
            }
            Self::BlockDropped { block } => {
                fields.field(0, |w| w.uint(33));
                fields.field(1, |w| w.bytes(block));
            }
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let record = match fields.required(0, Reader::uint)? {
            1 => Self::ContainerCreated {
                serial: fields.required(1, |r| r.text(MAX_SERIAL_BYTES))?.to_owned(),
                at: fields.required(2, Reader::time)?,
            },
            2 => Self::FirmAdded {
                firm: fields.required(1, read_firm)?,
                roots: fields.required(2, read_roots)?,
                issued_at: fields.required(3, Reader::time)?,
            },
            3 => Self::RootsFollowed { firm: fields.required(1, read_firm)?, roots: fields.required(2, read_roots)? },
            4 => Self::SegmentApplied {
                firm: fields.required(1, read_firm)?,
                state: fields.required(2, |r| r.bytes(MAX_STATE_BYTES))?.to_vec(),
                keys: fields.required(3, read_keys)?,
                issued_at: fields.required(4, Reader::time)?,
                rebase: fields.optional(5, DeviceCounters::read)?,
            },
            5 => Self::ContextNumbered {
                firm: fields.required(1, read_firm)?,
                sequence: fields.required(2, Reader::uint)?,
                question: fields.optional(3, Question::read)?,
            },
            6 => Self::EvidenceKept {
                firm: fields.required(1, read_firm)?,
                evidence: fields.required(2, Evidence::read)?,
            },
            7 => Self::Granted {
                session: Box::new(fields.required(1, Session::read)?),
                starts_usage: fields.optional(2, Reader::time)?,
            },
            8 => Self::Released {
                session: fields.required(1, |r| Ok(SessionId::from_u128(u128::from_be_bytes(r.fixed()?))))?,
                at: fields.required(2, Reader::time)?,
            },
            9 => Self::TimeSeen(Noted {
                at: fields.required(1, Reader::time)?,
                leap: fields.optional(2, read_span)?.unwrap_or_default(),
                distrusted: fields.optional(3, Reader::bool)?.unwrap_or_default(),
            }),
            10 => Self::TimeStated { at: fields.required(1, Reader::time)?, ahead_by: fields.optional(2, read_span)? },
            11 => Self::Moved {
                session: Box::new(fields.required(1, Session::read)?),
                starts_usage: fields.optional(2, Reader::time)?,
            },
            20 => Self::UnitsTaken(UnitsTaken::read_fields(&mut fields)?),
            30 => Self::BlockLent {
                session: Box::new(fields.required(1, Session::read)?),
                starts_usage: fields.optional(2, Reader::time)?,
            },
            31 => Self::BlockAsked(Asked::read_fields(&mut fields)?),
            32 => Self::BlockHeld {
                block: fields.required(1, Reader::fixed)?,
                number: fields.required(2, Reader::uint)?,
                seats: fields.required(3, Reader::u32)?,
                terms: Arc::new(fields.required(4, Terms::read)?),
            },
            33 => Self::BlockDropped { block: fields.required(1, Reader::fixed)? },
            kind => return Err(CborError::UnknownKind(kind)),
        };
        fields.end()?;
        Ok(record)
    }
}

fn write_granted(fields: &mut FieldWriter, kind: u64, session: &Session, starts_usage: Option<Timestamp>) {
    fields.field(0, |w| w.uint(kind));
    fields.field(1, |w| session.write(w));
    fields.option(2, starts_usage, Writer::time);
}

/// Writes root documents.
pub(super) fn write_roots(writer: &mut Writer, roots: &[Vec<u8>]) {
    writer.list(roots, |w, root| w.bytes(root));
}

/// Reads root documents.
pub(super) fn read_roots(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, CborError> {
    reader.list(MAX_ROOTS, |r| r.bytes(MAX_ROOT_BYTES).map(<[u8]>::to_vec))
}

/// Writes product keys; the journal is sealed as a whole.
pub(super) fn write_keys<'k>(writer: &mut Writer, keys: impl ExactSizeIterator<Item = &'k (ProductCode, ProductKey)>) {
    writer.array(keys.len());
    for (product, key) in keys {
        writer.array(2);
        writer.uint(u64::from(product.get()));
        writer.bytes(key.expose());
    }
}

/// Reads product keys.
pub(super) fn read_keys(reader: &mut Reader<'_>) -> Result<Vec<(ProductCode, ProductKey)>, CborError> {
    reader.list(MAX_PRODUCT_KEYS, |r| {
        if r.array(2)? != 2 {
            return Err(CborError::Value("a product key has two parts"));
        }
        Ok((ProductCode(r.u32()?), ProductKey::new(r.fixed()?)))
    })
}
