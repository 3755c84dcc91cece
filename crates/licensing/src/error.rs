//! What can go wrong between Lictor's parts, as one short closed list.
//!
//! Every service answers with one of these codes; the wire and the command line map them in one place each. A refused
//! seat is not an error of this kind: it is an answer, see [`crate::refusal`].

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, exit $exit:literal, retry $retry:literal;)*) => {
        /// A stable name for a kind of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that never changes once released.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What the command line exits with: 2 usage, 3 refused by the license, 4 not found, 5 conflict,
            /// 6 service unreachable, 7 file damaged, forged or for another container, 1 anything else.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self {
                    $(Self::$variant => $exit,)*
                }
            }

            /// Whether the same request may work later without anybody changing anything.
            #[must_use]
            pub const fn may_retry(self) -> bool {
                match self {
                    $(Self::$variant => $retry,)*
                }
            }
        }
    };
}

error_codes! {
    /// The request breaks a rule of form; it will never work as it is.
    InvalidArgument = "invalid_argument", exit 2, retry false;
    /// The request exceeds a stated limit of size, count or depth.
    LimitExceeded = "limit_exceeded", exit 2, retry false;
    /// No token, or one that is not accepted.
    Unauthenticated = "unauthenticated", exit 1, retry false;
    /// The token is accepted, but its role may not do this.
    PermissionDenied = "permission_denied", exit 1, retry false;
    /// The named thing does not exist, or the caller may not know that it does.
    NotFound = "not_found", exit 4, retry false;
    /// No ticket has this code.
    TicketUnknown = "ticket_unknown", exit 4, retry false;
    /// A thing of this name exists already and differs.
    AlreadyExists = "already_exists", exit 5, retry false;
    /// The same request id came before with another body.
    RequestIdReused = "request_id_reused", exit 5, retry false;
    /// Somebody else changed the thing in between.
    Conflict = "conflict", exit 5, retry true;
    /// The thing is in a state that does not allow this.
    WrongState = "wrong_state", exit 5, retry false;
    /// Less of the license is left than was asked for.
    QuantityExhausted = "quantity_exhausted", exit 5, retry false;
    /// The license forbids this.
    LicenseForbids = "license_forbids", exit 3, retry false;
    /// The license may not live in a container of this kind.
    BindingForbidden = "binding_forbidden", exit 3, retry false;
    /// The file is not whole: cut off, changed on the way, or not one of ours.
    FileDamaged = "file_damaged", exit 7, retry false;
    /// The file is whole, but no accepted key signed it.
    FileForged = "file_forged", exit 7, retry false;
    /// The file is good, but for another container.
    FileForOther = "file_for_other", exit 7, retry false;
    /// The file needs a newer program.
    FileTooNew = "file_too_new", exit 7, retry false;
    /// The update's counter does not follow the container's.
    UpdateGap = "update_gap", exit 7, retry false;
    /// The update's chain and the container's have split.
    UpdateForked = "update_forked", exit 7, retry false;
    /// The container is under suspicion; support has to decide.
    ContainerSuspected = "container_suspected", exit 5, retry false;
    /// Too many requests from this caller for now.
    TooManyRequests = "too_many_requests", exit 1, retry true;
    /// The service sheds load.
    Overloaded = "overloaded", exit 6, retry true;
    /// The service's database is older than its archive; nothing is done before the archive was replayed.
    ReplayNeeded = "replay_needed", exit 6, retry true;
    /// A service that is needed does not answer.
    Unavailable = "unavailable", exit 6, retry true;
    /// No answer within the time limit; whether it was done is unknown.
    DeadlineExceeded = "deadline_exceeded", exit 6, retry true;
    /// This part does not offer it.
    Unsupported = "unsupported", exit 1, retry false;
    /// A fault of ours; the details are in our log.
    Internal = "internal", exit 1, retry false;
}

/// A name that is on no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the name of an error code")]
pub struct UnknownErrorCode;

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ErrorCode {
    type Err = UnknownErrorCode;

    fn from_str(name: &str) -> Result<Self, UnknownErrorCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name).ok_or(UnknownErrorCode)
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A failure as people outside see it: what happened and what to do next. Inner causes stay in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Which kind of failure.
    pub code: ErrorCode,
    /// One sentence, lower case, without a final stop.
    pub message: String,
    /// What the reader can do about it; empty when there is nothing.
    pub next: String,
}

impl Problem {
    /// A problem with a way out.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code, message: message.into(), next: next.into() }
    }
}
