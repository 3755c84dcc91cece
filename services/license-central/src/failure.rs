//! Why a command was not carried out: refused by a rule, or broken below.

use lictor_licensing::error::{ErrorCode, Problem};
use lictor_storage::StorageError;

/// A refusal for people, or a fault of the store that is logged and hidden.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A rule refused it; nothing was changed.
    #[error("refused: {0}")]
    Refused(Problem),
    /// The store failed. It is the source, so that a lost transaction is recognised and run again.
    #[error("the store failed")]
    Storage(#[from] StorageError),
}

impl Failure {
    /// A refusal with a way out.
    pub fn refused(code: ErrorCode, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Refused(Problem::new(code, message, next))
    }

    /// The request breaks a rule of form.
    pub fn invalid(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::refused(ErrorCode::InvalidArgument, message, next)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}
