//! Modified contexts: the vendor's own prediction of a container after everything that was issued for it. They stand in
//! for the context that the user would have to send, so the next update needs nothing from the user.

use lictor_clock::Timestamp;
use lictor_licensing::id::FirmCode;
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};
use lictor_signing::{Envelope, PayloadType, Role, SignedPayload, Signer, TrustedRoot};

use crate::FileError;
use crate::chain::Digest;
use crate::context::{self, VerifiedContext, WriteError};
use crate::frame::{self, FileType, Frame, SectionType};
use crate::limits::{MAX_PENDING, MAX_SEGMENTS, MAX_STATE_BYTES};
use crate::segment::Segment;
use crate::state::VendorState;
use crate::update;

/// Pending bytes above which a checkpoint should fold them, so that one file always holds them.
const MAX_PENDING_BYTES: usize = 3 * 1024 * 1024;

/// Last proof from the container, what was issued since, and what the container will hold then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModifiedContext {
    /// The context or receipt file that proved the newest confirmed position; none before the first.
    pub confirmed: Option<Vec<u8>>,
    /// Segments issued after that position, in their order, as bytes.
    pub pending: Vec<Vec<u8>>,
    /// The predicted state after all of them.
    pub predicted: VendorState,
}

impl ModifiedContext {
    /// The update file with everything that is pending: the same bytes every time, with nothing from the user.
    ///
    /// # Errors
    /// [`FileError::TooLarge`] when a checkpoint is overdue.
    pub fn pending_update(&self, roots: &[Vec<u8>]) -> Result<Vec<u8>, FileError> {
        update::build(roots, &self.pending)
    }

    /// Whether the next segment has to be a checkpoint that folds what is pending.
    #[must_use]
    pub fn needs_checkpoint(&self) -> bool {
        self.pending.len() >= MAX_PENDING || self.pending.iter().map(Vec::len).sum::<usize>() >= MAX_PENDING_BYTES
    }

    /// Writes the file, signed with the vendor's issue key. It holds no secrets, but belongs to nobody else.
    ///
    /// # Errors
    /// When the signer fails, or the file would be too large.
    pub fn to_file(&self, issued_at: Timestamp, signers: &[&dyn Signer]) -> Result<Vec<u8>, WriteError> {
        let manifest = Manifest {
            firm_code: self.predicted.firm_code,
            issued_at,
            context: self.confirmed.as_deref().map(Digest::of),
            segments: self.pending.iter().map(|bytes| Digest::of(bytes)).collect(),
            state: self.predicted.encode()?,
        };
        let envelope = Envelope::seal(&manifest, signers)?.to_bytes();
        let mut sections: Vec<(SectionType, &[u8])> = vec![(SectionType::Envelope, &envelope)];
        sections.extend(self.confirmed.iter().map(|bytes| (SectionType::Context, bytes.as_slice())));
        sections.extend(self.pending.iter().map(|bytes| (Segment::section_of(bytes), bytes.as_slice())));
        Ok(frame::build(FileType::ModifiedContext, &sections)?)
    }

    /// Reads the file, verifies it as the vendor's own, and checks that its parts belong together.
    ///
    /// # Errors
    /// When the file is damaged, not signed by the vendor, or its parts do not fit each other.
    pub fn read(file: &[u8], root: &TrustedRoot) -> Result<Self, FileError> {
        let frame = Frame::parse_as(file, FileType::ModifiedContext)?;
        frame.allow(&[
            (SectionType::Envelope, 1),
            (SectionType::Context, 1),
            (SectionType::Segment, MAX_SEGMENTS),
            (SectionType::Rebase, 1),
        ])?;
        let envelope = Envelope::from_bytes(frame.only(SectionType::Envelope)?)?;
        let manifest: Manifest = root.open(&envelope)?;
        let confirmed = frame.all(SectionType::Context).next().map(<[u8]>::to_vec);
        let pending: Vec<_> = frame.segments().map(|(_, bytes)| bytes.to_vec()).collect();
        let segments: Vec<_> = pending.iter().map(|bytes| Digest::of(bytes)).collect();
        if confirmed.as_deref().map(Digest::of) != manifest.context || segments != manifest.segments {
            return Err(FileError::Damaged("its parts are not the ones that were signed"));
        }
        let predicted = VendorState::decode(&manifest.state)?;
        if predicted.firm_code != manifest.firm_code {
            return Err(FileError::Damaged("its state is of another firm"));
        }
        let modified = Self { confirmed, pending, predicted };
        modified.check()?;
        Ok(modified)
    }

    /// The confirmed context, verified.
    ///
    /// # Errors
    /// When the kept file is not a context, which [`ModifiedContext::read`] rules out.
    pub fn confirmed_context(&self) -> Result<Option<VerifiedContext>, FileError> {
        self.confirmed.as_deref().map(context::read_any).transpose()
    }

    /// The pending segments must lead from somewhere to exactly the predicted position.
    fn check(&self) -> Result<(), FileError> {
        let state = &self.predicted;
        if let Some(verified) = self.confirmed_context()?
            && (verified.context.container_id() != state.container_id || verified.context.firm_code != state.firm_code)
        {
            return Err(FileError::WrongContainer);
        }
        let mut position = None;
        for bytes in &self.pending {
            let segment = Segment::read(bytes)?;
            let header = segment.header();
            if header.container_id != state.container_id || header.epoch != state.epoch {
                return Err(FileError::WrongContainer);
            }
            if position.is_some_and(|before| before != (header.from, header.previous_head)) {
                return Err(FileError::BadSequence);
            }
            position = Some((header.to, segment.head()));
        }
        if position.is_some_and(|end| end != (state.counter, state.head)) {
            return Err(FileError::BadSequence);
        }
        Ok(())
    }
}

/// What is signed of a modified context.
struct Manifest {
    firm_code: FirmCode,
    issued_at: Timestamp,
    context: Option<Digest>,
    segments: Vec<Digest>,
    state: Vec<u8>,
}

impl SignedPayload for Manifest {
    const PAYLOAD_TYPE: PayloadType = PayloadType::new("application/vnd.lictor.modified-context.v1+cbor");
    const ROLE: Option<Role> = Some(Role::Issue);

    fn firm_code(&self) -> u32 {
        self.firm_code.get()
    }

    fn signed_at(&self) -> Option<Timestamp> {
        Some(self.issued_at)
    }
}

impl Canonical for Manifest {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(u64::from(self.firm_code.get())));
            fields.field(1, |w| w.time(self.issued_at));
            fields.option(2, self.context.as_ref(), |w, hash| hash.write(w));
            fields.field(3, |w| w.list(&self.segments, |w, hash| hash.write(w)));
            fields.field(4, |w| w.bytes(&self.state));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let manifest = Self {
            firm_code: fields.required(0, crate::segment::read_firm)?,
            issued_at: fields.required(1, Reader::time)?,
            context: fields.optional(2, Digest::read)?,
            segments: fields.required(3, |r| r.list(MAX_SEGMENTS, Digest::read))?,
            state: fields.required(4, |r| r.bytes(MAX_STATE_BYTES))?.to_vec(),
        };
        fields.end()?;
        Ok(manifest)
    }
}
