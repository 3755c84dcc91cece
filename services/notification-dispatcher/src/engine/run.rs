//! The loop around the turns: waits, gathers, takes a turn, starts the calls.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lictor_clock::Timestamp;
use lictor_storage::StorageError;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Batch, EVENTS_PER_TURN, Engine, NotTaken,
    call::{self, Finished, Running},
    intake,
    lane::Lane,
    turn::{Done, State, Turn, Work},
};
use crate::{
    domain::{
        cloud_event::{CONTENT_TYPE, MAPPED_TYPE},
        outcome::AttemptResult,
        record::message_id,
    },
    random,
    store::{delivery, destination, ledger},
    transmission::Shipment,
};

/// Pause after a turn that the database refused.
const PAUSE: Duration = Duration::from_millis(250);
/// Every so many sweeps the lanes are compared with the tables: what a dead replica left waiting is found then.
const THOROUGH: u32 = 15;
/// Leases are renewed so many times before they would run out.
const RENEWALS: u32 = 3;

/// Runs the engine until `soft`, then lets running calls end for a while and gives the rest back.
pub async fn run(engine: Engine, soft: CancellationToken) -> Result<(), Infallible> {
    Looping::new(engine).run(soft).await;
    Ok(())
}

struct Looping {
    engine: Engine,
    state: State,
    finished_sender: mpsc::UnboundedSender<Finished>,
    finished: mpsc::UnboundedReceiver<Finished>,
    work: Work,
    replies: Vec<oneshot::Sender<Result<(), NotTaken>>>,
    next_sweep: Instant,
    next_renewal: Instant,
    sweeps: u32,
    must_turn: bool,
}

impl Looping {
    fn new(engine: Engine) -> Self {
        let (finished_sender, finished) = mpsc::unbounded_channel();
        let state = State {
            holder: format!("run_{}", random::hex()),
            lanes: BTreeMap::new(),
            version: None,
            running: std::collections::HashMap::new(),
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
            finished_sender,
            finished,
            work: Work::default(),
            replies: Vec::new(),
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
            if self.needs_turn() {
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
        let now = self.engine.clock.now();
        let limit = self.engine.options.in_flight_per_destination;
        let room = self.state.running.len() < self.engine.options.in_flight;
        self.must_turn
            || !self.replies.is_empty()
            || !self.work.finished.is_empty()
            || !self.work.run_out.is_empty()
            || self.work.renew
            || (room && self.state.lanes.values().any(|lane| lane.wants_turn(limit, now)))
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

    /// Brings memory in line with what was committed, and starts the calls that were claimed.
    fn apply(&mut self, work: Work, done: Done, now: Timestamp) {
        self.state.first = self.state.first.wrapping_add(1);
        if let Some(all) = done.reloaded {
            let changed = self.state.version != Some(done.version);
            let mut old = std::mem::take(&mut self.state.lanes);
            for with in all {
                let id = with.destination.id;
                let lane = match old.remove(&id) {
                    Some(mut lane) => {
                        lane.reload(with);
                        if changed {
                            lane.doubt();
                        }
                        lane
                    }
                    None => Lane::new(with),
                };
                self.state.lanes.insert(id, lane);
            }
            self.state.version = Some(done.version);
        }
        self.count_attempts(&work, now);
        for call in &work.finished {
            if let Some(run) = self.state.running.remove(&call.id)
                && let Some(lane) = self.state.lanes.get_mut(&run.destination)
            {
                lane.in_flight = lane.in_flight.saturating_sub(1);
            }
        }
        for (id, change) in done.results.health {
            if let Some(lane) = self.state.lanes.get_mut(&id) {
                lane.destination.health = change.health;
                lane.destination.note = change.note;
                if let Some(at) = change.retry_at {
                    lane.due_at(at);
                }
            }
            if let Some(reason) = change.disable {
                tracing::warn!(destination = %id, %reason, "a destination was disabled");
                self.must_turn = true;
                // The own event that tells of it is fetched at once.
                if let Some(reader) = self.engine.gaps.get(crate::events::SOURCE) {
                    reader.notify_one();
                }
            }
        }
        if !done.results.broken.is_empty() {
            self.must_turn = true;
        }
        for id in &done.stirred {
            if let Some(lane) = self.state.lanes.get_mut(id) {
                lane.ready = true;
            }
        }
        for (id, at) in done.later {
            if let Some(lane) = self.state.lanes.get_mut(&id) {
                lane.due_at(at);
            }
        }
        let sources = work.events.iter().map(|(event, _)| event.source.as_str());
        for source in sources.chain(work.quarantined.iter().map(|bad| bad.source.as_str())) {
            if !done.taken.gaps.contains(source) {
                self.state.open_gaps.remove(source);
            }
        }
        for source in done.taken.gaps {
            if let Some(reader) = self.engine.gaps.get(&source) {
                reader.notify_one();
            }
            self.state.open_gaps.insert(source);
        }
        self.engine.metrics.taken(done.taken.fresh, done.taken.repeated, work.quarantined.len());
        let occurred: std::collections::HashMap<_, _> =
            done.taken.released.iter().map(|event| (event.id, event.occurred_at)).collect();
        for claim in done.claims {
            let Some(lane) = self.state.lanes.get_mut(&claim.destination) else {
                continue;
            };
            lane.ready = !claim.exhausted;
            if let Some(next_due) = claim.next_due {
                lane.next_due = next_due;
                lane.unsure = false;
            } else if lane.next_due.is_some_and(|due| due <= now) {
                lane.unsure = true;
            }
            lane.spend(claim.claimed.len(), now);
            for claimed in claim.claimed {
                let event = done.bodies.get(&claimed.event_id).cloned();
                let (Some((body, traceparent)), Some(transmission)) = (event, lane.transmission.clone()) else {
                    // A foreign key and the claim forbid it; the lease runs out and the log tells.
                    tracing::error!(delivery = %claimed.id, "a delivery has no event or no way");
                    continue;
                };
                let number = claimed.attempts.saturating_add(1);
                let mapped = lane.destination.options.template.is_some() && claimed.body.is_some();
                let shipment = Shipment {
                    event_id: message_id(&claimed.event_id.to_string(), claimed.part),
                    destination_id: claim.destination,
                    transmission,
                    keys: Arc::clone(&lane.keys),
                    body: claimed.body.unwrap_or(body),
                    content_type: if mapped { MAPPED_TYPE } else { CONTENT_TYPE },
                    traceparent,
                    number,
                    timeout: lane.destination.options.limits.timeout,
                };
                let abort = call::start(&self.engine.carrier, claimed.id, shipment, &self.finished_sender);
                lane.in_flight += 1;
                let running = Running {
                    destination: claim.destination,
                    order_key: claimed.order_key,
                    number,
                    first_attempt_at: claimed.first_attempt_at,
                    occurred_at: occurred.get(&claimed.event_id).copied(),
                    abort,
                };
                self.state.running.insert(claimed.id, running);
            }
        }
    }

    fn count_attempts(&self, work: &Work, now: Timestamp) {
        for call in &work.finished {
            let Some(attempt) = &call.attempt else {
                continue;
            };
            let lag = self
                .state
                .running
                .get(&call.id)
                .and_then(|run| run.occurred_at)
                .filter(|_| attempt.result == AttemptResult::Taken)
                .map(|occurred_at| now.since(occurred_at));
            self.engine.metrics.attempt(attempt.result, attempt.latency, lag);
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
        for run in self.state.running.values() {
            run.abort.abort();
        }
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
