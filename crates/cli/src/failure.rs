//! How a verb ends when it does not end well: one sentence, what to do next, and an exit code.

use std::fmt;

use lictor_api::types::v1::Refusal;
use lictor_licensing::error::{ErrorCode, Problem};

/// Exit code of a request that the license refused.
pub(crate) const EXIT_REFUSED: u8 = 3;

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong; the code decides the exit code.
    Problem(Problem),
    /// The license said no, with one reason per candidate. Boxed because it is much larger than a problem.
    Refused(Box<Refusal>),
    /// Everything was said already; only the exit code is left to give.
    Told(u8),
}

/// What verbs return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Problem(Problem::new(code, message, next))
    }

    /// A command line that cannot be carried out as it stands.
    pub(crate) fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message, next)
    }

    /// A fault on this side of the wire: a file that cannot be read, an answer that makes no sense.
    pub(crate) fn local(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message, next)
    }

    /// A refusal that will stay one: nothing was done, and the same request will not do better. Whether anything was done
    /// is not known of the others.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Problem(problem) => {
                !problem.code.may_retry()
                    && !matches!(
                        problem.code,
                        ErrorCode::Internal | ErrorCode::Unauthenticated | ErrorCode::PermissionDenied
                    )
            }
            Self::Refused(_) => true,
            Self::Told(_) => false,
        }
    }

    /// What the process exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Problem(problem) => problem.code.exit_code(),
            Self::Refused(_) => EXIT_REFUSED,
            Self::Told(code) => *code,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) => f.write_str(&problem.message),
            Self::Refused(_) => f.write_str("the license refused the request"),
            Self::Told(code) => write!(f, "exit code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_stays_one_is_final() {
        let of = |code| Failure::new(code, "", "").is_final();
        for code in
            [ErrorCode::TicketUnknown, ErrorCode::LicenseForbids, ErrorCode::FileForOther, ErrorCode::WrongState]
        {
            assert!(of(code), "{code}");
        }
        for code in [ErrorCode::Unavailable, ErrorCode::DeadlineExceeded, ErrorCode::Conflict, ErrorCode::Internal] {
            assert!(!of(code), "whether {code} issued something is not known");
        }
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let of = |code| Failure::new(code, "", "").exit_code();
        assert_eq!(of(ErrorCode::InvalidArgument), 2);
        assert_eq!(of(ErrorCode::LicenseForbids), 3);
        assert_eq!(of(ErrorCode::TicketUnknown), 4);
        assert_eq!(of(ErrorCode::Conflict), 5);
        assert_eq!(of(ErrorCode::Unavailable), 6);
        assert_eq!(of(ErrorCode::FileForged), 7);
        assert_eq!(of(ErrorCode::Internal), 1);
        assert_eq!(Failure::Refused(Box::default()).exit_code(), 3);
    }
}
