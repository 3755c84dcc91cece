//! The loop around the turns: waits, gathers, takes a turn, starts the calls.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lictor_storage::StorageError;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Batch, EVENTS_PER_TURN, Engine, NotTaken,
    call::{Callers, Finished},
    intake,
    turn::{State, Turn, Work},
};
use crate::{
    random,
    store::{delivery, destination, ledger},
};

/// Pause after a turn that the database refused.
const PAUSE: Duration = Duration::from_millis(250);
/// Every so many sweeps the lanes are compared with the tables: what a dead replica left waiting is found then.
const THOROUGH: u32 = 15;
/// Leases are renewed so many times before they would run out.
const RENEWALS: u32 = 3;
/// How long results gather before they are written, while other calls run: one commit carries many. New events and a
/// destination that has nothing else to do are never kept waiting.
const GATHER: Duration = Duration::from_millis(5);
/// So many results are written at once.
const RESULTS: usize = 128;

/// Runs the engine until `soft`, then lets running calls end for a while and gives the rest back.
pub async fn run(engine: Engine, soft: CancellationToken) -> Result<(), Infallible> {
    Looping::new(engine).run(soft).await;
    Ok(())
}

pub(super) struct Looping {
    pub(super) engine: Engine,
    pub(super) state: State,
    pub(super) callers: Arc<Callers>,
    finished: mpsc::UnboundedReceiver<Finished>,
    work: Work,
    replies: Vec<oneshot::Sender<Result<(), NotTaken>>>,
    /// Until when results gather.
    gathers_until: Option<Instant>,
    next_sweep: Instant,
    next_renewal: Instant,
    sweeps: u32,
    pub(super) must_turn: bool,
}

impl Looping {
    fn new(engine: Engine) -> Self {
        let (sender, finished) = mpsc::unbounded_channel();
        let callers = Callers {
            carrier: engine.carrier.clone(),
            clock: engine.clock.clone(),
            finished: sender,
            cut: CancellationToken::new(),
        };
        let state = State {
            holder: format!("run_{}", random::hex()),
            lanes: BTreeMap::new(),
            version: None,
            running: HashMap::new(),
            // Whatever was held back before the start is looked at with the first events of each source.
            open_gaps: engine.gaps.keys().cloned().collect(),
            stopping: false,
            first: 0,
        };
        let now = Instant::now();
        let next_renewal = now + engine.options.lease / RENEWALS;
        Self {
            engine,
            state,
            callers: Arc::new(callers),
            finished,
            work: Work::default(),
            replies: Vec::new(),
            gathers_until: None,
            next_sweep: now,
            next_renewal,
            sweeps: 0,
            must_turn: true,
        }
    }

    async fn run(mut self, soft: CancellationToken) {
        while !soft.is_cancelled() {
            if Instant::now() >= self.next_sweep {
                self.sweep().await;
            }
            self.gather();
            if self.needs_turn() && !self.may_gather() {
                self.gathers_until = None;
                tokio::select! {
                    // A database that hangs must not hold up a stop; the lost turn is the next program's.
                    () = soft.cancelled() => break,
                    () = self.turn() => {}
                }
                continue;
            }
            let wake = self.wake_at();
            tokio::select! {
                () = soft.cancelled() => {}
                Some(batch) = self.engine.batches.recv() => self.admit(batch),
                Some(call) = self.finished.recv() => self.work.finished.push(call),
                () = self.engine.changed.notified() => self.must_turn = true,
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.stop().await;
    }

    fn admit(&mut self, batch: Batch) {
        self.work.events.extend(intake::with_bodies(batch.intake.events));
        self.work.quarantined.extend(batch.intake.quarantined);
        self.replies.push(batch.done);
    }

    /// Takes what waits without waiting for more.
    fn gather(&mut self) {
        while let Ok(call) = self.finished.try_recv() {
            self.work.finished.push(call);
        }
        while self.work.events.len() < EVENTS_PER_TURN {
            match self.engine.batches.try_recv() {
                Ok(batch) => self.admit(batch),
                Err(_) => break,
            }
        }
        if Instant::now() >= self.next_renewal {
            self.next_renewal = Instant::now() + self.engine.options.lease / RENEWALS;
            self.work.renew = !self.state.running.is_empty();
        }
    }

    fn needs_turn(&self) -> bool {
        !self.work.finished.is_empty() || self.presses()
    }

    /// Whether there is something that does not wait for more of its kind.
    fn presses(&self) -> bool {
        let now = self.engine.clock.now();
        let limit = self.engine.options.in_flight_per_destination;
        let room = self.state.running.len() < self.engine.options.in_flight;
        self.must_turn
            || !self.replies.is_empty()
            || !self.work.run_out.is_empty()
            || self.work.renew
            || (room && self.state.lanes.values().any(|lane| lane.wants_turn(limit, now)))
    }

    /// Whether results may wait a moment for others, which are on their way.
    fn may_gather(&mut self) -> bool {
        let count = self.work.finished.len();
        if count == 0 || count >= RESULTS || count >= self.state.running.len() || self.presses() {
            return false;
        }
        Instant::now() < *self.gathers_until.get_or_insert_with(|| Instant::now() + GATHER)
    }

    fn wake_at(&self) -> Instant {
        let now = self.engine.clock.now();
        let limit = self.engine.options.in_flight_per_destination;
        let due = self.state.lanes.values().filter_map(|lane| lane.wakes_at(limit, now)).min();
        let mut wake = self.next_sweep;
        // With all calls taken it is the end of one that wakes.
        let room = self.state.running.len() < self.engine.options.in_flight;
        if let Some(due) = due.filter(|_| room) {
            // Never at once: what is due now has been tried by the turn before.
            wake = wake.min(Instant::now() + due.since(now).max(Duration::from_millis(1)));
        }
        if let Some(until) = self.gathers_until {
            wake = wake.min(until);
        }
        if self.state.running.is_empty() { wake } else { wake.min(self.next_renewal) }
    }

    async fn turn(&mut self) {
        let now = self.engine.clock.now();
        let turn = Turn {
            options: &self.engine.options,
            readers: &self.engine.gaps,
            state: &self.state,
            work: &self.work,
            now,
        };
        let db = &self.engine.db;
        let outcome = lictor_storage::retry(|| async {
            let mut tx = db.begin().await?;
            let done = turn.take(&mut tx).await?;
            tx.commit().await?;
            Ok::<_, StorageError>(done)
        })
        .await;
        self.must_turn = false;
        match outcome {
            Ok(done) => {
                if !self.engine.works.swap(true, Ordering::Relaxed) {
                    tracing::info!("deliveries are being made");
                }
                for reply in self.replies.drain(..) {
                    let _ = reply.send(Ok(()));
                }
                let work = std::mem::take(&mut self.work);
                self.apply(work, done, now);
            }
            Err(error) => {
                if self.engine.works.swap(false, Ordering::Relaxed) {
                    tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "a turn failed");
                } else {
                    tracing::debug!(error = %error, cause = ?std::error::Error::source(&error), "a turn failed");
                }
                for reply in self.replies.drain(..) {
                    let _ = reply.send(Err(NotTaken));
                }
                // Results stay and are written later; events come again.
                self.work.events.clear();
                self.work.quarantined.clear();
                self.must_turn = true;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Looks at what others may have changed or left behind. Reads only.
    async fn sweep(&mut self) {
        self.next_sweep = Instant::now() + self.engine.options.sweep_every;
        self.sweeps = self.sweeps.wrapping_add(1);
        let thorough = self.sweeps % THOROUGH == 1;
        if let Err(error) = self.look(thorough).await {
            self.engine.works.store(false, Ordering::Relaxed);
            self.must_turn = true;
            tracing::debug!(error = %error, "the tables cannot be read");
        }
    }

    async fn look(&mut self, thorough: bool) -> Result<(), StorageError> {
        let db = &self.engine.db;
        let now = self.engine.clock.now();
        if self.state.version != Some(ledger::destinations_version(db).await?) {
            self.must_turn = true;
        }
        let run_out = delivery::run_out(db, now).await?;
        // A call of our own that is still running keeps its delivery, however late its lease is.
        self.work.run_out = run_out.into_iter().filter(|(id, _)| !self.state.running.contains_key(id)).collect();
        if self.state.running.keys().next().is_some() && !self.work.run_out.is_empty() {
            self.work.renew = true;
        }
        if thorough {
            let due = delivery::next_due_of_all(db).await?;
            for (id, lane) in &mut self.state.lanes {
                if let Some(at) = due.get(id) {
                    lane.due_at(*at);
                }
            }
            for (id, health) in destination::health_of_all(db).await? {
                if let Some(lane) = self.state.lanes.get_mut(&id)
                    && lane.in_flight == 0
                {
                    lane.destination.health = health;
                }
            }
        }
        Ok(())
    }

    /// Lets running calls end, writes what they came to, and gives the rest back.
    async fn stop(mut self) {
        self.state.stopping = true;
        self.engine.batches.close();
        self.replies.clear();
        self.work.events.clear();
        self.work.quarantined.clear();
        self.state.lanes.values().for_each(|lane| lane.queue.give_back());
        let end = Instant::now() + self.engine.options.drain;
        while !self.state.running.is_empty() || !self.work.finished.is_empty() {
            if !self.work.finished.is_empty() {
                if tokio::time::timeout_at(end, self.turn()).await.is_err() {
                    break;
                }
                continue;
            }
            match tokio::time::timeout_at(end, self.finished.recv()).await {
                Ok(Some(call)) => self.work.finished.push(call),
                Ok(None) | Err(_) => break,
            }
            self.gather();
        }
        if self.state.running.is_empty() {
            return;
        }
        self.callers.cut.cancel();
        let given = async {
            let mut tx = self.engine.db.begin().await?;
            ledger::lock(&mut tx).await?;
            let given = delivery::hand_back(&mut tx, &self.state.holder).await?;
            tx.commit().await?;
            Ok::<_, StorageError>(given)
        };
        match tokio::time::timeout(Duration::from_secs(1), given).await {
            Ok(Ok(given)) => tracing::info!(deliveries = given, "calls were cut and their deliveries given back"),
            Ok(Err(error)) => tracing::warn!(error = %error, "leases could not be given back and run out"),
            Err(_) => tracing::warn!("leases could not be given back in time and run out"),
        }
    }
}
