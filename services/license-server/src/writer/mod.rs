//! The one thread that changes the state: it decides in memory, writes one batch, syncs once, and only then answers.
//!
//! A batch takes what is waiting, up to 256 records. When the batches before were shared by several clients, it waits up to
//! two milliseconds for more; a client that is alone never waits.

mod admin;
mod blocks;
mod containers;
mod events;
mod gather;
mod handle;
mod import;
mod problem;
mod replies;
mod signing;
mod time;
mod turns;
mod units;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use lictor_clock::SharedClock;
use lictor_license_file::device::DeviceProfile;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::SessionId;
use lictor_signing::PublicKey;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub use admin::Created;
pub use blocks::{Lending, Next};
pub use events::{Events, MAX_EVENTS, MAX_WATCHERS};
use gather::{BATCH_COMMANDS, Crowd};
use handle::{Answered, Command, Look};
pub use handle::{Held, Ledger, MAX_WAITING};
pub use import::Imported;
pub(crate) use problem::{broken, no_space};
use replies::{Reply, deliver};
pub use time::TimeImported;
pub use turns::Turns;
pub(crate) use units::no_session;
pub use waiting::Visit;

use crate::domain::ask::{Answer, Ask, Moment};
use crate::domain::event::{Event, EventType};
use crate::domain::keeper::{Keeper, Undo};
use crate::domain::noticing::Noticing;
use crate::domain::record::Record;
use crate::listen::Channel;
use crate::metrics::Metrics;
use crate::store::keys::Secrets;
use crate::store::probation::Probation;
use crate::store::{Journal, Replay as _, StoreError};

/// Most records that one sync carries.
pub const BATCH_RECORDS: usize = 256;
/// How often expired sessions are looked for, and how long a release may stay unwritten.
const TICK: Duration = Duration::from_millis(250);
/// How often the time is noted.
const TIME_NOTE: Duration = Duration::from_secs(60);

/// What the writer works with.
#[derive(Debug)]
pub struct Parts {
    /// The journal, open.
    pub journal: Journal,
    /// The state out of it.
    pub keeper: Keeper,
    /// The folder's keys.
    pub secrets: Arc<Secrets>,
    /// What decides which updates fit.
    pub profile: DeviceProfile,
    /// The clock.
    pub clock: SharedClock,
    /// Counters.
    pub metrics: Metrics,
    /// What goes back when the server does not start.
    pub probation: Probation,
}

/// The writer.
pub struct Writer {
    journal: Journal,
    pub(crate) keeper: Keeper,
    secrets: Arc<Secrets>,
    profile: DeviceProfile,
    clock: SharedClock,
    metrics: Metrics,
    time_noted: Duration,
    suspect: bool,
    nonces: time::Nonces,
    /// What goes back when the server does not start with what was imported in its present life.
    probation: Probation,
    /// Records that may be written with the next batch: their loss would only cost time.
    lazy: Vec<Vec<u8>>,
    batch: Batch,
    full: bool,
    fatal: Option<String>,
    /// Who is told what happens.
    pub(crate) events: Events,
    noticing: Noticing,
    crowd: Crowd,
    /// Where answers are handed over; none without its own thread.
    runtime: Option<Handle>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("journal", &self.journal).field("full", &self.full).finish_non_exhaustive()
    }
}

/// What waits for the next sync.
#[derive(Default)]
struct Batch {
    records: Vec<Vec<u8>>,
    undo: Vec<Undo>,
    answers: Vec<(Answered, oneshot::Sender<Answered>)>,
    /// Answers of those who waited for their turn.
    served: Vec<waiting::Turned>,
    units: Vec<units::Waiting>,
    /// Answers that need no record; they go with the others.
    replies: Vec<Reply>,
    /// What to tell of once it is durable.
    events: Vec<Event>,
    reads: Vec<Look>,
}

/// Starts the thread. `failed` is called when it has to give up; no answer is given after that.
///
/// # Errors
/// When no thread can be started.
pub fn start(parts: Parts, failed: impl FnOnce(String) + Send + 'static) -> std::io::Result<Ledger> {
    let (mut writer, receiver, waiting, ledger) = Writer::prepare(parts);
    writer.runtime = Handle::try_current().ok();
    std::thread::Builder::new().name("lictor-writer".to_owned()).spawn(move || {
        writer.run(&receiver, &waiting);
        if let Some(reason) = writer.fatal.take() {
            // The commands that still wait are dropped with the receiver: nobody gets an answer that is not durable.
            drop(receiver);
            failed(reason);
        }
    })?;
    Ok(ledger)
}

impl Writer {
    /// A writer that has not begun, what it is asked by, and the handle for that.
    fn prepare(parts: Parts) -> (Self, Receiver<Command>, Arc<AtomicUsize>, Ledger) {
        let (sender, receiver) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let events = Events::default();
        let ledger = Ledger::new(sender, Arc::clone(&waiting), events.clone());
        let time_noted = parts.clock.boottime();
        let mut parts = parts;
        let lazy = parts.keeper.take_unwritten().iter().map(Record::to_bytes).collect();
        let mut noticing = Noticing::default();
        // What is there at the start is no news.
        noticing.changes(&parts.keeper.state, parts.clock.now());
        let writer = Self {
            journal: parts.journal,
            keeper: parts.keeper,
            secrets: parts.secrets,
            profile: parts.profile,
            clock: parts.clock,
            metrics: parts.metrics,
            time_noted,
            suspect: false,
            nonces: time::Nonces::default(),
            probation: parts.probation,
            lazy,
            batch: Batch::default(),
            full: false,
            fatal: None,
            events,
            noticing,
            crowd: Crowd::default(),
            runtime: None,
        };
        (writer, receiver, waiting, ledger)
    }

    fn run(&mut self, receiver: &Receiver<Command>, waiting: &AtomicUsize) {
        let mut last_tick = Instant::now();
        while self.fatal.is_none() {
            let until_tick = TICK.saturating_sub(last_tick.elapsed());
            match receiver.recv_timeout(until_tick) {
                Ok(command) => {
                    let mut moment = self.moment();
                    let mut taken = 1;
                    let mut stop = self.take(command, moment);
                    let begun = Instant::now();
                    while stop.is_none() && self.batch.records.len() < BATCH_RECORDS && taken < BATCH_COMMANDS {
                        match receiver.try_recv() {
                            Ok(command) => {
                                taken += 1;
                                // Its own: it may have been asked long after the batch began.
                                moment = self.moment();
                                stop = self.take(command, moment);
                            }
                            Err(TryRecvError::Empty) if self.crowd.waits(taken, begun) => {}
                            Err(_) => break,
                        }
                    }
                    waiting.fetch_sub(taken, Ordering::Relaxed);
                    self.crowd.went(taken);
                    self.commit(moment);
                    if let Some(done) = stop {
                        self.note_time(moment);
                        self.flush_lazy();
                        // Whoever asked may have left.
                        let _ = done.send(());
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                self.tick();
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), boottime: self.clock.boottime() }
    }

    /// Does one command in memory; gives the one to tell when it was the last.
    fn take(&mut self, command: Command, moment: Moment) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Acquire { ask, first, reply } => {
                self.crowd.came(&ask.client_key, moment.boottime);
                self.expire(moment);
                self.keeper.advance(ask.firm_code, ask.product_code, moment);
                let answer = self.acquire(&ask, first, moment);
                self.batch.answers.push((answer, reply));
            }
            Command::Wait(newcomer) => self.newcomer(*newcomer, moment),
            Command::Leave { request, visit } => self.left(&request, visit, moment),
            Command::Attach { session, channel, ledger, reply } => {
                let client = self.client(session, &channel);
                if client.is_some() && !self.keeper.may_promise(session, moment) {
                    self.batch.replies.push(Reply::Held(Err(blocks::unconfirmed()), reply));
                    return None;
                }
                let attached = client.and_then(|key| self.keeper.attach(session, &key));
                if attached.is_some() {
                    self.keeper.locate(session, channel.container().cloned());
                }
                let held = attached.map(|attached| Held::new(attached, session, ledger));
                self.batch.replies.push(Reply::Held(Ok(held), reply));
            }
            Command::Detach { session, generation } => self.keeper.detach(session, generation, moment),
            Command::Revalidate { session, channel, reply } => {
                self.expire(moment);
                let client = self.client(session, &channel);
                let confirmed = self.keeper.may_promise(session, moment);
                let kept = match client {
                    Some(_) if !confirmed => Err(blocks::unconfirmed()),
                    Some(key) => Ok(self.keeper.revalidate(session, &key, moment)),
                    None => Ok(false),
                };
                self.batch.replies.push(Reply::Kept(kept, reply));
            }
            Command::Release { session, channel, reply } => {
                let client = self.client(session, &channel);
                if let Some(record) = client.and_then(|key| self.keeper.release(session, &key, moment)) {
                    self.lazy.push(record.to_bytes());
                    self.metrics.released();
                    self.tell_over(EventType::SeatReleased, moment);
                }
                self.batch.replies.push(Reply::Released(reply));
            }
            Command::TakeUnits { wish, channel, reply } => {
                self.expire(moment);
                self.take_units(wish, &channel, reply, moment);
            }
            Command::Read(look) => self.batch.reads.push(look),
            Command::Change(change) => {
                // Changes write by themselves, after what was promised before them.
                self.commit(moment);
                if self.fatal.is_none() {
                    change(self, moment);
                }
            }
            Command::Stop(done) => return Some(done),
        }
        None
    }

    /// The client of a session, when it has proved itself on the connection that the command came on.
    fn client(&self, session: SessionId, channel: &Channel) -> Option<PublicKey> {
        self.keeper.client_key(session).filter(|key| channel.has_proved(key))
    }

    fn acquire(&mut self, ask: &Ask, first: bool, moment: Moment) -> Result<Answer, Problem> {
        let id = Self::fresh_id(moment)?;
        match self.keeper.acquire(ask, id, moment) {
            Ok((answer, grant)) => {
                if !first || !matches!(answer, Answer::Refused(_)) {
                    self.note_answer(ask, &answer, grant.is_some(), moment);
                }
                if let Some((record, undo)) = grant {
                    self.batch.records.push(record);
                    self.batch.undo.push(undo);
                }
                Ok(answer)
            }
            Err(error) => Err(waiting::ask_problem(error)),
        }
    }

    fn fresh_id(moment: Moment) -> Result<SessionId, Problem> {
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|_| {
            Problem::new(ErrorCode::Internal, "the licence server has no random bytes", "look into its log")
        })?;
        Ok(SessionId::new(moment.now, random))
    }

    /// Makes the batch durable and answers; or takes it back and says why.
    fn commit(&mut self, moment: Moment) {
        self.serve(moment);
        let mut batch = std::mem::take(&mut self.batch);
        let records = std::mem::take(&mut batch.records);
        let failed = if records.is_empty() { Ok(()) } else { self.append(records) };
        match failed {
            Ok(()) => {
                self.sign(batch.all_answers());
                self.answer(batch.replies, batch.answers);
                batch.units.into_iter().for_each(units::Waiting::answer);
                self.answer_served(batch.served, moment);
                self.tell(batch.events);
            }
            Err(StoreError::Full(_)) => {
                for undo in batch.undo.drain(..).rev() {
                    self.keeper.undo(undo, moment.now);
                }
                batch.all_answers().for_each(|answer| self.unless_undone(answer));
                self.sign(batch.all_answers());
                self.answer(batch.replies, batch.answers);
                batch.units.into_iter().for_each(|waiting| waiting.answer_unless(no_space()));
                let served = self.keep_in_place(batch.served);
                self.answer_served(served, moment);
            }
            // Nothing is answered: nobody knows what the disk holds.
            Err(_) => return,
        }
        self.tell_over(EventType::SeatExpired, moment);
        for look in batch.reads {
            look(&self.keeper, moment);
        }
        self.metrics.state(self.keeper.state.sessions.len(), self.journal.syncs());
        if self.journal.wants_snapshot() {
            self.snapshot();
        }
    }

    fn answer(&self, mut replies: Vec<Reply>, answers: Vec<(Answered, oneshot::Sender<Answered>)>) {
        answers.iter().for_each(|(answer, _)| self.metrics.answered(answer));
        replies.extend(answers.into_iter().map(|(answer, to)| Reply::Wish(answer, to)));
        deliver(replies, self.runtime.as_ref());
    }

    /// A grant whose session was taken back becomes the sentence about the full disk.
    fn unless_undone(&self, answer: &mut Answered) {
        if let Ok(Answer::Granted(given)) = answer
            && !self.keeper.state.sessions.contains_key(&given.session.id)
        {
            *answer = Err(no_space());
        }
    }

    /// Writes records with all that waited to be written along.
    fn append(&mut self, records: impl IntoIterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        self.take_what_followed();
        let mut all = std::mem::take(&mut self.lazy);
        let lazy = all.len();
        all.extend(records);
        // A batch has its limits; what waits may be more after a full disk.
        let written = all.chunks(crate::store::batch::MAX_RECORDS).try_fold(0, |done, chunk| {
            self.journal.append(chunk).map(|()| done + chunk.len()).map_err(|error| (done, error))
        });
        match written {
            Ok(_) => {
                self.full = false;
                Ok(())
            }
            Err((done, error)) => {
                all.truncate(lazy);
                self.lazy = all.split_off(done.min(lazy));
                self.note(&error);
                Err(error)
            }
        }
    }

    /// Remembers what a failure means for the rest of the process' life.
    fn note(&mut self, error: &StoreError) {
        match error {
            StoreError::Full(_) => {
                if !self.full {
                    tracing::error!("the disk is full: no seats are given and no updates imported until there is room");
                }
                self.full = true;
            }
            other => {
                let cause = std::error::Error::source(other).map(|cause| format!(": {cause}")).unwrap_or_default();
                self.fatal.get_or_insert(format!("{other}{cause}"));
            }
        }
    }

    /// Whether the last write found no room.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full
    }

    fn expire(&mut self, moment: Moment) {
        for record in self.keeper.expire(moment) {
            self.lazy.push(record.to_bytes());
            self.metrics.expired();
        }
    }

    fn tick(&mut self) {
        let moment = self.moment();
        self.expire(moment);
        self.keeper.look_at_blocks(moment);
        self.look_after_waiters(moment);
        self.tell_over(EventType::SeatExpired, moment);
        let minute = moment.boottime.saturating_sub(self.time_noted) >= TIME_NOTE;
        self.notice(moment, minute);
        if moment.boottime.saturating_sub(self.time_noted) >= TIME_NOTE {
            self.note_time(moment);
            self.tell_suspicion(moment);
        }
        self.flush_lazy();
    }

    /// Notes how far the time has come.
    fn note_time(&mut self, moment: Moment) {
        let passed = moment.boottime.saturating_sub(self.time_noted);
        self.time_noted = moment.boottime;
        let time = &mut self.keeper.state.time;
        if let Some(noted) = time.note(moment, passed) {
            time.take_note(noted);
            time.run(moment.boottime);
            self.lazy.push(Record::TimeSeen(noted).to_bytes());
        }
    }

    /// Says once when the clock begins or ceases to be suspect.
    fn tell_suspicion(&mut self, moment: Moment) {
        let suspect = self.keeper.state.time.is_suspect(moment);
        if suspect && !self.suspect {
            let proven = self.keeper.state.time.floor(moment.boottime);
            tracing::warn!(clock = %moment.now, %proven, "the clock is not believed: dated licences are judged by the proven time");
        } else if self.suspect && !suspect {
            tracing::info!(clock = %moment.now, "the clock is believed again");
        }
        self.suspect = suspect;
    }

    /// Records of what followed from a change without being asked for.
    fn take_what_followed(&mut self) {
        self.lazy.extend(self.keeper.take_unwritten().iter().map(Record::to_bytes));
    }

    fn flush_lazy(&mut self) {
        self.take_what_followed();
        if !self.lazy.is_empty() && self.append([]).is_ok() {
            self.metrics.state(self.keeper.state.sessions.len(), self.journal.syncs());
            if self.journal.wants_snapshot() {
                self.snapshot();
            }
        }
    }

    fn snapshot(&mut self) {
        let state = self.keeper.state.snapshot();
        if let Err(error) = self.journal.snapshot(&state) {
            self.note(&error);
        }
    }
}
