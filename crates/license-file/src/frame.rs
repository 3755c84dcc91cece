//! The frame around every file: what it is, how long it is, its sections, and a closing SHA-256.
//!
//! ```text
//! 8 bytes  magic (a high byte, three letters, CR LF, end-of-file, LF: text-mode copies damage it visibly)
//! u16 u16  major and minor version    u8 file type    u8 flags, zero    u32 length of the whole file
//! sections u16 type (high bit: a reader that does not know it must refuse)    u32 length    bytes
//! last     the digest section: SHA-256 of everything before these 32 bytes
//! ```
//!
//! The digest is no protection against anybody. It tells "damaged on the way" apart from "forged", so that people are
//! told to copy the file again and not to call the vendor. Numbers are big-endian.

use sha2::{Digest as _, Sha256};

use crate::FileError;
use crate::limits::{MAX_FILE_BYTES, MAX_ROOTS, MAX_SEGMENTS};

/// First bytes of every file.
pub const MAGIC: [u8; 8] = [0x89, b'L', b'I', b'C', 0x0D, 0x0A, 0x1A, 0x0A];
/// Version of the frame that this code writes. Every older one stays readable.
pub const MAJOR: u16 = 1;
/// Minor version: readers ignore it.
pub const MINOR: u16 = 0;

const HEADER_BYTES: usize = 8 + 2 + 2 + 1 + 1 + 4;
const SECTION_HEADER_BYTES: usize = 2 + 4;
const DIGEST_BYTES: usize = 32;
const DIGEST_SECTION: u16 = 0x7FFF;
const CRITICAL: u16 = 0x8000;
/// Known sections of a file with everything in it, and some room for unknown ones.
const MAX_SECTIONS: usize = MAX_ROOTS + MAX_SEGMENTS + 16;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// `.lif`: makes an empty container for one vendor.
    LicenseInformation,
    /// `.rac`: what a container says about itself.
    Context,
    /// `.rau`: signed segments for one container.
    Update,
    /// `.ram`: the vendor's prediction of a container.
    ModifiedContext,
    /// `.rac` that proves what an import did.
    Receipt,
}

impl FileType {
    /// Every type.
    pub const ALL: [FileType; 5] = [
        FileType::LicenseInformation,
        FileType::Context,
        FileType::Update,
        FileType::ModifiedContext,
        FileType::Receipt,
    ];

    /// The number in the frame.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            FileType::LicenseInformation => 1,
            FileType::Context => 2,
            FileType::Update => 3,
            FileType::ModifiedContext => 4,
            FileType::Receipt => 5,
        }
    }

    /// The usual ending of a file name, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            FileType::LicenseInformation => "lif",
            FileType::Context | FileType::Receipt => "rac",
            FileType::Update => "rau",
            FileType::ModifiedContext => "ram",
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FileType::LicenseInformation => "license information file",
            FileType::Context => "context file",
            FileType::Update => "update file",
            FileType::ModifiedContext => "modified context",
            FileType::Receipt => "receipt",
        }
    }
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectionType {
    /// The signed envelope that the file is about.
    Envelope,
    /// A root document.
    Root,
    /// A segment.
    Segment,
    /// A whole context file inside a modified context.
    Context,
    /// A segment that begins a new epoch. A section of its own, so that a program from before there were rebases
    /// asks for an upgrade instead of calling the file forged.
    Rebase,
}

impl SectionType {
    const ALL: [SectionType; 5] =
        [SectionType::Envelope, SectionType::Root, SectionType::Segment, SectionType::Context, SectionType::Rebase];

    const fn number(self) -> u16 {
        match self {
            SectionType::Envelope => 1,
            SectionType::Root => 2,
            SectionType::Segment => 3,
            SectionType::Context => 4,
            SectionType::Rebase => 5,
        }
    }
}

/// A file taken apart. Nothing in it is verified beyond the closing digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// What the file says it is.
    pub file_type: FileType,
    /// Minor version of the writer.
    pub minor: u16,
    /// The known sections in their order. Unknown ones that are not critical are left out.
    pub sections: Vec<(SectionType, &'b [u8])>,
}

impl<'b> Frame<'b> {
    /// Takes a file apart. No memory is taken for anything a length field claims but the input does not hold.
    ///
    /// # Errors
    /// [`FileError::NotAFile`], [`FileError::Truncated`], [`FileError::Damaged`], [`FileError::TooLarge`],
    /// [`FileError::TooNew`] or [`FileError::UnknownCritical`].
    pub fn parse(file: &'b [u8]) -> Result<Self, FileError> {
        check_magic(file)?;
        if file.len() > MAX_FILE_BYTES {
            return Err(FileError::TooLarge { what: "the file", limit: MAX_FILE_BYTES });
        }
        let mut cursor = Cursor { rest: &file[MAGIC.len()..] };
        let major = cursor.u16()?;
        let minor = cursor.u16()?;
        let file_type = cursor.u8()?;
        let flags = cursor.u8()?;
        let length = cursor.u32()? as usize;
        if length > MAX_FILE_BYTES {
            return Err(FileError::TooLarge { what: "the file", limit: MAX_FILE_BYTES });
        }
        if length < HEADER_BYTES + SECTION_HEADER_BYTES + DIGEST_BYTES {
            return Err(FileError::Damaged("its stated length is impossible"));
        }
        if file.len() < length {
            return Err(FileError::Truncated);
        }
        if file.len() > length {
            return Err(FileError::Damaged("it is longer than it says"));
        }
        let (covered, digest) = file.split_at(length - DIGEST_BYTES);
        if Sha256::digest(covered).as_slice() != digest {
            return Err(FileError::Damaged("its closing checksum does not match"));
        }
        // From here on the bytes are what the writer wrote; only now is their meaning judged.
        if major != MAJOR {
            return Err(FileError::TooNew { what: format!("format version {major}") });
        }
        if flags != 0 {
            return Err(FileError::UnknownCritical(format!("flags {flags:#04x}")));
        }
        let file_type = FileType::ALL
            .into_iter()
            .find(|known| known.number() == file_type)
            .ok_or_else(|| FileError::UnknownCritical(format!("file type {file_type}")))?;
        let sections = cursor.sections()?;
        Ok(Self { file_type, minor, sections })
    }

    /// Takes apart a file that must be of one type.
    ///
    /// # Errors
    /// As [`Frame::parse`], and [`FileError::WrongFileType`].
    pub fn parse_as(file: &'b [u8], expected: FileType) -> Result<Self, FileError> {
        let frame = Self::parse(file)?;
        if frame.file_type == expected {
            return Ok(frame);
        }
        Err(FileError::WrongFileType { expected, found: frame.file_type })
    }

    /// The sections of one type, in their order.
    pub fn all(&self, wanted: SectionType) -> impl Iterator<Item = &'b [u8]> + '_ {
        self.sections.iter().filter(move |(found, _)| *found == wanted).map(|(_, bytes)| *bytes)
    }

    /// The sections that hold segments, in their order.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (SectionType, &'b [u8])> + '_ {
        let segments = |kind: SectionType| matches!(kind, SectionType::Segment | SectionType::Rebase);
        self.sections.iter().copied().filter(move |(kind, _)| segments(*kind))
    }

    /// The only section of one type.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn only(&self, wanted: SectionType) -> Result<&'b [u8], FileError> {
        let mut found = self.all(wanted);
        match (found.next(), found.next()) {
            (Some(bytes), None) => Ok(bytes),
            _ => Err(FileError::Damaged("a section that must be there once is missing or doubled")),
        }
    }

    /// Refuses sections that this type of file must not have, and more of one kind than allowed.
    ///
    /// # Errors
    /// Names the broken rule.
    pub fn allow(&self, allowed: &[(SectionType, usize)]) -> Result<(), FileError> {
        if self.sections.iter().any(|(found, _)| !allowed.iter().any(|(known, _)| known == found)) {
            return Err(FileError::Damaged("it has a section that does not belong there"));
        }
        for (kind, limit) in allowed {
            if self.all(*kind).count() > *limit {
                return Err(FileError::TooLarge { what: "the number of sections", limit: *limit });
            }
        }
        Ok(())
    }
}

/// Puts a file together.
///
/// # Errors
/// When it would exceed the limit of a file.
pub fn build(file_type: FileType, sections: &[(SectionType, &[u8])]) -> Result<Vec<u8>, FileError> {
    let too_large = FileError::TooLarge { what: "the file", limit: MAX_FILE_BYTES };
    let body: usize = sections.iter().map(|(_, bytes)| SECTION_HEADER_BYTES + bytes.len()).sum();
    let length = HEADER_BYTES + body + SECTION_HEADER_BYTES + DIGEST_BYTES;
    if length > MAX_FILE_BYTES || sections.len() >= MAX_SECTIONS {
        return Err(too_large);
    }
    let mut file = Vec::with_capacity(length);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&MAJOR.to_be_bytes());
    file.extend_from_slice(&MINOR.to_be_bytes());
    file.push(file_type.number());
    file.push(0);
    file.extend_from_slice(&u32::try_from(length).map_err(|_| too_large.clone())?.to_be_bytes());
    for (kind, bytes) in sections {
        file.extend_from_slice(&(kind.number() | CRITICAL).to_be_bytes());
        file.extend_from_slice(&u32::try_from(bytes.len()).map_err(|_| too_large.clone())?.to_be_bytes());
        file.extend_from_slice(bytes);
    }
    file.extend_from_slice(&(DIGEST_SECTION | CRITICAL).to_be_bytes());
    file.extend_from_slice(&(DIGEST_BYTES as u32).to_be_bytes());
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    Ok(file)
}

fn check_magic(file: &[u8]) -> Result<(), FileError> {
    let start = &file[..file.len().min(MAGIC.len())];
    if start == MAGIC {
        return Ok(());
    }
    if !start.is_empty() && MAGIC.starts_with(start) {
        return Err(FileError::Truncated);
    }
    // The letters survive what mail and text-mode copies do to the bytes around them.
    if start.windows(3).any(|letters| letters == &MAGIC[1..4]) {
        return Err(FileError::Damaged("it was changed as if it were text"));
    }
    Err(FileError::NotAFile)
}

struct Cursor<'b> {
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], FileError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(FileError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        self.take(N)?.try_into().map_err(|_| FileError::Truncated)
    }

    fn u8(&mut self) -> Result<u8, FileError> {
        Ok(u8::from_be_bytes(self.fixed()?))
    }

    fn u16(&mut self) -> Result<u16, FileError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    fn u32(&mut self) -> Result<u32, FileError> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    /// Reads sections until the digest section, which must be the last thing in the file.
    fn sections(&mut self) -> Result<Vec<(SectionType, &'b [u8])>, FileError> {
        let mut sections = Vec::new();
        for _ in 0..MAX_SECTIONS {
            let kind = self.u16().map_err(|_| FileError::Damaged("its sections do not add up"))?;
            let length = self.u32().map_err(|_| FileError::Damaged("its sections do not add up"))? as usize;
            let bytes = self.take(length).map_err(|_| FileError::Damaged("its sections do not add up"))?;
            let (number, critical) = (kind & !CRITICAL, kind & CRITICAL != 0);
            if number == DIGEST_SECTION {
                if !critical || length != DIGEST_BYTES || !self.rest.is_empty() {
                    return Err(FileError::Damaged("its sections do not add up"));
                }
                return Ok(sections);
            }
            match SectionType::ALL.into_iter().find(|known| known.number() == number) {
                Some(known) if critical => sections.push((known, bytes)),
                Some(_) => return Err(FileError::Damaged("a section lacks its critical mark")),
                None if critical => return Err(FileError::UnknownCritical(format!("section {number}"))),
                None => {}
            }
        }
        Err(FileError::TooLarge { what: "the number of sections", limit: MAX_SECTIONS })
    }
}
