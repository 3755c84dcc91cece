//! Why a file was refused, and what people can do about it.

use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::{FirmCode, LicenseId};
use lictor_signing::cbor::CborError;
use lictor_signing::{RootError, VerifyError};
use thiserror::Error;

use crate::chain::Digest;
use crate::frame::FileType;
use crate::verdict::VerdictCode;
use crate::version::RuntimeVersion;

/// Why a file was refused. A refused file changed nothing, and a good one stays good for later.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// The bytes do not even begin like one of our files.
    #[error("this is not a license file")]
    NotAFile,
    /// The file ends before it is complete.
    #[error("the file is cut off")]
    Truncated,
    /// The bytes changed after the file was made, or were never made by a correct writer.
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
    /// A limit of the format is exceeded.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A good file, but of another type than asked for.
    #[error("wrong type of file: {} instead of {}", .found.name(), .expected.name())]
    WrongFileType {
        /// The type that was asked for.
        expected: FileType,
        /// The type that it is.
        found: FileType,
    },
    /// Made by a newer version whose layout is unknown here.
    #[error("the file was made by a newer version: {what}")]
    TooNew {
        /// What is newer.
        what: String,
    },
    /// Something that must not be ignored, and that this version does not know.
    #[error("the file needs something that this version does not know: {0}")]
    UnknownCritical(String),
    /// Content with a meaning outside of what the format allows.
    #[error("the content of the file cannot be read: {0}")]
    Malformed(CborError),
    /// The sealed part cannot be opened with this container's key.
    #[error("the sealed part of the file cannot be opened")]
    Unreadable,
    /// Signatures of the needed keys are missing.
    #[error("the file is not signed by who must sign it: {0}")]
    Forged(VerifyError),
    /// A root document breaks the rules of succession.
    #[error("the root document of the vendor is refused: {0}")]
    Root(RootError),
    /// The file is for another container.
    #[error("the file is for another container")]
    WrongContainer,
    /// The file is of another vendor.
    #[error("the file is of firm {found}, not of firm {expected}")]
    WrongVendor {
        /// The firm in question.
        expected: FirmCode,
        /// The firm of the file.
        found: u32,
    },
    /// The file belongs to a time before or after a reset of the chain.
    #[error("the file belongs to epoch {found} of the container, which is in epoch {have}")]
    WrongEpoch {
        /// Epoch of the container.
        have: u32,
        /// Epoch of the file.
        found: u32,
    },
    /// The file starts later than the container stands.
    #[error("updates are missing: the container stands at {have}, the file starts after {need}")]
    Gap {
        /// Counter of the container.
        have: u64,
        /// Counter that the file starts from.
        need: u64,
    },
    /// Two different segments for one counter exist, both signed.
    #[error("the container and the file disagree about update {at}")]
    Fork {
        /// Counter of the first segment that differs.
        at: u64,
        /// Hash of the segment the container applied, when it still knows it.
        known: Option<Digest>,
        /// The signed segment of the file, kept as evidence.
        other: Vec<u8>,
    },
    /// A rebase that does not answer a context with a challenge which this container wrote in its present epoch.
    #[error("the rebase in the file answers no question of this container")]
    NotAnAnswer,
    /// The segments inside the file do not follow each other.
    #[error("the updates in the file do not follow each other")]
    BadSequence,
    /// The program is too old for the file.
    #[error("the file needs version {need} or later, this is {have}")]
    RuntimeTooOld {
        /// Version needed.
        need: RuntimeVersion,
        /// Version present.
        have: RuntimeVersion,
    },
    /// The license may not live in a container of this kind.
    #[error("license {license} may not be put into this container: {reason}")]
    BindingNotAllowed {
        /// The license.
        license: LicenseId,
        /// What is allowed and what would be needed.
        reason: String,
    },
    /// An operation that cannot be done on the state it meets.
    #[error("an operation of the update cannot be done: {0}")]
    Operation(&'static str),
    /// The state after the update is not what its vendor computed.
    #[error("the result of the update is not what the vendor expected")]
    DigestMismatch,
}

impl FileError {
    /// The code for other programs.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotAFile
            | Self::Truncated
            | Self::Damaged(_)
            | Self::Malformed(_)
            | Self::BadSequence
            | Self::WrongFileType { .. } => ErrorCode::FileDamaged,
            Self::TooLarge { .. } => ErrorCode::LimitExceeded,
            Self::TooNew { .. } | Self::UnknownCritical(_) | Self::RuntimeTooOld { .. } => ErrorCode::FileTooNew,
            Self::Unreadable | Self::Forged(_) | Self::Root(_) => ErrorCode::FileForged,
            Self::WrongContainer | Self::WrongVendor { .. } | Self::WrongEpoch { .. } | Self::NotAnAnswer => {
                ErrorCode::FileForOther
            }
            Self::Gap { .. } => ErrorCode::UpdateGap,
            Self::Fork { .. } => ErrorCode::UpdateForked,
            Self::BindingNotAllowed { .. } => ErrorCode::BindingForbidden,
            Self::Operation(_) | Self::DigestMismatch => ErrorCode::WrongState,
        }
    }

    /// What a person can do next; one sentence, lower case.
    #[must_use]
    pub const fn next(&self) -> &'static str {
        match self {
            Self::NotAFile => "choose a file that ends in .lif, .rac, .rau or .ram",
            Self::Truncated | Self::Damaged(_) | Self::Malformed(_) => {
                "copy or download the file again, in binary mode"
            }
            Self::TooLarge { .. } => "ask the vendor for a smaller file",
            Self::WrongFileType { .. } => "use the verb that takes this type of file",
            Self::TooNew { .. } | Self::UnknownCritical(_) | Self::RuntimeTooOld { .. } => {
                "upgrade the license server, then import the same file again"
            }
            Self::Unreadable | Self::Forged(_) | Self::Root(_) => "get the file from the vendor again",
            Self::WrongContainer | Self::WrongVendor { .. } => "use the file with the container that it was made for",
            Self::WrongEpoch { .. } | Self::Gap { .. } => "create a context file and ask the vendor for an update",
            Self::NotAnAnswer => "create a context with a new challenge of the vendor and ask for the rebase again",
            Self::Fork { .. } => "send a context file to the vendor, who can put the chain right",
            Self::BadSequence => "import the file as the vendor sent it",
            Self::BindingNotAllowed { .. } => "ask the vendor to allow this kind of container, or use another one",
            Self::Operation(_) | Self::DigestMismatch => "send a context file to the vendor",
        }
    }

    /// The short verdict for receipts and metrics.
    #[must_use]
    pub const fn verdict(&self) -> VerdictCode {
        match self {
            Self::NotAFile | Self::Damaged(_) | Self::Malformed(_) | Self::WrongFileType { .. } => VerdictCode::Damaged,
            Self::Truncated => VerdictCode::Truncated,
            Self::TooLarge { .. } => VerdictCode::TooLarge,
            Self::TooNew { .. } | Self::UnknownCritical(_) => VerdictCode::UnknownCritical,
            Self::Unreadable | Self::Forged(_) | Self::Root(_) => VerdictCode::Forged,
            Self::WrongContainer => VerdictCode::WrongContainer,
            Self::WrongVendor { .. } => VerdictCode::WrongVendor,
            Self::WrongEpoch { .. } => VerdictCode::WrongEpoch,
            Self::Gap { .. } => VerdictCode::Gap,
            Self::Fork { .. } => VerdictCode::Fork,
            Self::NotAnAnswer => VerdictCode::StaleAnswer,
            Self::BadSequence => VerdictCode::BadSequence,
            Self::RuntimeTooOld { .. } => VerdictCode::RuntimeTooOld,
            Self::BindingNotAllowed { .. } => VerdictCode::BindingNotAllowed,
            Self::Operation(_) | Self::DigestMismatch => VerdictCode::NotApplicable,
        }
    }

    /// The failure as people outside see it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem::new(self.code(), self.to_string(), self.next())
    }
}

impl From<CborError> for FileError {
    fn from(error: CborError) -> Self {
        match error {
            // A later version wrote something that may not be ignored.
            CborError::UnknownField(field) => Self::UnknownCritical(format!("field {field}")),
            CborError::UnknownKind(kind) => Self::UnknownCritical(format!("element of kind {kind}")),
            CborError::Limit(limit) => Self::TooLarge { what: "a part of the file", limit },
            other => Self::Malformed(other),
        }
    }
}

impl From<VerifyError> for FileError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Malformed(inner) => inner.into(),
            other => Self::Forged(other),
        }
    }
}

impl From<RootError> for FileError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::Verify(VerifyError::Malformed(inner)) => inner.into(),
            other => Self::Root(other),
        }
    }
}
