//! Why a piece of work of this service did not end well.

use lictor_license_file::FileError;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_signing::SignerError;
use lictor_storage::StorageError;

use crate::{issue::Step, problem};

/// A failure inside; [`Failure::problem`] is what outside sees of it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request or the file was understood and refused. Nothing changed.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The database did not do it.
    #[error("the database did not do it")]
    Storage(#[from] StorageError),
    /// The key store did not sign. What was reserved stays, and is finished later.
    #[error("the key store did not sign")]
    Signer(#[from] SignerError),
    /// A test stopped the run here.
    #[error("stopped at {0:?}")]
    Stopped(Step),
}

impl Failure {
    /// What outside sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => problem.clone(),
            Self::Storage(error) => problem::storage(error),
            Self::Signer(error) => {
                tracing::error!(%error, "the key store did not sign");
                Problem::new(
                    ErrorCode::Unavailable,
                    "the key store of the firm does not sign at the moment",
                    "repeat the same request; what it reserved is kept",
                )
            }
            Self::Stopped(step) => problem::internal("a stopped run", &Self::Stopped(*step)),
        }
    }

    /// The status that tells a caller.
    #[must_use]
    pub fn status(&self) -> tonic::Status {
        problem::status(self.problem())
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::Refused(error.problem())
    }
}
