//! Contexts and receipts: what a container says about itself, signed with its own key.

use lictor_clock::Timestamp;
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::id::FirmCode;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use lictor_signing::{Envelope, PayloadType, Role, SignedPayload, Signer, SignerError, VerifyError};

use crate::FileError;
use crate::chain::{ContainerId, Digest};
use crate::device::{DeviceCounters, DeviceKeys, DeviceProfile};
use crate::evidence::Evidence;
use crate::frame::{self, FileType, Frame, SectionType};
use crate::limits::{MAX_EVIDENCE, MAX_SEGMENT_HASHES, MAX_SEGMENTS, MAX_SERIAL_BYTES};
use crate::segment::{Question, read_firm};
use crate::state::VendorState;
use crate::verdict::SegmentResult;
use crate::version::RuntimeVersion;

/// Why a container writes a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it.
    Request,
    /// An import was done; the results of its segments in their order.
    Receipt(Vec<SegmentResult>),
}

/// What a container says about itself, for one firm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Why it was written.
    pub reason: Reason,
    /// Display name of the container, at most 64 bytes.
    pub serial: String,
    /// The firm it is for.
    pub firm_code: FirmCode,
    /// The container's keys.
    pub keys: DeviceKeys,
    /// What the container is bound to.
    pub kind: ContainerKind,
    /// Whether the machine below is a virtual one.
    pub virtual_machine: bool,
    /// The program that holds it.
    pub runtime: RuntimeVersion,
    /// Version of the firm's root document that the container trusts; 0 for none yet.
    pub root_version: u64,
    /// Epoch of the chain.
    pub epoch: u32,
    /// Number of the last applied segment.
    pub counter: u64,
    /// Head of the chain.
    pub head: Digest,
    /// Counter of the last checkpoint.
    pub base_counter: u64,
    /// Head at the last checkpoint.
    pub base_head: Digest,
    /// Hashes of the segments since then.
    pub segment_hashes: Vec<Digest>,
    /// Digest of the vendor-owned state.
    pub state_digest: Digest,
    /// Counts the contexts of this container and firm; written to the container's journal before the file leaves.
    pub sequence: u64,
    /// When it was written, by the container's clock.
    pub created_at: Timestamp,
    /// Random bytes of the container.
    pub device_nonce: [u8; 16],
    /// Bytes that the vendor gave for this context, which prove that it is fresh.
    pub vendor_nonce: Option<[u8; 32]>,
    /// Counters that the container alone moves.
    pub counters: DeviceCounters,
    /// What the container saw that should not be.
    pub evidence: Vec<Evidence>,
}

/// What a container adds to its state when it writes a context.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    /// Why it is written.
    pub reason: Reason,
    /// Display name of the container.
    pub serial: &'a str,
    /// Keys, kind and program.
    pub profile: &'a DeviceProfile,
    /// Version of the trusted root document; 0 for none.
    pub root_version: u64,
    /// The next number of the sequence, already in the journal.
    pub sequence: u64,
    /// The time.
    pub created_at: Timestamp,
    /// Fresh random bytes.
    pub device_nonce: [u8; 16],
    /// Bytes from the vendor, when it gave some.
    pub vendor_nonce: Option<[u8; 32]>,
    /// Counters that the container alone moves.
    pub counters: DeviceCounters,
    /// Kept evidence.
    pub evidence: Vec<Evidence>,
}

impl Context {
    /// The context of a container in this state.
    #[must_use]
    pub fn new(state: &VendorState, statement: Statement<'_>) -> Self {
        Self {
            reason: statement.reason,
            serial: statement.serial.to_owned(),
            firm_code: state.firm_code,
            keys: statement.profile.keys.clone(),
            kind: statement.profile.kind,
            virtual_machine: statement.profile.virtual_machine,
            runtime: statement.profile.runtime,
            root_version: statement.root_version,
            epoch: state.epoch,
            counter: state.counter,
            head: state.head,
            base_counter: state.base_counter,
            base_head: state.base_head,
            segment_hashes: state.segment_hashes.clone(),
            state_digest: state.digest(),
            sequence: statement.sequence,
            created_at: statement.created_at,
            device_nonce: statement.device_nonce,
            vendor_nonce: statement.vendor_nonce,
            counters: statement.counters,
            evidence: statement.evidence,
        }
    }

    /// The container.
    #[must_use]
    pub fn container_id(&self) -> ContainerId {
        self.keys.container_id()
    }

    /// What decides which updates the container can take.
    #[must_use]
    pub fn profile(&self) -> DeviceProfile {
        DeviceProfile {
            keys: self.keys.clone(),
            kind: self.kind,
            virtual_machine: self.virtual_machine,
            runtime: self.runtime,
        }
    }

    /// What a rebase has to answer; none without a challenge of the vendor.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        self.vendor_nonce.map(|challenge| Question { device_nonce: self.device_nonce, challenge })
    }

    /// Whether this is a receipt.
    #[must_use]
    pub const fn is_receipt(&self) -> bool {
        matches!(self.reason, Reason::Receipt(_))
    }

    /// Writes the file, signed with the container's key. A receipt becomes a file of that type.
    ///
    /// # Errors
    /// When the signer fails, or the file would be too large.
    pub fn to_file(&self, signer: &dyn Signer) -> Result<Vec<u8>, WriteError> {
        let payload = cbor::encode(self);
        let (file_type, payload_type) = match self.reason {
            Reason::Request => (FileType::Context, RequestPayload::PAYLOAD_TYPE),
            Reason::Receipt(_) => (FileType::Receipt, ReceiptPayload::PAYLOAD_TYPE),
        };
        let envelope = Envelope::sign(payload_type, payload, &[signer])?.to_bytes();
        Ok(frame::build(file_type, &[(SectionType::Envelope, &envelope)])?)
    }
}

/// A file could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The key did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A limit of the format.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A context whose signature by its own device key holds, with the hash that names this very file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedContext {
    /// What the container says.
    pub context: Context,
    /// SHA-256 of the signed bytes.
    pub hash: Digest,
}

/// Reads a context that somebody asked for.
///
/// # Errors
/// When the file is not a context, or its own device key did not sign it.
pub fn read(file: &[u8]) -> Result<VerifiedContext, FileError> {
    open::<RequestPayload>(&Frame::parse_as(file, FileType::Context)?)
        .map(|(RequestPayload(context), hash)| VerifiedContext { context, hash })
}

/// Reads a receipt.
///
/// # Errors
/// When the file is not a receipt, or its own device key did not sign it.
pub fn read_receipt(file: &[u8]) -> Result<VerifiedContext, FileError> {
    open::<ReceiptPayload>(&Frame::parse_as(file, FileType::Receipt)?)
        .map(|(ReceiptPayload(context), hash)| VerifiedContext { context, hash })
}

/// Reads a context or a receipt, whichever it is.
///
/// # Errors
/// As [`read`] and [`read_receipt`].
pub fn read_any(file: &[u8]) -> Result<VerifiedContext, FileError> {
    match Frame::parse(file)?.file_type {
        FileType::Receipt => read_receipt(file),
        _ => read(file),
    }
}

fn open<T: SignedPayload + AsContext>(frame: &Frame<'_>) -> Result<(T, Digest), FileError> {
    frame.allow(&[(SectionType::Envelope, 1)])?;
    let envelope = Envelope::from_bytes(frame.only(SectionType::Envelope)?)?;
    // A context names the key that must have signed it. That is no circle: the id of the container is the hash of that
    // key, so whoever signs with another key speaks for another container.
    if envelope.payload_type() != T::PAYLOAD_TYPE.name() {
        return Err(FileError::Forged(VerifyError::WrongType {
            expected: T::PAYLOAD_TYPE.name(),
            found: envelope.payload_type().to_owned(),
        }));
    }
    let claimed: T = cbor::decode(envelope.unverified_payload())?;
    let opened = envelope.open_by_key::<T>(&claimed.as_context().keys.signing)?;
    Ok((opened, Digest::of(envelope.unverified_payload())))
}

trait AsContext {
    fn as_context(&self) -> &Context;
}

macro_rules! payload {
    ($name:ident, $type:literal, $receipt:literal) => {
        struct $name(Context);

        impl AsContext for $name {
            fn as_context(&self) -> &Context {
                &self.0
            }
        }

        impl SignedPayload for $name {
            const PAYLOAD_TYPE: PayloadType = PayloadType::new($type);
            const ROLE: Option<Role> = None;

            fn firm_code(&self) -> u32 {
                self.0.firm_code.get()
            }

            fn signed_at(&self) -> Option<Timestamp> {
                None
            }
        }

        impl Canonical for $name {
            fn write(&self, writer: &mut Writer) {
                self.0.write(writer);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
                let context = Context::read(reader)?;
                if context.is_receipt() != $receipt {
                    return Err(CborError::Value("the reason does not fit the type of the file"));
                }
                Ok(Self(context))
            }
        }
    };
}

payload!(RequestPayload, "application/vnd.lictor.context.v1+cbor", false);
payload!(ReceiptPayload, "application/vnd.lictor.receipt.v1+cbor", true);

impl Canonical for Context {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.text(&self.serial));
            fields.field(1, |w| w.uint(u64::from(self.firm_code.get())));
            fields.field(2, |w| self.keys.write(w));
            fields.field(3, |w| w.uint(kind_number(self.kind)));
            fields.field(4, |w| w.bool(self.virtual_machine));
            fields.field(5, |w| self.runtime.write(w));
            fields.field(6, |w| w.uint(self.root_version));
            fields.field(7, |w| w.uint(u64::from(self.epoch)));
            fields.field(8, |w| w.uint(self.counter));
            fields.field(9, |w| self.head.write(w));
            fields.field(10, |w| w.uint(self.base_counter));
            fields.field(11, |w| self.base_head.write(w));
            fields.field(12, |w| w.list(&self.segment_hashes, |w, hash| hash.write(w)));
            fields.field(13, |w| self.state_digest.write(w));
            fields.field(14, |w| w.uint(self.sequence));
            fields.field(15, |w| w.time(self.created_at));
            fields.field(16, |w| w.bytes(&self.device_nonce));
            fields.option(17, self.vendor_nonce, |w, nonce| w.bytes(&nonce));
            fields.field(18, |w| self.counters.write(w));
            fields.field(19, |w| w.list(&self.evidence, |w, evidence| evidence.write(w)));
            if let Reason::Receipt(results) = &self.reason {
                fields.field(20, |w| w.list(results, |w, result| result.write(w)));
            }
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let context = Self {
            serial: fields.required(0, |r| r.text(MAX_SERIAL_BYTES))?.to_owned(),
            firm_code: fields.required(1, read_firm)?,
            keys: fields.required(2, DeviceKeys::read)?,
            kind: fields.required(3, read_kind)?,
            virtual_machine: fields.required(4, Reader::bool)?,
            runtime: fields.required(5, RuntimeVersion::read)?,
            root_version: fields.required(6, Reader::uint)?,
            epoch: fields.required(7, Reader::u32)?,
            counter: fields.required(8, Reader::uint)?,
            head: fields.required(9, Digest::read)?,
            base_counter: fields.required(10, Reader::uint)?,
            base_head: fields.required(11, Digest::read)?,
            segment_hashes: fields.required(12, |r| r.list(MAX_SEGMENT_HASHES, Digest::read))?,
            state_digest: fields.required(13, Digest::read)?,
            sequence: fields.required(14, Reader::uint)?,
            created_at: fields.required(15, Reader::time)?,
            device_nonce: fields.required(16, Reader::fixed)?,
            vendor_nonce: fields.optional(17, Reader::fixed)?,
            counters: fields.required(18, DeviceCounters::read)?,
            evidence: fields.required(19, |r| r.list(MAX_EVIDENCE, Evidence::read))?,
            reason: fields
                .optional(20, |r| r.list(MAX_SEGMENTS, SegmentResult::read))?
                .map_or(Reason::Request, Reason::Receipt),
        };
        fields.end()?;
        Ok(context)
    }
}

/// The number of a kind in files; it never changes.
#[must_use]
pub const fn kind_number(kind: ContainerKind) -> u64 {
    match kind {
        ContainerKind::Folder => 1,
        ContainerKind::Machine => 2,
        ContainerKind::Volume => 3,
        ContainerKind::Kubernetes => 4,
        ContainerKind::Token => 5,
        ContainerKind::Cloud => 6,
    }
}

/// Reads such a number.
///
/// # Errors
/// When no kind has it.
pub fn read_kind(reader: &mut Reader<'_>) -> Result<ContainerKind, CborError> {
    let number = reader.uint()?;
    ContainerKind::ALL.iter().copied().find(|kind| kind_number(*kind) == number).ok_or(CborError::UnknownKind(number))
}
