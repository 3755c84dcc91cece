//! From errors inside to answers outside.

use lictor_api::error::status;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_storage::StorageError;
use tonic::Status;

/// A refusal with a way out.
pub(crate) fn refuse(code: ErrorCode, message: impl ToString, next: &str) -> Status {
    status(&Problem::new(code, message.to_string(), next))
}

/// A request that breaks a rule of form.
pub(crate) fn invalid(message: impl ToString, next: &str) -> Status {
    refuse(ErrorCode::InvalidArgument, message, next)
}

/// What a failed statement means for the caller; the cause goes to the log only.
pub(crate) fn storage(error: StorageError) -> Status {
    tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "a call failed in the database");
    if error.is_unavailable() || error.is_transient() {
        refuse(ErrorCode::Unavailable, "the database does not answer", "try again in a moment")
    } else {
        refuse(ErrorCode::Internal, "the call failed", "look into the log of the notification dispatcher")
    }
}
