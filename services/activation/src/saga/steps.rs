//! The steps: what each asks of the other services, and what the saga looks like after it.

use lictor_api::{
    central::v1::{PlanResponse, TransferState},
    convert::from_timestamp,
    update::v1::{IssueRebaseResponse, IssueUpdateResponse},
};
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::ActivationId,
};

use super::{Runner, Step, plan, schedule};
use crate::{
    domain::{
        purpose::Purpose,
        saga::{Asked, Saga, is_final},
        schedule as due,
        state::State,
    },
    failure::Failure,
    ids,
};

/// Answers of this run that a later step, or the caller, can use without asking again.
#[derive(Debug, Default)]
pub(super) struct Carried {
    plan: Option<PlanResponse>,
    pub(super) issued: Option<IssueUpdateResponse>,
}

/// A saga after a step, and the sagas that this step begins.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) saga: Saga,
    pub(super) begins: Vec<Saga>,
}

impl From<Saga> for Next {
    fn from(saga: Saga) -> Self {
        Self { saga, begins: Vec::new() }
    }
}

/// A fault of this service.
pub(super) fn fault(error: &dyn std::error::Error) -> Failure {
    tracing::error!(%error, "a fault of this service");
    Failure::refused(ErrorCode::Internal, "the activation service failed inside", "look into its log")
}

/// Something that another service should never answer.
pub(super) fn odd(what: &str) -> Failure {
    tracing::error!(what, "another service answered oddly");
    Failure::refused(ErrorCode::Internal, "the activation service failed inside", "look into its log")
}

fn moved(saga: &Saga, to: State) -> Result<Saga, Failure> {
    let state = saga.state.to(to).map_err(|wrong| fault(&wrong))?;
    Ok(Saga { state, problem: None, ..saga.clone() })
}

impl Runner {
    pub(super) async fn plan(&self, saga: &Saga, carried: &mut Carried) -> Result<Next, Failure> {
        let saga = &match self.aimed(saga).await {
            Ok(aimed) => aimed,
            Err(failure) => return self.needless(saga, failure).await,
        };
        let Some(question) = plan::question(saga) else {
            if let Purpose::Rebase { by_hand, .. } = saga.purpose {
                self.peers.note_rebase(saga, by_hand).await?;
            }
            self.reached(Step::Planned)?;
            return Ok(moved(saga, State::Reserved)?.into());
        };
        let answer = match self.peers.plan(question).await {
            Ok(answer) => answer,
            Err(failure) => return self.needless(saga, failure).await,
        };
        self.reached(Step::Planned)?;
        let plan::Planned { next, begins } = plan::planned(saga, &answer, self.clock.now())?;
        carried.plan = Some(answer);
        Ok(Next { saga: next, begins })
    }

    /// An arrival goes where its transfer goes now: the container that it began for may have been replaced since, or the
    /// seats sent elsewhere. One that gets nothing any more is no place to set them aside for: they wait where they can be
    /// sent elsewhere.
    async fn aimed(&self, saga: &Saga) -> Result<Saga, Failure> {
        let Purpose::Arrive { transfer } = saga.purpose else {
            return Ok(saga.clone());
        };
        let target = self.peers.transfer(transfer).await?.to_container_id;
        let found = self.peers.container(saga.firm, target).await?;
        let why = match (found.blocked, found.suspicion.as_slice()) {
            (false, []) => return Ok(Saga { container: Some(schedule::container(found)), ..saga.clone() }),
            (true, _) => "it is blocked".to_owned(),
            (false, suspicion) => format!("it is under suspicion: {}", suspicion.join(", ")),
        };
        Err(Failure::refused(
            ErrorCode::ContainerSuspected,
            format!("the seats cannot come into the container {}: {why}", found.serial),
            format!("rebase it, or send the seats elsewhere: lictor activation retry {} --to SERIAL", saga.id),
        ))
    }

    /// A refused arrival ends when its transfer has: what arrived, or is to arrive no more, needs nobody who looks.
    async fn needless(&self, saga: &Saga, failure: Failure) -> Result<Next, Failure> {
        let (Purpose::Arrive { transfer }, Failure::Refused(problem)) = (&saga.purpose, &failure) else {
            return Err(failure);
        };
        if !matches!(problem.code, ErrorCode::WrongState | ErrorCode::ContainerSuspected | ErrorCode::NotFound) {
            return Err(failure);
        }
        let found = self.peers.transfer(*transfer).await?.transfer.unwrap_or_default();
        if !matches!(found.state(), TransferState::Arrived | TransferState::CalledOff) {
            return Err(failure);
        }
        let problem = problem.clone();
        Ok(Saga { problem: Some(problem), ..moved(saga, State::Refused)? }.into())
    }

    pub(super) async fn issue(&self, saga: &Saga, carried: &mut Carried) -> Result<Next, Failure> {
        let issued = self.issued(saga, carried).await?;
        self.reached(Step::Issued)?;
        let (from, to) = (issued.from, issued.to);
        carried.issued = Some(issued);
        // Nothing was issued for seats that are gone by date, so nothing is left to be proven.
        let proven = saga.proven || to == 0;
        Ok(Saga { from, to, proven, ..moved(saga, State::Issued)? }.into())
    }

    /// Has the update issued, or gets it again.
    async fn issued(&self, saga: &Saga, carried: &mut Carried) -> Result<IssueUpdateResponse, Failure> {
        let Some(question) = plan::question(saga) else {
            return self.rebased(saga).await;
        };
        let first = saga.state == State::Reserved;
        if first {
            self.peers.keep(saga).await?;
            self.reached(Step::Kept)?;
        }
        let plan = match carried.plan.take() {
            Some(plan) => plan,
            None => self.peers.plan(question).await?,
        };
        if first && !plan.block_serial.is_empty() {
            self.peers.block(saga, plan.block_serial).await?;
            self.reached(Step::Blocked)?;
        }
        match self.peers.issue(saga, plan.changes).await {
            Err(Failure::Refused(problem)) if first && is_final(problem.code) && self.is_gone_by_date(saga).await? => {
                tracing::warn!(activation = %saga.id, %problem, "lent seats go home without an update of the borrower");
                Ok(IssueUpdateResponse::default())
            }
            outcome => outcome,
        }
    }

    /// Whether a saga gives a loan back that ended so long ago that its seats cannot be used where they were lent to. They
    /// go home then whatever becomes of that container: blocked, suspected, or unknown.
    async fn is_gone_by_date(&self, saga: &Saga) -> Result<bool, Failure> {
        let Purpose::Depart(departure) = &saga.purpose else {
            return Ok(false);
        };
        let Some(loan) = departure.returns else {
            return Ok(false);
        };
        let loan = self.peers.transfer(loan).await?.transfer.unwrap_or_default();
        let end = loan.lend_until.as_ref().and_then(from_timestamp);
        Ok(end.is_some_and(|end| due::is_gone_by_date(end, self.clock.now())))
    }

    async fn rebased(&self, saga: &Saga) -> Result<IssueUpdateResponse, Failure> {
        let Purpose::Rebase { reason, .. } = &saga.purpose else {
            return Err(odd("a saga without a plan"));
        };
        let context = self.store.context(saga.id).await?.ok_or_else(|| odd("a rebase without a context"))?;
        let IssueRebaseResponse { to, update, .. } = self.peers.issue_rebase(saga, context, reason.clone()).await?;
        Ok(IssueUpdateResponse { from: to.saturating_sub(1), to, update, file_from: to.saturating_sub(1), segments: 1 })
    }

    pub(super) async fn commit(&self, saga: &Saga) -> Result<Next, Failure> {
        if !matches!(saga.purpose, Purpose::Rebase { .. }) {
            self.peers.commit(saga).await?;
        }
        self.reached(Step::Committed)?;
        Ok(moved(saga, State::Completed)?.into())
    }

    pub(super) async fn confirm(&self, saga: &Saga) -> Result<Next, Failure> {
        if !matches!(saga.purpose, Purpose::Rebase { .. }) {
            self.peers.confirm(saga).await?;
        }
        self.reached(Step::Confirmed)?;
        Ok(Next { saga: moved(saga, State::Confirmed)?, begins: self.second_leg(saga) })
    }

    /// Seats that have left their container arrive in the other one.
    fn second_leg(&self, saga: &Saga) -> Vec<Saga> {
        let Purpose::Depart(departure) = &saga.purpose else {
            return Vec::new();
        };
        let now = self.clock.now();
        let asked = Asked::by_time(&due::arrival(departure.transfer), saga.traceparent.clone());
        let arrival = Saga::new(
            ActivationId::new(now, ids::random()),
            Purpose::Arrive { transfer: departure.transfer },
            asked,
            now,
        );
        let arrival = arrival.of(saga.firm, Some(departure.target.clone()));
        vec![Saga { ticket_masked: saga.ticket_masked.clone(), ..arrival }]
    }

    pub(super) async fn release(&self, saga: &Saga) -> Result<Next, Failure> {
        let reason = saga.problem.as_ref().map_or("", |problem| problem.message.as_str());
        // Of a rebase this takes its count back.
        self.peers.release(saga, reason).await?;
        self.reached(Step::Released)?;
        let problem = saga.problem.clone();
        Ok(Saga { problem, ..moved(saga, State::Refused)? }.into())
    }

    /// The update file of a saga whose update was issued; the same bytes every time.
    ///
    /// # Errors
    /// The refusal of a saga that was refused, or what went wrong.
    pub async fn update_of(
        &self,
        saga: &Saga,
        issued: Option<IssueUpdateResponse>,
    ) -> Result<IssueUpdateResponse, Failure> {
        match (saga.state, issued) {
            (_, Some(issued)) => Ok(issued),
            (State::Refused | State::Refusing, None) => Err(refusal(saga).into()),
            // It went without an update.
            (State::Issued | State::Completed | State::Confirmed, None) if saga.to == 0 => {
                Ok(IssueUpdateResponse::default())
            }
            (_, None) => self.issued(saga, &mut Carried::default()).await,
        }
    }
}

/// Why a saga was refused.
#[must_use]
pub fn refusal(saga: &Saga) -> Problem {
    saga.problem.clone().unwrap_or_else(|| {
        Problem::new(ErrorCode::WrongState, "the activation was refused", "start it anew with a new request id")
    })
}
