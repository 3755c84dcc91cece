//! A saga: one change of one container, and what is to be done for it next.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::{
    ContainerKind,
    error::{ErrorCode, Problem},
    id::{ActivationId, LicenseId, TicketId},
};

use super::state::{Kind, State};

/// First pause after a failed attempt; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The container that a saga changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// SHA-256 of its device key, hex.
    pub id: String,
    /// Its display serial.
    pub serial: String,
    /// What it is bound to; unknown when licenses only come out.
    pub kind: Option<ContainerKind>,
}

/// One change of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saga {
    /// Its id, and the reference of its update.
    pub id: ActivationId,
    /// What it does.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// The vendor; 0 while a withdrawal does not know it yet.
    pub firm: u32,
    /// Who asked.
    pub caller: String,
    /// The caller's own id of the request.
    pub request_id: String,
    /// SHA-256 of the request.
    pub body_hash: [u8; 32],
    /// The ticket that licenses are taken from.
    pub ticket: Option<TicketId>,
    /// First group of that ticket's code.
    pub ticket_masked: String,
    /// Licenses that were asked for; empty for all that are free.
    pub wanted: Vec<LicenseId>,
    /// Licenses to take back.
    pub withdrawn: Vec<LicenseId>,
    /// Why they are taken back.
    pub withdrawn_for: String,
    /// The container; a withdrawal learns it from license-central.
    pub container: Option<Container>,
    /// Licenses that the update carries or takes out.
    pub licenses: Vec<LicenseId>,
    /// Counter before the issued segment.
    pub from: u64,
    /// Counter after it.
    pub to: u64,
    /// Why it was refused, or why the last attempt failed.
    pub problem: Option<Problem>,
    /// The container proved that it took the update.
    pub proven: bool,
    /// Failed attempts since the last step.
    pub attempts: u32,
    /// Trace of the request.
    pub traceparent: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// What is to be done for a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Have licenses set aside.
    Reserve,
    /// Have a license marked as withdrawn.
    BeginWithdrawal,
    /// Lift the time limit, mark what is taken back, and have the update issued.
    Issue,
    /// Tell license-central that it was issued, and announce it.
    Commit,
    /// Tell license-central of the proof, and announce it.
    Confirm,
    /// Give back what was set aside.
    Release,
    /// Wait for the container's proof.
    AwaitProof,
    /// It has ended.
    Nothing,
}

impl Saga {
    /// What is to be done next.
    #[must_use]
    pub const fn task(&self) -> Task {
        match self.state {
            State::Requested => match self.kind {
                Kind::Withdraw => Task::BeginWithdrawal,
                Kind::Activate | Kind::Push => Task::Reserve,
            },
            State::Reserved => Task::Issue,
            State::Issued => Task::Commit,
            State::Completed if self.proven => Task::Confirm,
            State::Completed => Task::AwaitProof,
            State::Refusing => Task::Release,
            State::Confirmed | State::Refused => Task::Nothing,
        }
    }

    /// Whether a refusal by another service ends it. A withdrawal is the vendor's last word and is tried until it is done.
    #[must_use]
    pub fn ends_by(&self, problem: &Problem) -> bool {
        is_final(problem.code) && !(self.kind == Kind::Withdraw && self.state != State::Requested)
    }

    /// The pause after another failed attempt.
    #[must_use]
    pub fn pause(&self) -> Duration {
        FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.attempts.min(16)).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
    }

    /// Whether this request is the one that began it.
    ///
    /// # Errors
    /// A [`Problem`] when the request id was used for something else.
    pub fn check_repeat(&self, body_hash: &[u8; 32]) -> Result<(), Problem> {
        if self.body_hash == *body_hash {
            return Ok(());
        }
        Err(Problem::new(
            ErrorCode::RequestIdReused,
            "this request id came before with another request",
            "use a new request id for a new request",
        ))
    }
}

/// Whether the other side said for good that it will not do it, and surely did not. A code that stands for doubt, for
/// load or for a fault is none of these.
#[must_use]
pub const fn is_final(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::InvalidArgument
            | ErrorCode::LimitExceeded
            | ErrorCode::NotFound
            | ErrorCode::TicketUnknown
            | ErrorCode::WrongState
            | ErrorCode::QuantityExhausted
            | ErrorCode::LicenseForbids
            | ErrorCode::BindingForbidden
            | ErrorCode::FileTooNew
            | ErrorCode::UpdateGap
            | ErrorCode::UpdateForked
            | ErrorCode::ContainerSuspected
            | ErrorCode::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saga(kind: Kind, state: State) -> Saga {
        Saga {
            id: ActivationId::new(Timestamp::UNIX_EPOCH, [1; 10]),
            kind,
            state,
            firm: 6,
            caller: "c".to_owned(),
            request_id: "r".to_owned(),
            body_hash: [7; 32],
            ticket: None,
            ticket_masked: String::new(),
            wanted: Vec::new(),
            withdrawn: Vec::new(),
            withdrawn_for: String::new(),
            container: None,
            licenses: Vec::new(),
            from: 0,
            to: 0,
            problem: None,
            proven: false,
            attempts: 0,
            traceparent: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_begun_withdrawal_is_never_given_up() {
        let forbidden = Problem::new(ErrorCode::ContainerSuspected, "suspected", "");
        assert!(!saga(Kind::Withdraw, State::Reserved).ends_by(&forbidden));
        assert!(saga(Kind::Withdraw, State::Requested).ends_by(&forbidden));
        assert!(saga(Kind::Push, State::Reserved).ends_by(&forbidden));
    }

    #[test]
    fn doubt_never_ends_a_saga() {
        for code in [
            ErrorCode::Unavailable,
            ErrorCode::DeadlineExceeded,
            ErrorCode::Internal,
            ErrorCode::Overloaded,
            ErrorCode::TooManyRequests,
            ErrorCode::RequestIdReused,
            ErrorCode::AlreadyExists,
            ErrorCode::Unauthenticated,
            ErrorCode::PermissionDenied,
        ] {
            assert!(!is_final(code), "{code}");
        }
    }

    #[test]
    fn proof_is_only_told_after_the_commit() {
        let mut early = saga(Kind::Activate, State::Issued);
        early.proven = true;
        assert_eq!(early.task(), Task::Commit);
        early.state = State::Completed;
        assert_eq!(early.task(), Task::Confirm);
    }

    #[test]
    fn pauses_grow_and_end_at_five_minutes() {
        let mut saga = saga(Kind::Activate, State::Reserved);
        let mut last = Duration::ZERO;
        for attempts in 0..40 {
            saga.attempts = attempts;
            assert!(saga.pause() >= last);
            last = saga.pause();
        }
        assert_eq!(last, Duration::from_secs(300));
    }

    #[test]
    fn a_request_id_with_another_body_is_refused() {
        let saga = saga(Kind::Activate, State::Completed);
        assert_eq!(saga.check_repeat(&[7; 32]), Ok(()));
        assert_eq!(saga.check_repeat(&[8; 32]).map_err(|problem| problem.code), Err(ErrorCode::RequestIdReused));
    }
}
