//! The one place where [`Problem`]s become gRPC statuses, and where a client reads them back.
//!
//! A status carries the stable code name and the next step as `google.rpc.ErrorInfo`; the gRPC code beside it is for
//! callers that know nothing of Lictor.

use std::collections::HashMap;

use lictor_licensing::error::{ErrorCode, Problem};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of every error that Lictor makes.
pub const ERROR_DOMAIN: &str = "lictor";
const NEXT: &str = "next";

/// The gRPC code that stands for an error code.
#[must_use]
pub const fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument | ErrorCode::FileDamaged | ErrorCode::FileForged | ErrorCode::FileForOther => {
            Code::InvalidArgument
        }
        ErrorCode::LimitExceeded => Code::OutOfRange,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::NotFound | ErrorCode::TicketUnknown => Code::NotFound,
        ErrorCode::AlreadyExists | ErrorCode::RequestIdReused => Code::AlreadyExists,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::WrongState
        | ErrorCode::QuantityExhausted
        | ErrorCode::LicenseForbids
        | ErrorCode::BindingForbidden
        | ErrorCode::FileTooNew
        | ErrorCode::UpdateGap
        | ErrorCode::UpdateForked
        | ErrorCode::ContainerSuspected => Code::FailedPrecondition,
        ErrorCode::TooManyRequests | ErrorCode::Overloaded => Code::ResourceExhausted,
        ErrorCode::Unavailable | ErrorCode::ReplayNeeded => Code::Unavailable,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::Unsupported => Code::Unimplemented,
        ErrorCode::Internal => Code::Internal,
    }
}

/// The status that tells a caller of `problem`.
#[must_use]
pub fn status(problem: &Problem) -> Status {
    let metadata = HashMap::from([(NEXT.to_owned(), problem.next.clone())]);
    let details = ErrorDetails::with_error_info(problem.code.name(), ERROR_DOMAIN, metadata);
    Status::with_error_details(grpc_code(problem.code), problem.message.clone(), details)
}

/// What a status says. One that did not come from Lictor (a proxy, a broken connection) is read by its gRPC code alone.
#[must_use]
pub fn problem(status: &Status) -> Problem {
    if let Some(info) = status.get_details_error_info()
        && info.domain == ERROR_DOMAIN
        && let Ok(code) = info.reason.parse()
    {
        let next = info.metadata.get(NEXT).cloned().unwrap_or_default();
        return Problem::new(code, status.message(), next);
    }
    let (code, next) = match status.code() {
        Code::Unavailable => (ErrorCode::Unavailable, "check the address and that the service runs"),
        Code::DeadlineExceeded | Code::Cancelled => {
            (ErrorCode::DeadlineExceeded, "repeat the command; it is safe to do so")
        }
        Code::Unauthenticated => (ErrorCode::Unauthenticated, "give a valid token"),
        Code::PermissionDenied => (ErrorCode::PermissionDenied, "use a token with another role"),
        Code::NotFound => (ErrorCode::NotFound, ""),
        Code::AlreadyExists => (ErrorCode::AlreadyExists, ""),
        Code::InvalidArgument => (ErrorCode::InvalidArgument, ""),
        Code::OutOfRange => (ErrorCode::LimitExceeded, ""),
        Code::ResourceExhausted => (ErrorCode::Overloaded, "wait a little, then repeat"),
        Code::Unimplemented => (ErrorCode::Unsupported, "check that the program and the service have the same version"),
        _ => (ErrorCode::Internal, "look into the log of the service"),
    };
    Problem::new(code, status.message(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in ErrorCode::ALL {
            let sent = Problem::new(*code, "what happened", "what to do");
            assert_eq!(problem(&status(&sent)), sent);
        }
    }

    #[test]
    fn a_foreign_status_is_read_by_its_code() {
        let read = problem(&Status::unavailable("connection refused"));
        assert_eq!(read.code, ErrorCode::Unavailable);
        assert!(!read.next.is_empty());
    }

    #[test]
    fn a_reason_of_another_domain_is_not_believed() {
        let details = ErrorDetails::with_error_info("not_found", "elsewhere", HashMap::new());
        let foreign = Status::with_error_details(Code::Internal, "text", details);
        assert_eq!(problem(&foreign).code, ErrorCode::Internal);
    }
}
