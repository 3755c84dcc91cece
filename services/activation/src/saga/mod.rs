//! Carrying sagas out: one step after the other, each one idempotent on the other side and noted here before the next.
//!
//! A run may stop anywhere. The same request, or the resumer, goes on from the last noted step; what was done but not
//! noted is asked for again and gives the same answer, so the update file that comes out is the same, byte for byte.

mod peers;
mod resume;
mod steps;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use lictor_api::update::v1::IssueUpdateResponse;
use lictor_clock::SharedClock;
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::ActivationId,
};
use tokio::{sync::Notify, time::Instant};
use tracing::Instrument;

pub use peers::Peers;
pub use resume::keep_resuming;
pub use steps::refusal;

use crate::{
    domain::{
        saga::{Saga, Task},
        state::{Kind, State},
    },
    failure::Failure,
    metrics::Metrics,
    store::{Begun, Store},
};

/// How long a repeated request waits for the run that is under way.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How far a run is. What comes before its `…Noted` was done by another service and is not yet known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The saga is stored.
    Begun,
    /// License-central set the licenses aside, or marked the license as withdrawn.
    Reserved,
    /// That is noted.
    ReservedNoted,
    /// The time limit is lifted.
    Kept,
    /// License-central marked what a push takes back.
    WithdrawalBegun,
    /// The update was issued.
    Issued,
    /// That is noted.
    IssuedNoted,
    /// License-central knows that it was issued.
    Committed,
    /// That is noted and announced.
    CommittedNoted,
    /// License-central knows of the proof.
    Confirmed,
    /// That is noted and announced.
    ConfirmedNoted,
    /// The saga ends without an update, and that is noted.
    RefusingNoted,
    /// License-central took everything back.
    Released,
    /// That is noted.
    ReleasedNoted,
}

/// Looks on at each step; what it breaks is like a process that was killed there.
pub trait Watch: Send + Sync {
    /// Called when a run has reached `step`.
    fn reached(&self, step: Step) -> ControlFlow<()>;
}

/// Never breaks anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn reached(&self, _: Step) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A settled saga with the update that was issued for it, when this run saw it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The saga.
    pub saga: Saga,
    /// The answer of the issuer.
    pub issued: Option<IssueUpdateResponse>,
}

/// Carries sagas out. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    store: Store,
    peers: Peers,
    clock: SharedClock,
    name: Arc<str>,
    metrics: Metrics,
    nudge: Arc<Notify>,
    watch: Arc<dyn Watch>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Runner {
    /// A runner over these tables and services. `name` tells this process from its replicas and stays the same over
    /// restarts.
    #[must_use]
    pub fn new(store: Store, peers: Peers, clock: SharedClock, name: impl Into<Arc<str>>, metrics: Metrics) -> Self {
        Self { store, peers, clock, name: name.into(), metrics, nudge: Arc::default(), watch: Arc::new(Unwatched) }
    }

    /// The same with somebody who looks on.
    #[must_use]
    pub fn watched(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = watch;
        self
    }

    /// The tables.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The other services.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Tells the resumer that something became due.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Begins a saga, or finds the one that this request began, and carries it out until its caller can be answered.
    ///
    /// # Errors
    /// What went wrong; the saga stays and is continued in the background.
    pub async fn run(&self, saga: Saga) -> Result<Settled, Failure> {
        let body_hash = saga.body_hash;
        match self.store.begin(&saga, &self.name, self.clock.now()).await? {
            Begun::Now(saga) => {
                self.reached(Step::Begun)?;
                self.drive(saga).await
            }
            Begun::Before(saga) => {
                saga.check_repeat(&body_hash)?;
                self.finish(saga).await
            }
        }
    }

    /// Carries on a saga that was begun before, or waits for the run that does.
    ///
    /// # Errors
    /// As for [`Runner::run`].
    pub async fn finish(&self, saga: Saga) -> Result<Settled, Failure> {
        let end = Instant::now() + WAIT_FOR_OTHER;
        let mut saga = saga;
        while !saga.state.is_settled() {
            if let Some(claimed) = self.store.claim(saga.id, &self.name, self.clock.now()).await? {
                return self.drive(claimed).await;
            }
            if Instant::now() + LOOK_AGAIN >= end {
                return Err(Failure::refused(
                    ErrorCode::Unavailable,
                    "the activation is still being worked on",
                    "repeat the same request in a moment",
                ));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            saga = self.load(saga.id).await?;
        }
        Ok(Settled { saga, issued: None })
    }

    async fn load(&self, id: ActivationId) -> Result<Saga, Failure> {
        self.store.saga(id).await?.ok_or_else(|| {
            Failure::refused(ErrorCode::NotFound, "there is no such activation", "check the activation id")
        })
    }

    /// Carries a claimed saga on until it waits for proof, has ended, or cannot go on now.
    async fn drive(&self, saga: Saga) -> Result<Settled, Failure> {
        let span = tracing::info_span!("saga", activation = %saga.id, kind = %saga.kind);
        lictor_telemetry::set_parent(&span, saga.traceparent.as_deref());
        let id = saga.id;
        let pause = saga.pause();
        let outcome = self.steps(saga).instrument(span).await;
        match &outcome {
            // Nothing is put down: a killed process puts nothing down either.
            Err(Failure::Stopped) => {}
            Err(failure) => {
                tracing::warn!(activation = %id, %failure, "a saga cannot go on now, it will be continued");
                self.metrics.attempts_failed.inc();
                let again = self.clock.now().saturating_add(pause);
                if let Err(error) = self.store.put_down(id, &self.name, Some(again)).await {
                    tracing::warn!(activation = %id, %error, "a saga cannot be put down, its time runs out instead");
                }
            }
            Ok(_) => self.store.put_down(id, &self.name, None).await?,
        }
        outcome
    }

    async fn steps(&self, mut saga: Saga) -> Result<Settled, Failure> {
        let mut carried = steps::Carried::default();
        loop {
            let before = saga.state;
            let outcome = match saga.task() {
                Task::AwaitProof | Task::Nothing => break,
                Task::Reserve => self.reserve(&saga, &mut carried).await,
                Task::BeginWithdrawal => self.begin_withdrawal(&saga).await,
                Task::Issue => self.issue(&saga, &mut carried).await,
                Task::Commit => self.commit(&saga).await,
                Task::Confirm => self.confirm(&saga).await,
                Task::Release => self.release(&saga).await,
            };
            let next = match outcome {
                Ok(next) => next,
                Err(Failure::Refused(problem)) if ends(&saga, &problem) => refused(&saga, problem)?,
                Err(failure) => return Err(failure),
            };
            saga = self.note(next, before).await?;
        }
        Ok(Settled { saga, issued: carried.issued })
    }

    /// Writes a step down, with its announcement.
    async fn note(&self, next: Saga, before: State) -> Result<Saga, Failure> {
        let now = self.clock.now();
        let announcement = crate::events::announcement(&next, now);
        let saved = self.store.step(&next, before, announcement.as_ref(), now).await?.ok_or_else(|| {
            // Our time ran out and another process went on: it has the last word.
            Failure::refused(
                ErrorCode::Unavailable,
                "the activation is being worked on elsewhere",
                "repeat the same request in a moment",
            )
        })?;
        self.metrics.stepped(&saved);
        self.reached(match saved.state {
            State::Requested => Step::Begun,
            State::Reserved => Step::ReservedNoted,
            State::Issued => Step::IssuedNoted,
            State::Completed => Step::CommittedNoted,
            State::Confirmed => Step::ConfirmedNoted,
            State::Refusing => Step::RefusingNoted,
            State::Refused => Step::ReleasedNoted,
        })?;
        Ok(saved)
    }

    fn reached(&self, step: Step) -> Result<(), Failure> {
        match self.watch.reached(step) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Failure::Stopped),
        }
    }
}

/// Whether a refusal ends the saga. Licenses that somebody else is taking right now are an answer at the beginning: the
/// caller was told, and nothing shall happen behind his back later.
fn ends(saga: &Saga, problem: &Problem) -> bool {
    let taken = problem.code == ErrorCode::Conflict && saga.state == State::Requested && saga.kind != Kind::Withdraw;
    matches!(saga.state, State::Requested | State::Reserved) && (taken || saga.ends_by(problem))
}

fn refused(saga: &Saga, problem: Problem) -> Result<Saga, Failure> {
    let to = if saga.state == State::Requested { State::Refused } else { State::Refusing };
    let state = saga.state.to(to).map_err(|wrong| steps::fault(&wrong))?;
    Ok(Saga { state, problem: Some(problem), ..saga.clone() })
}
