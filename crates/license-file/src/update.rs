//! Update files: root documents that the container may lack, and signed segments for it.

use std::collections::BTreeSet;

use lictor_clock::Timestamp;
use lictor_licensing::id::FirmCode;

use crate::FileError;
use crate::chain::{ContainerId, Digest};
use crate::frame::{self, FileType, Frame, SectionType};
use crate::limits::{MAX_ROOTS, MAX_SEGMENTS};
use crate::segment::Segment;

/// Puts an update file together from stored bytes. The same parts in the same order give the same file.
///
/// # Errors
/// [`FileError::TooLarge`] when a limit is exceeded; a checkpoint then has to fold the segments.
pub fn build(roots: &[Vec<u8>], segments: &[Vec<u8>]) -> Result<Vec<u8>, FileError> {
    if roots.len() > MAX_ROOTS {
        return Err(FileError::TooLarge { what: "the number of root documents", limit: MAX_ROOTS });
    }
    if segments.len() > MAX_SEGMENTS {
        return Err(FileError::TooLarge { what: "the number of segments", limit: MAX_SEGMENTS });
    }
    let roots = roots.iter().map(|bytes| (SectionType::Root, bytes.as_slice()));
    let segments = segments.iter().map(|bytes| (Segment::section_of(bytes), bytes.as_slice()));
    frame::build(FileType::Update, &roots.chain(segments).collect::<Vec<_>>())
}

/// Joins update files: their root documents and segments one after the other, each only once. Nothing is signed again.
///
/// # Errors
/// When one of them is no update file, or the result exceeds a limit.
pub fn combine(files: &[&[u8]]) -> Result<Vec<u8>, FileError> {
    let (mut roots, mut segments) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for file in files {
        let frame = parse(file)?;
        for (kind, bytes) in &frame.sections {
            if seen.insert(Digest::of(bytes)) {
                let target = if *kind == SectionType::Root { &mut roots } else { &mut segments };
                target.push(bytes.to_vec());
            }
        }
    }
    build(&roots, &segments)
}

/// An update file taken apart; nothing in it is verified yet.
#[derive(Clone, Debug)]
pub struct UpdateFile<'b> {
    /// Root documents in their order.
    pub roots: Vec<&'b [u8]>,
    /// Segments in their order.
    pub segments: Vec<Segment>,
}

/// What an update file says about itself, before anything is verified: enough to choose the container and to tell
/// people what it is, never enough to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateInfo {
    /// The container it is for.
    pub container_id: ContainerId,
    /// The firm it is of.
    pub firm_code: FirmCode,
    /// Counter before its first segment.
    pub from: u64,
    /// Counter after its last segment.
    pub to: u64,
    /// Number of segments.
    pub segments: usize,
    /// Epoch of the chain that its segments belong to.
    pub epoch: u32,
    /// Whether it begins with a rebase.
    pub rebase: bool,
    /// When its last segment was issued.
    pub issued_at: Timestamp,
}

impl<'b> UpdateFile<'b> {
    /// Takes an update file apart.
    ///
    /// # Errors
    /// When it is no update file, is damaged, exceeds a limit, or holds nothing.
    pub fn read(file: &'b [u8]) -> Result<Self, FileError> {
        let frame = parse(file)?;
        let roots: Vec<_> = frame.all(SectionType::Root).collect();
        let segments = frame.segments().map(|(section, bytes)| Segment::read_from(section, bytes));
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        if roots.is_empty() && segments.is_empty() {
            return Err(FileError::Damaged("it holds no update"));
        }
        Ok(Self { roots, segments })
    }

    /// What the file says about itself; none when it holds root documents alone.
    #[must_use]
    pub fn info(&self) -> Option<UpdateInfo> {
        let (first, last) = (self.segments.first()?.header(), self.segments.last()?.header());
        Some(UpdateInfo {
            container_id: last.container_id,
            firm_code: last.firm_code,
            from: first.from,
            to: last.to,
            segments: self.segments.len(),
            epoch: last.epoch,
            rebase: first.is_rebase(),
            issued_at: last.issued_at,
        })
    }
}

fn parse(file: &[u8]) -> Result<Frame<'_>, FileError> {
    let frame = Frame::parse_as(file, FileType::Update)?;
    frame.allow(&[(SectionType::Root, MAX_ROOTS), (SectionType::Segment, MAX_SEGMENTS), (SectionType::Rebase, 1)])?;
    if frame.segments().count() > MAX_SEGMENTS {
        return Err(FileError::TooLarge { what: "the number of segments", limit: MAX_SEGMENTS });
    }
    Ok(frame)
}
