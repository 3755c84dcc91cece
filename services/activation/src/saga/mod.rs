//! Carrying sagas out: one step after the other, each one idempotent on the other side and noted here before the next.
//!
//! A run may stop anywhere. The same request, or the resumer, goes on from the last noted step; what was done but not
//! noted is asked for again and gives the same answer, so the update file that comes out is the same, byte for byte.

mod peers;
mod plan;
mod resume;
mod schedule;
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
pub use schedule::keep_scheduling;
pub use steps::refusal;

use crate::{
    domain::{
        saga::{Refusal, STALLED_PAUSE, Saga, Task},
        state::State,
    },
    failure::Failure,
    metrics::Metrics,
    store::{Begun, Ended, Store},
};

/// How long a repeated request waits for the run that is under way.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How far a run is. What comes before its `…Noted` was done by another service and is not yet known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The saga is stored.
    Begun,
    /// License-central decided what changes, and set it aside.
    Planned,
    /// That is noted.
    PlannedNoted,
    /// The time limit is lifted.
    Kept,
    /// The lost container is blocked.
    Blocked,
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

impl Step {
    /// Every step.
    pub const ALL: [Self; 14] = [
        Self::Begun,
        Self::Planned,
        Self::PlannedNoted,
        Self::Kept,
        Self::Blocked,
        Self::Issued,
        Self::IssuedNoted,
        Self::Committed,
        Self::CommittedNoted,
        Self::Confirmed,
        Self::ConfirmedNoted,
        Self::RefusingNoted,
        Self::Released,
        Self::ReleasedNoted,
    ];
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

/// How a run went.
struct Course {
    outcome: Result<Settled, Failure>,
    /// The saga can neither go on nor end.
    stalled: bool,
    /// Its last step left it at rest, and with that nobody works on it any more.
    put_down: bool,
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
    /// `context` is the file that a rebase answers.
    ///
    /// # Errors
    /// What went wrong; the saga stays and is continued in the background.
    pub async fn run(&self, saga: Saga, context: Option<Vec<u8>>) -> Result<Settled, Failure> {
        let body_hash = saga.body_hash;
        match self.store.begin(&saga, context.as_deref(), &self.name, self.clock.now()).await? {
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

    /// Carries a saga on now, whatever it waited for, unless only its container can. Gives it as it stands then.
    ///
    /// # Errors
    /// No such saga, or a store that does not answer. That it cannot go on is no error: the saga says why.
    pub async fn retry(&self, id: ActivationId) -> Result<Saga, Failure> {
        let saga = self.load(id).await?;
        if self.store.hurry(id, self.clock.now()).await? {
            match self.finish(saga).await {
                Ok(_) | Err(Failure::Refused(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        self.load(id).await
    }

    async fn load(&self, id: ActivationId) -> Result<Saga, Failure> {
        self.store.saga(id).await?.ok_or_else(|| {
            Failure::refused(ErrorCode::NotFound, "there is no such activation", "check the activation id")
        })
    }

    /// Carries a claimed saga on until it waits for proof, has ended, or cannot go on now.
    async fn drive(&self, saga: Saga) -> Result<Settled, Failure> {
        let span = tracing::info_span!("saga", activation = %saga.id, kind = %saga.kind());
        lictor_telemetry::set_parent(&span, saga.traceparent.as_deref());
        let id = saga.id;
        let Course { outcome, stalled, put_down } = self.steps(saga.clone()).instrument(span).await;
        match &outcome {
            // Nothing is put down: a killed process puts nothing down either.
            Err(Failure::Stopped) => {}
            Err(failure) => {
                tracing::warn!(activation = %id, %failure, stalled, "a saga cannot go on now, it will be continued");
                self.metrics.attempts_failed.inc();
                let problem = failure.problem();
                let pause = if stalled { STALLED_PAUSE } else { saga.pause(problem.code) };
                let again_at = self.clock.now().saturating_add(pause);
                let ended = Ended::Failed { problem: &problem, again_at, stalled };
                if let Err(error) = self.store.put_down(id, &self.name, ended).await {
                    tracing::warn!(activation = %id, %error, "a saga cannot be put down, its time runs out instead");
                }
            }
            Ok(_) if put_down => {}
            Ok(_) => self.store.put_down(id, &self.name, Ended::AtRest).await?,
        }
        outcome
    }

    async fn steps(&self, saga: Saga) -> Course {
        let (mut stalled, mut put_down) = (false, false);
        let outcome = self.steps_to_rest(saga, &mut stalled, &mut put_down).await;
        Course { outcome, stalled, put_down }
    }

    async fn steps_to_rest(&self, mut saga: Saga, stalled: &mut bool, put_down: &mut bool) -> Result<Settled, Failure> {
        let mut carried = steps::Carried::default();
        loop {
            let before = saga.state;
            let outcome = match saga.task() {
                Task::AwaitProof | Task::Nothing => break,
                Task::Plan => self.plan(&saga, &mut carried).await,
                Task::Issue => self.issue(&saga, &mut carried).await,
                Task::Commit => self.commit(&saga).await,
                Task::Confirm => self.confirm(&saga).await,
                Task::Release => self.release(&saga).await,
            };
            let next = match outcome {
                Ok(next) => next,
                Err(Failure::Refused(problem)) => match saga.after(&problem) {
                    Refusal::Again => return Err(problem.into()),
                    Refusal::Stalls => {
                        *stalled = true;
                        return Err(problem.into());
                    }
                    Refusal::Ends(to) => refused(&saga, to, problem)?.into(),
                },
                Err(failure) => return Err(failure),
            };
            saga = self.note(next, before).await?;
            *put_down = matches!(saga.task(), Task::AwaitProof | Task::Nothing);
        }
        Ok(Settled { saga, issued: carried.issued })
    }

    /// Writes a step down, with its announcement and what it begins.
    async fn note(&self, next: steps::Next, before: State) -> Result<Saga, Failure> {
        let now = self.clock.now();
        let announcement = crate::events::announcement(&next.saga, now);
        let saved = self.store.step(&next.saga, before, announcement.as_ref(), &next.begins, now).await?;
        let saved = saved.ok_or_else(|| {
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
            State::Reserved => Step::PlannedNoted,
            State::Issued => Step::IssuedNoted,
            State::Completed => Step::CommittedNoted,
            State::Confirmed => Step::ConfirmedNoted,
            State::Refusing => Step::RefusingNoted,
            State::Refused => Step::ReleasedNoted,
        })?;
        if !next.begins.is_empty() {
            self.nudge();
        }
        Ok(saved)
    }

    fn reached(&self, step: Step) -> Result<(), Failure> {
        match self.watch.reached(step) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Failure::Stopped),
        }
    }
}

fn refused(saga: &Saga, to: State, problem: Problem) -> Result<Saga, Failure> {
    let state = saga.state.to(to).map_err(|wrong| steps::fault(&wrong))?;
    Ok(Saga { state, problem: Some(problem), ..saga.clone() })
}
