//! Why something was not done: refused by a rule or by another service, or broken below.

use lictor_licensing::error::{ErrorCode, Problem};
use lictor_storage::StorageError;
use tonic::Status;

/// A refusal for people, a fault of the store that is logged and hidden, or a run that a test cut off.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A rule or another service refused it.
    #[error("refused: {0}")]
    Refused(Problem),
    /// The store failed. It is the source, so that a lost transaction is recognised and run again.
    #[error("the store failed")]
    Storage(#[from] StorageError),
    /// Somebody who looks on stopped the run, as a kill would.
    #[error("stopped by a watcher")]
    Stopped,
}

impl Failure {
    /// A refusal with a way out.
    pub fn refused(code: ErrorCode, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Refused(Problem::new(code, message, next))
    }

    /// The failure as people see it. A fault of the store is logged here, once.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => problem.clone(),
            Self::Storage(error) if error.is_unavailable() || error.is_transient() => {
                tracing::warn!(%error, cause = ?std::error::Error::source(error), "the database does not answer");
                Problem::new(
                    ErrorCode::Unavailable,
                    "the database of the activation service does not answer",
                    "repeat the same request in a moment",
                )
            }
            Self::Storage(error) => {
                tracing::error!(%error, cause = ?std::error::Error::source(error), "the store failed");
                Problem::new(ErrorCode::Internal, "the activation service failed inside", "look into its log")
            }
            Self::Stopped => Problem::new(ErrorCode::Unavailable, "the activation was interrupted", "repeat it"),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// What another service answered.
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(lictor_api::error::problem(&status))
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        lictor_api::error::status(&failure.problem())
    }
}
