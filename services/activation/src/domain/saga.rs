//! A saga: one change of one container, and what is to be done for it next.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{ActivationId, LicenseId},
};

pub use super::purpose::Container;
use super::{
    purpose::Purpose,
    state::{Kind, State},
};

/// First pause after a failed attempt; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest while another service only cannot be reached: it comes back any moment, and then nobody shall wait for
/// minutes because it was away several times before.
const LONGEST_UNREACHED: Duration = Duration::from_secs(8);
/// Pause of a stalled saga: what refused it for good may have been put right by somebody.
pub const STALLED_PAUSE: Duration = Duration::from_hours(24);
/// Who asks for what the time brings.
pub const SCHEDULER: &str = "scheduler";
/// How the askers of sagas that a saga began start; the saga's id follows.
const SAGA_CALLER: &str = "saga:";

/// One change of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saga {
    /// Its id, and the reference of its update.
    pub id: ActivationId,
    /// What it is for.
    pub purpose: Purpose,
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
    /// First group of the ticket's code.
    pub ticket_masked: String,
    /// The container; a withdrawal learns it from license-central.
    pub container: Option<Container>,
    /// Licenses that the update changes.
    pub licenses: Vec<LicenseId>,
    /// Counter before the issued segment.
    pub from: u64,
    /// Counter after it.
    pub to: u64,
    /// Why it was refused, or why the last attempt failed.
    pub problem: Option<Problem>,
    /// The container proved that it took the update.
    pub proven: bool,
    /// It can neither go on nor end, and somebody must look.
    pub stalled: bool,
    /// Failed attempts since the last step.
    pub attempts: u32,
    /// When it is tried again.
    pub next_attempt_at: Option<Timestamp>,
    /// Trace of the request.
    pub traceparent: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// Who asked for a saga, and how he will ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub caller: String,
    /// His id of the request.
    pub request_id: String,
    /// SHA-256 of the request.
    pub body_hash: [u8; 32],
    /// Trace of the request.
    pub traceparent: Option<String>,
}

impl Asked {
    /// Asked for by another saga, once for each `what`.
    #[must_use]
    pub fn by_saga(parent: &Saga, what: &str) -> Self {
        let caller =
            if parent.caller.starts_with(SAGA_CALLER) { parent.caller.clone() } else { Self::caller_of(parent.id) };
        Self::inside(caller, what, parent.traceparent.clone())
    }

    /// Asked for because its time has come, once for each `key`.
    #[must_use]
    pub fn by_time(key: &str, traceparent: Option<String>) -> Self {
        Self::inside(SCHEDULER.to_owned(), key, traceparent)
    }

    /// Who asks for what the saga `id` began.
    #[must_use]
    pub fn caller_of(id: ActivationId) -> String {
        format!("{SAGA_CALLER}{id}")
    }

    fn inside(caller: String, what: &str, traceparent: Option<String>) -> Self {
        // Nobody outside can ask under this name, so there is no other request that it could be.
        Self { caller, request_id: what.to_owned(), body_hash: [0; 32], traceparent }
    }
}

/// What is to be done for a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Have license-central decide what changes, and set it aside.
    Plan,
    /// Lift the time limit, block a lost container, and have the update issued.
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

/// What a refusal by another service does to a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing: it is tried again.
    Again,
    /// It ends, and goes to this state.
    Ends(State),
    /// It can neither go on nor end.
    Stalls,
}

impl Saga {
    /// A saga that was asked for just now.
    #[must_use]
    pub fn new(id: ActivationId, purpose: Purpose, asked: Asked, now: Timestamp) -> Self {
        Self {
            id,
            purpose,
            state: State::Requested,
            firm: 0,
            caller: asked.caller,
            request_id: asked.request_id,
            body_hash: asked.body_hash,
            ticket_masked: String::new(),
            container: None,
            licenses: Vec::new(),
            from: 0,
            to: 0,
            problem: None,
            proven: false,
            stalled: false,
            attempts: 0,
            next_attempt_at: Some(now),
            traceparent: asked.traceparent,
            created_at: now,
        }
    }

    /// The same for a container of a firm.
    #[must_use]
    pub fn of(self, firm: u32, container: Option<Container>) -> Self {
        Self { firm, container, ..self }
    }

    /// What it does to its container.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.purpose.kind()
    }

    /// What is to be done next.
    #[must_use]
    pub const fn task(&self) -> Task {
        match self.state {
            State::Requested => Task::Plan,
            State::Reserved => Task::Issue,
            State::Issued => Task::Commit,
            State::Completed if self.proven => Task::Confirm,
            State::Completed => Task::AwaitProof,
            State::Refusing => Task::Release,
            State::Confirmed | State::Refused => Task::Nothing,
        }
    }

    /// What a refusal by another service means for it.
    ///
    /// Before anything is set aside a refusal is the answer. Once it is, the saga gives it back, except for a withdrawal:
    /// that is the vendor's last word. Seats that left one container must arrive in the other, so there is no end without
    /// it before the plan. From the issue on there is only forward.
    #[must_use]
    pub fn after(&self, problem: &Problem) -> Refusal {
        let is_final = is_final(problem.code);
        // What somebody else is taking right now is an answer to a person, who decides; nothing shall happen behind his
        // back later. What no person waits for waits itself.
        let taken = problem.code == ErrorCode::Conflict && !self.goes_by_itself() && self.kind() != Kind::Withdraw;
        match self.state {
            State::Requested if is_final && (self.kind() == Kind::Arrive || self.is_part_of_withdrawal()) => {
                Refusal::Stalls
            }
            // A copy of an earlier attempt may still be on its way and must find the door closed.
            State::Requested if (is_final || taken) && self.attempts > 0 => Refusal::Ends(State::Refusing),
            State::Requested if is_final || taken => Refusal::Ends(State::Refused),
            State::Reserved if is_final && self.kind() != Kind::Withdraw => Refusal::Ends(State::Refusing),
            _ if is_final => Refusal::Stalls,
            _ => Refusal::Again,
        }
    }

    /// Whether no person waits for its answer.
    #[must_use]
    pub fn goes_by_itself(&self) -> bool {
        self.caller == SCHEDULER || self.caller.starts_with(SAGA_CALLER)
    }

    /// Whether license-central picks the container: of a withdrawal, unless it is the part of one in a further container.
    #[must_use]
    pub fn gets_container_by_plan(&self) -> bool {
        self.kind() == Kind::Withdraw && !self.goes_by_itself()
    }

    fn is_part_of_withdrawal(&self) -> bool {
        self.kind() == Kind::Withdraw && self.goes_by_itself()
    }

    /// What it waits for, in a few words; empty when it has ended.
    #[must_use]
    pub const fn waits_for(&self) -> &'static str {
        match (self.stalled, self.task()) {
            (_, Task::Nothing) => "",
            (true, _) => "somebody who looks at it",
            (false, Task::Plan) => "the plan of license-central",
            (false, Task::Issue) => "the push update generator",
            (false, Task::Commit) => "license-central to note the update",
            (false, Task::AwaitProof) => "the proof of the container",
            (false, Task::Confirm) => "license-central to note the proof",
            (false, Task::Release) => "license-central to take everything back",
        }
    }

    /// The pause after another failed attempt, by why it failed.
    #[must_use]
    pub fn pause(&self, code: ErrorCode) -> Duration {
        let longest = match code {
            ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => LONGEST_UNREACHED,
            _ => LONGEST_PAUSE,
        };
        FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.attempts.min(16)).unwrap_or(u32::MAX)).min(longest)
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
            | ErrorCode::FileDamaged
            | ErrorCode::FileForged
            | ErrorCode::FileForOther
            | ErrorCode::FileTooNew
            | ErrorCode::UpdateGap
            | ErrorCode::UpdateForked
            | ErrorCode::ContainerSuspected
            | ErrorCode::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use lictor_licensing::id::{TicketId, TransferId};

    use super::*;

    fn of_kind(kind: Kind, state: State) -> Saga {
        let purpose = match kind {
            Kind::Withdraw => Purpose::Withdraw { licenses: Vec::new(), reason: String::new(), awaits: Vec::new() },
            Kind::Arrive => Purpose::Arrive { transfer: TransferId::from_u128(1) },
            Kind::Renew => Purpose::Renew { licenses: Vec::new() },
            Kind::Push => Purpose::Push { ticket: None, withdraw: Vec::new() },
            _ => Purpose::Activate { ticket: TicketId::from_u128(1), picks: Vec::new() },
        };
        let asked = Asked {
            caller: if matches!(kind, Kind::Arrive | Kind::Renew) { SCHEDULER } else { "c" }.to_owned(),
            request_id: "r".to_owned(),
            body_hash: [7; 32],
            traceparent: None,
        };
        let id = ActivationId::new(Timestamp::UNIX_EPOCH, [1; 10]);
        Saga { state, ..Saga::new(id, purpose, asked, Timestamp::UNIX_EPOCH) }
    }

    fn problem(code: ErrorCode) -> Problem {
        Problem::new(code, "refused", "")
    }

    #[test]
    fn a_begun_withdrawal_is_never_given_up_but_shown() {
        let forbidden = problem(ErrorCode::ContainerSuspected);
        assert_eq!(of_kind(Kind::Withdraw, State::Reserved).after(&forbidden), Refusal::Stalls);
        assert_eq!(of_kind(Kind::Withdraw, State::Requested).after(&forbidden), Refusal::Ends(State::Refused));
        assert_eq!(of_kind(Kind::Push, State::Reserved).after(&forbidden), Refusal::Ends(State::Refusing));
        let mut child = of_kind(Kind::Withdraw, State::Requested);
        child.caller = Asked::caller_of(child.id);
        assert_eq!(child.after(&forbidden), Refusal::Stalls, "the vendor's word covers every container");
    }

    #[test]
    fn seats_that_left_are_never_lost_to_a_refusal() {
        let forbidden = problem(ErrorCode::ContainerSuspected);
        assert_eq!(of_kind(Kind::Arrive, State::Requested).after(&forbidden), Refusal::Stalls);
        // What is set aside goes back to where it can be planned anew.
        assert_eq!(of_kind(Kind::Arrive, State::Reserved).after(&forbidden), Refusal::Ends(State::Refusing));
    }

    #[test]
    fn what_was_issued_is_never_taken_back() {
        for kind in [Kind::Activate, Kind::Push, Kind::Withdraw, Kind::Arrive, Kind::Renew] {
            for state in [State::Issued, State::Completed] {
                assert_eq!(
                    of_kind(kind, state).after(&problem(ErrorCode::NotFound)),
                    Refusal::Stalls,
                    "{kind} {state}"
                );
                assert_eq!(of_kind(kind, state).after(&problem(ErrorCode::Unavailable)), Refusal::Again);
            }
        }
    }

    #[test]
    fn a_copy_that_is_on_its_way_finds_the_door_closed() {
        let mut late = of_kind(Kind::Activate, State::Requested);
        assert_eq!(late.after(&problem(ErrorCode::WrongState)), Refusal::Ends(State::Refused));
        late.attempts = 1;
        assert_eq!(late.after(&problem(ErrorCode::WrongState)), Refusal::Ends(State::Refusing));
    }

    #[test]
    fn what_somebody_else_takes_is_an_answer_to_a_person_only() {
        let taken = problem(ErrorCode::Conflict);
        assert_eq!(of_kind(Kind::Activate, State::Requested).after(&taken), Refusal::Ends(State::Refused));
        for kind in [Kind::Withdraw, Kind::Arrive, Kind::Renew] {
            assert_eq!(of_kind(kind, State::Requested).after(&taken), Refusal::Again, "{kind}");
        }
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
            for state in State::ALL {
                assert_eq!(of_kind(Kind::Push, *state).after(&problem(code)), Refusal::Again, "{code} {state}");
            }
        }
    }

    #[test]
    fn proof_is_only_told_after_the_commit() {
        let mut early = of_kind(Kind::Activate, State::Issued);
        early.proven = true;
        assert_eq!(early.task(), Task::Commit);
        early.state = State::Completed;
        assert_eq!(early.task(), Task::Confirm);
    }

    #[test]
    fn pauses_grow_to_five_minutes_but_to_seconds_while_a_service_is_away() {
        for (code, longest) in
            [(ErrorCode::Internal, 300), (ErrorCode::Unavailable, 8), (ErrorCode::DeadlineExceeded, 8)]
        {
            let mut saga = of_kind(Kind::Activate, State::Reserved);
            let mut last = Duration::ZERO;
            for attempts in 0..40 {
                saga.attempts = attempts;
                assert!(saga.pause(code) >= last);
                last = saga.pause(code);
            }
            assert_eq!(last, Duration::from_secs(longest), "{code}");
        }
    }

    #[test]
    fn a_request_id_with_another_body_is_refused() {
        let saga = of_kind(Kind::Activate, State::Completed);
        assert_eq!(saga.check_repeat(&[7; 32]), Ok(()));
        assert_eq!(saga.check_repeat(&[8; 32]).map_err(|problem| problem.code), Err(ErrorCode::RequestIdReused));
    }
}
