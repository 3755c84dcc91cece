//! Failures of this service as people outside see them; their causes go to the log, once, here.

use std::error::Error;

use lictor_licensing::error::{ErrorCode, Problem};
use lictor_storage::StorageError;
use tonic::Status;

/// The status that tells a caller of a problem.
#[must_use]
pub(crate) fn status(problem: Problem) -> Status {
    lictor_api::error::status(&problem)
}

/// A failure of the database.
#[must_use]
pub(crate) fn storage(error: &StorageError) -> Problem {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    if error.is_unavailable() || error.is_transient() {
        tracing::warn!(%error, cause, "the database did not do it");
        return Problem::new(
            ErrorCode::Unavailable,
            "the database of the push update generator does not answer",
            "repeat the same request in a moment",
        );
    }
    tracing::error!(%error, cause, "the database refused");
    internal_problem()
}

/// A fault of our own.
#[must_use]
pub(crate) fn internal(place: &str, error: &dyn Error) -> Problem {
    tracing::error!(place, %error, "a fault of this service");
    internal_problem()
}

/// A request over a limit.
#[must_use]
pub(crate) fn limit(what: &str, limit: u64) -> Problem {
    Problem::new(ErrorCode::LimitExceeded, format!("{what} has at most {limit} entries"), "ask for fewer")
}

/// A request whose form is wrong.
#[must_use]
pub(crate) fn invalid(error: &dyn Error, next: &str) -> Problem {
    Problem::new(ErrorCode::InvalidArgument, error.to_string(), next)
}

fn internal_problem() -> Problem {
    Problem::new(
        ErrorCode::Internal,
        "the push update generator failed inside",
        "look into its log, then repeat the same request",
    )
}

/// The operating system gives no random bytes.
#[must_use]
pub(crate) fn no_randomness() -> Problem {
    tracing::error!("the operating system gives no random bytes");
    internal_problem()
}

/// Nobody made this firm here.
#[must_use]
pub(crate) fn unknown_firm(firm: lictor_licensing::id::FirmCode) -> Problem {
    Problem::new(
        ErrorCode::NotFound,
        format!("this installation has no keys of firm {firm}"),
        "check the firm code, or make the firm with: lictor vendor init",
    )
}

/// Nobody registered this container for the firm.
#[must_use]
pub(crate) fn unknown_container() -> Problem {
    Problem::new(
        ErrorCode::NotFound,
        "the firm knows no such container",
        "send a context of it first, or check its serial",
    )
}

/// The tables are older than the archive.
#[must_use]
pub(crate) fn replay_needed() -> Problem {
    Problem::new(
        ErrorCode::ReplayNeeded,
        "the database is older than the archive of what was issued, so nothing is issued",
        "bring the database up with: lictor vendor replay",
    )
}

/// The archive holds something else in this place.
#[must_use]
pub(crate) fn other_in_archive(what: &str) -> Problem {
    tracing::error!(what, "the archive and the database differ; nothing is overwritten");
    Problem::new(
        ErrorCode::Internal,
        format!("another {what} lies in the archive than in the database"),
        "stop this service, find out which of its databases was put back or swapped, then run: lictor vendor replay",
    )
}

/// A rebase was issued for this context already, under another name.
#[must_use]
pub(crate) fn challenge_spent() -> Problem {
    Problem::new(
        ErrorCode::WrongState,
        "the challenge in this context has been answered by a rebase already",
        "get a new challenge, and make a new context with it",
    )
}
