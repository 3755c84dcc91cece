//! Segments: one signed step of a container's chain. The header is in clear, the body is sealed for the container.

mod body;
mod header;
mod operation;

use lictor_licensing::id::FirmCode;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use lictor_signing::{Envelope, PayloadType, Role, SignedPayload};

pub(crate) use body::read_entries;
pub use body::{Body, Checkpoint, Content};
pub(crate) use header::read_firm;
pub use header::{Question, SegmentHeader, SegmentKind};
pub(crate) use operation::{MAX_CERTIFICATE_BYTES, read_license, read_part, write_license, write_part};
pub use operation::{Operation, ProductKey};

use crate::FileError;
use crate::chain::{Digest, next_head};
use crate::frame::SectionType;
use crate::limits::{MAX_CHECKPOINT_BYTES, MAX_SEGMENT_BYTES};
use crate::seal::SealingKey;

/// What is signed: the header's exact bytes, and the body sealed under them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPayload {
    header: SegmentHeader,
    encapsulated: [u8; 32],
    sealed: Vec<u8>,
}

impl SegmentPayload {
    pub(crate) const fn new(header: SegmentHeader, encapsulated: [u8; 32], sealed: Vec<u8>) -> Self {
        Self { header, encapsulated, sealed }
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Opens the body with the container's key and checks it against the header.
    ///
    /// # Errors
    /// [`FileError::Unreadable`], [`FileError::DigestMismatch`], or what is wrong inside.
    pub fn open(&self, key: &SealingKey) -> Result<Body, FileError> {
        let plain = key.open(&self.encapsulated, &cbor::encode(&self.header), &self.sealed)?;
        if Digest::of(&plain) != self.header.body_digest {
            return Err(FileError::DigestMismatch);
        }
        let body: Body = cbor::decode(&plain)?;
        let fits = matches!(
            (&body.content, &self.header.kind),
            (Content::Operations(_), SegmentKind::Ordinary)
                | (Content::Checkpoint(_), SegmentKind::Checkpoint { .. })
                | (Content::Rebase { .. }, SegmentKind::Rebase { .. })
        );
        if !fits {
            return Err(FileError::Damaged("header and body of a segment are of different kinds"));
        }
        Ok(body)
    }
}

impl SignedPayload for SegmentPayload {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.segment.v1+cbor");
    const ROLE: Option<Role> = Some(Role::Issue);

    fn firm_code(&self) -> u32 {
        self.header.firm_code.get()
    }

    fn signed_at(&self) -> Option<lictor_clock::Timestamp> {
        Some(self.header.issued_at)
    }
}

impl Canonical for SegmentPayload {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(&cbor::encode(&self.header)));
            fields.field(1, |w| w.bytes(&self.encapsulated));
            fields.field(2, |w| w.bytes(&self.sealed));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let payload = Self {
            header: fields.required(0, |r| cbor::decode(r.bytes(MAX_CHECKPOINT_BYTES)?))?,
            encapsulated: fields.required(1, Reader::fixed)?,
            sealed: fields.required(2, |r| r.bytes(MAX_CHECKPOINT_BYTES))?.to_vec(),
        };
        fields.end()?;
        Ok(payload)
    }
}

/// What is signed of a rebase: built like every segment, but of a type and a role of its own. So the issue key, which
/// is online, can never begin a new epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebasePayload(pub SegmentPayload);

impl SignedPayload for RebasePayload {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.rebase.v1+cbor");
    const ROLE: Option<Role> = Some(Role::Support);

    fn firm_code(&self) -> u32 {
        self.0.firm_code()
    }

    fn signed_at(&self) -> Option<lictor_clock::Timestamp> {
        self.0.signed_at()
    }
}

impl Canonical for RebasePayload {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        SegmentPayload::read(reader).map(Self)
    }
}

/// A segment as read from a file or a store. Its header is not trusted before [`Segment::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    envelope: Envelope,
    // The sealed body stays in the envelope: a second copy of it would double what a file takes before it is believed.
    header: SegmentHeader,
    hash: Digest,
}

impl Segment {
    /// Reads the bytes of one segment.
    ///
    /// # Errors
    /// When they are not exactly one segment, or exceed the limit of its kind.
    pub fn read(bytes: &[u8]) -> Result<Self, FileError> {
        if bytes.len() > MAX_CHECKPOINT_BYTES {
            return Err(FileError::TooLarge { what: "a segment", limit: MAX_CHECKPOINT_BYTES });
        }
        let envelope = Envelope::from_bytes(bytes)?;
        let is_rebase = envelope.payload_type() == RebasePayload::PAYLOAD_TYPE.name();
        if !is_rebase && envelope.payload_type() != SegmentPayload::PAYLOAD_TYPE.name() {
            return Err(FileError::Forged(lictor_signing::VerifyError::WrongType {
                expected: SegmentPayload::PAYLOAD_TYPE.name(),
                found: envelope.payload_type().to_owned(),
            }));
        }
        let payload: SegmentPayload = cbor::decode(envelope.unverified_payload())?;
        if payload.header.is_rebase() != is_rebase {
            return Err(FileError::Damaged("header and type of a segment are of different kinds"));
        }
        let ordinary = matches!(payload.header.kind, SegmentKind::Ordinary);
        if ordinary && bytes.len() > MAX_SEGMENT_BYTES {
            return Err(FileError::TooLarge { what: "a segment", limit: MAX_SEGMENT_BYTES });
        }
        let hash = Digest::of(envelope.unverified_payload());
        Ok(Self { envelope, header: payload.header, hash })
    }

    /// The section of a file that these bytes of a segment belong into.
    #[must_use]
    pub fn section_of(bytes: &[u8]) -> SectionType {
        if Envelope::peek_type(bytes) == Some(RebasePayload::PAYLOAD_TYPE.name()) {
            SectionType::Rebase
        } else {
            SectionType::Segment
        }
    }

    /// Reads what a file holds in a section of segments.
    ///
    /// # Errors
    /// As [`Segment::read`], and when it lies in the other kind's section.
    pub(crate) fn read_from(section: SectionType, bytes: &[u8]) -> Result<Self, FileError> {
        let segment = Self::read(bytes)?;
        if segment.is_rebase() != (section == SectionType::Rebase) {
            return Err(FileError::Damaged("a segment lies in the section of another kind"));
        }
        Ok(segment)
    }

    /// Verifies signature, window and firm: of the issue role, or of the support role for a rebase.
    ///
    /// # Errors
    /// [`FileError::Forged`] when the keys of the vendor did not sign this.
    pub fn verify(&self, root: &lictor_signing::TrustedRoot) -> Result<(), FileError> {
        if self.is_rebase() {
            root.open::<RebasePayload>(&self.envelope)?;
        } else {
            root.open::<SegmentPayload>(&self.envelope)?;
        }
        Ok(())
    }

    /// The envelope with its signatures.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Whether it begins a new epoch.
    #[must_use]
    pub const fn is_rebase(&self) -> bool {
        self.header.is_rebase()
    }

    /// Opens the body with the container's key and checks it against the header.
    ///
    /// # Errors
    /// As [`SegmentPayload::open`].
    pub fn open(&self, key: &SealingKey) -> Result<Body, FileError> {
        cbor::decode::<SegmentPayload>(self.envelope.unverified_payload())?.open(key)
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// SHA-256 of the exact signed bytes: what makes two segments equal.
    #[must_use]
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// The head of the chain after this segment.
    #[must_use]
    pub fn head(&self) -> Digest {
        next_head(self.header().epoch, &self.header().previous_head, &self.hash)
    }

    /// The firm of the header, for choosing the right root.
    #[must_use]
    pub const fn firm_code(&self) -> FirmCode {
        self.header.firm_code
    }

    /// The bytes of the segment as they travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.envelope.to_bytes()
    }
}
