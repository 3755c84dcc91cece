//! Who holds which seat, and for how long without contact. Decides; the caller writes the journal.

mod deadlines;
mod parents;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::decide::grant;
use lictor_licensing::id::SessionId;
use lictor_licensing::item::Part;
use lictor_licensing::refusal::{Reason, Refusal, RefusalLine};
use lictor_signing::PublicKey;
use tokio::sync::oneshot;

use super::MAX_SESSIONS;
use super::ask::{Answer, Ask, AskError, Attached, Given, Moment, Signed, StreamEnd};
pub use super::ask::{Undo, Unwritten};
use super::blocks::lent_for;
use super::deciding::{Regard, overloaded, request};
use super::firm::find;
use super::peer::PeerContainer;
use super::record::Record;
use super::rules::Rules;
use super::session::Session;
use super::state::State;
use super::users::list_of;
use super::waiting::Waiting;
use crate::settings::SessionTimes;

/// What a session has only while the process lives.
#[derive(Debug, Default)]
struct Live {
    deadline: Option<Duration>,
    /// What the last grant or revalidation promised, with its tenth; a stream that breaks takes nothing of it back.
    promised: Duration,
    stream: Option<oneshot::Sender<StreamEnd>>,
    generation: u64,
    /// Somebody asked for it again under its name, so that it is known whatever becomes of the first answer.
    asked_again: bool,
    /// Where the client was seen last.
    container: Option<Arc<PeerContainer>>,
    /// When it was granted, since boot; none for one of an earlier life of the server.
    since: Option<Duration>,
}

/// The state and the sessions that live on it.
#[derive(Debug)]
pub struct Keeper {
    /// What is remembered.
    pub state: State,
    live: HashMap<SessionId, Live>,
    deadlines: BTreeSet<(Duration, SessionId)>,
    ends: BTreeSet<(Timestamp, SessionId)>,
    times: SessionTimes,
    version: semver::Version,
    generations: u64,
    unwritten: Vec<Record>,
    /// Why no seats are given, when what the container is bound to is away.
    suspended: Option<String>,
    /// Who waits for seats.
    pub(super) waiting: Waiting,
    /// Sessions that have ended and that nobody was told of yet.
    over: Vec<Session>,
    /// Who may take which seats.
    pub(super) rules: Arc<Rules>,
}

/// A span and a tenth: the server waits longer than the client, never shorter.
pub(super) fn and_a_tenth(span: Duration) -> Duration {
    span + span / 10
}

impl Keeper {
    /// Takes over a state after a start. Every session gets the full time again: nobody knows when its client was last
    /// there.
    #[must_use]
    pub fn new(state: State, times: SessionTimes, version: semver::Version, moment: Moment) -> Self {
        let mut keeper = Self {
            live: HashMap::with_capacity(state.sessions.len()),
            deadlines: BTreeSet::new(),
            ends: BTreeSet::new(),
            state,
            times,
            version,
            generations: 0,
            unwritten: Vec::new(),
            suspended: None,
            waiting: Waiting::default(),
            over: Vec::new(),
            rules: Arc::new(Rules::none()),
        };
        keeper.state.time.run(moment.boottime);
        let sessions: Vec<_> = keeper.state.sessions.values().map(|session| (session.id, session.ends_at)).collect();
        let time = keeper.times.revalidate_within.max(keeper.times.reconnect_grace);
        for (id, ends_at) in sessions {
            keeper.track(id, ends_at);
            // What was promised before is not known any more, so it counts as promised now, also once a stream breaks.
            let is_block = keeper.state.sessions.get(&id).is_some_and(|session| session.block.is_some());
            let time = if is_block { lent_for(keeper.times.block_time) } else { and_a_tenth(time) };
            keeper.promise_for(id, time, moment);
        }
        // What an update meant for the sessions may not have been written before a crash; it comes out the same again.
        let firms: Vec<_> = keeper.state.firms.keys().copied().collect();
        for firm in firms {
            let (records, _) = keeper.settle(firm, moment);
            keeper.unwritten.extend(records);
        }
        keeper.end_all_modules_without_parent(moment);
        keeper
    }

    /// Stops the grants for a reason, or lets them go on. What is held stays held.
    pub fn suspend(&mut self, reason: Option<String>) {
        self.suspended = reason;
    }

    /// Why no seats are given at present, whatever the licences say.
    #[must_use]
    pub fn suspended(&self) -> Option<&str> {
        self.suspended.as_deref()
    }

    /// What the start has changed, and what followed from other changes; to be written before anything else is.
    pub fn take_unwritten(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.unwritten)
    }

    /// The version of this server.
    pub(super) const fn version(&self) -> &semver::Version {
        &self.version
    }

    /// When a session was granted, since boot; none for one of an earlier life of the server.
    pub(super) fn since(&self, id: SessionId) -> Option<Duration> {
        self.live.get(&id)?.since
    }

    /// The sessions that have ended since this was asked last.
    pub fn take_over(&mut self) -> Vec<Session> {
        std::mem::take(&mut self.over)
    }

    /// How long sessions live without contact.
    #[must_use]
    pub const fn times(&self) -> SessionTimes {
        self.times
    }

    /// Answers a wish. A grant comes with the record that must be durable before anybody hears of it.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn acquire(
        &mut self,
        ask: &Ask,
        id: SessionId,
        moment: Moment,
    ) -> Result<(Answer, Option<Unwritten>), AskError> {
        if let Some(session) = self.state.requests.get(&ask.request_id).and_then(|id| self.state.sessions.get(id)) {
            if session.asked != ask.asked || session.client_key != ask.client_key {
                return Err(AskError::RequestIdReused);
            }
            if !self.is_confirmed(session, moment) {
                return Err(AskError::Unconfirmed);
            }
            let given = self.given(session.clone());
            self.locate(given.session.id, ask.container.clone());
            // The client counts from this answer, whatever became of the one before.
            self.promise(given.session.id, moment);
            if let Some(live) = self.live.get_mut(&given.session.id) {
                live.asked_again = true;
            }
            return Ok((Answer::Granted(Box::new(given)), None));
        }
        if self.state.is_ended(&ask.request_id) {
            return Err(AskError::Ended);
        }
        if let Some(waiter) = self.waiting.queues.get(&ask.request_id)
            && (waiter.ask.asked != ask.asked || waiter.ask.client_key != ask.client_key)
        {
            return Err(AskError::RequestIdReused);
        }
        // Whoever asks without waiting waits no longer.
        self.waiting.queues.leave(&ask.request_id);
        Ok(match self.take(ask, Regard::Everybody(ask), id, moment) {
            Ok((given, unwritten)) => (Answer::Granted(given), Some(unwritten)),
            Err(refusal) => (Answer::Refused(refusal), None),
        })
    }

    /// Takes a seat for a wish that has none yet.
    pub(super) fn take(
        &mut self,
        ask: &Ask,
        regard: Regard<'_>,
        id: SessionId,
        moment: Moment,
    ) -> Result<(Box<Given>, Unwritten), Refusal> {
        if self.state.sessions.len() >= MAX_SESSIONS {
            return Err(overloaded(ask.product_code));
        }
        let now = self.state.effective(moment);
        let request = request(ask, id);
        let (license_id, choice) = self.decide(&request, regard, now)?;
        let license = find(&mut self.state.firms, &mut self.state.blocks, ask.firm_code, license_id.0);
        let license = license.ok_or_else(|| Refusal::not_found(ask.product_code))?;
        let entry = &license.entries[license_id.1];
        let usage =
            choice.starts_usage.map(|part| (ask.firm_code, license_id.0, part, license.state.part(part).clone()));
        // Nothing lies between the decision and this, so nobody can have been faster.
        grant(&request, entry, &mut license.state, &mut license.seats, now)
            .map_err(|_| overloaded(ask.product_code))?;
        let user = &ask.names.user;
        let list = list_of(license_id.0, entry);
        let named = list.filter(|list| self.state.users.name(*list, user, ask.station.as_str()));
        let session = Session {
            id,
            request_id: ask.request_id,
            asked: ask.asked,
            client_key: ask.client_key,
            nonce: ask.nonce,
            firm_code: ask.firm_code,
            license: license_id.0,
            part: entry.part(),
            product_code: ask.product_code,
            feature_map: entry.feature_map(),
            mode: ask.mode,
            seats: ask.seats,
            counted: entry.counts(ask.mode),
            station: ask.station.clone(),
            since: now,
            ends_at: choice.ends_at,
            linger: entry.options().linger_time.map(|linger| linger.get()).unwrap_or_default(),
            names: ask.names.clone(),
            address: ask.address,
            reserved: self.rules.fitting(&ask.caller(), ask.wish()),
            block: None,
        };
        self.state.remember(session.clone());
        self.track(id, session.ends_at);
        self.locate(id, ask.container.clone());
        if let Some(live) = self.live.get_mut(&id) {
            live.since = Some(moment.boottime);
        }
        self.state.count_granted(&session);
        self.promise(id, moment);
        let record = Record::granted(&session, choice.starts_usage.map(|_| now));
        let undo = Undo { session: Some(id), units: None, usage, named: named.map(|list| (list, user.clone())) };
        Ok((Box::new(self.given(session)), (record, undo)))
    }

    fn given(&self, session: Session) -> Given {
        let license = self.state.license(session.firm_code, session.license);
        let entry = license.and_then(|license| license.entry(session.part));
        let options = entry.map(lictor_licensing::effective::EffectiveEntry::options);
        Given {
            text: options
                .and_then(|options| options.text.as_ref())
                .map(|text| text.as_str().to_owned())
                .unwrap_or_default(),
            quantity: options.and_then(|options| options.license_quantity).map(|quantity| quantity.count()),
            module_of: entry.filter(|_| session.part != Part::Parent).map(|entry| entry.parent_code()),
            signed: Signed::default(),
            terms: self.state.block(session.license).and_then(|block| block.terms.clone()),
            session,
        }
    }

    /// Ends all streams without ending a session: the server stops, and its clients come back to the next one.
    pub fn close_streams(&mut self) {
        self.live.values_mut().for_each(|live| live.stream = None);
        self.waiting.queues.clear();
    }

    /// Takes back a grant whose record could not be written.
    pub fn undo(&mut self, undo: Undo, now: Timestamp) {
        if let Some(id) = undo.session
            && let Some(session) = self.state.forget(id, now)
        {
            self.untrack(id, session.ends_at);
            self.state.usage.not_granted(session.firm_code, session.product_code);
            if let Some((list, user)) = undo.named {
                self.state.users.unname(list, &user, session.station.as_str());
            }
            self.seats_may_be_free(session.firm_code, session.license);
        }
        if let Some(request) = undo.units {
            self.state.takings.forget(&request);
        }
        if let Some((firm, license, part, before)) = undo.usage
            && let Some(license) = self.state.license_mut(firm, license)
        {
            license.state.restore(part, before);
        }
    }

    /// The session, if it is this client's.
    fn owned(&self, id: SessionId, client_key: &PublicKey) -> Option<&Session> {
        // A block is no seat of a program: its borrower keeps it by its questions alone.
        let own = |session: &&Session| session.client_key == *client_key && session.block.is_none();
        self.state.sessions.get(&id).filter(own)
    }

    /// The same, unless its time is over already.
    #[must_use]
    pub fn held_by(&self, id: SessionId, client_key: &PublicKey, moment: Moment) -> Option<&Session> {
        let session = self.owned(id, client_key)?;
        let deadline = self.live.get(&id).and_then(|live| live.deadline);
        let over = deadline.is_some_and(|deadline| deadline <= moment.boottime)
            || session.ends_at.is_some_and(|end| end <= self.state.effective(moment))
            || !self.is_confirmed(session, moment);
        (!over).then_some(session)
    }

    /// The key of a session's client, for checking a proof.
    #[must_use]
    pub fn client_key(&self, id: SessionId) -> Option<PublicKey> {
        self.state.sessions.get(&id).map(|session| session.client_key)
    }

    /// Holds a session by a stream; an older stream of it ends. None when the session is not there for this client.
    pub fn attach(&mut self, id: SessionId, client_key: &PublicKey) -> Option<Attached> {
        self.owned(id, client_key)?;
        self.clear_deadline(id);
        self.generations += 1;
        let generation = self.generations;
        let (sender, end) = oneshot::channel();
        let license = self.state.sessions.get(&id).map(|session| session.license);
        let until = license.and_then(|license| self.state.block(license)).map(|block| block.promises());
        let live = self.live.entry(id).or_default();
        live.generation = generation;
        if let Some(older) = live.stream.replace(sender) {
            // Its client is on its way here already.
            let _ = older.send(StreamEnd::Replaced);
        }
        Some(Attached { generation, end, until })
    }

    /// A stream is gone: the seat stays reserved for the reconnect grace, and for as long as was promised before the
    /// stream, whichever is longer. An older stream than the last changes nothing.
    pub fn detach(&mut self, id: SessionId, generation: u64, moment: Moment) {
        if let Some(live) = self.live.get_mut(&id)
            && live.generation == generation
        {
            live.stream = None;
            let promised = live.promised.saturating_sub(moment.boottime);
            self.reserve(id, and_a_tenth(self.times.reconnect_grace).max(promised), moment);
        }
    }

    /// Keeps a session without a stream for another while. False when the session is not there for this client.
    pub fn revalidate(&mut self, id: SessionId, client_key: &PublicKey, moment: Moment) -> bool {
        if self.owned(id, client_key).is_none() {
            return false;
        }
        self.promise(id, moment);
        true
    }

    /// Gives a seat back at its client's wish; gives the record when there was one.
    pub fn release(&mut self, id: SessionId, client_key: &PublicKey, moment: Moment) -> Option<Record> {
        self.owned(id, client_key)?;
        self.end(id, moment, || StreamEnd::Released)
    }

    /// Ends every session whose time without contact is over or whose licence has ended.
    pub fn expire(&mut self, moment: Moment) -> Vec<Record> {
        if !self.state.blocks.is_empty() {
            self.pause_blocks(moment);
        }
        let mut records = Vec::new();
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= moment.boottime
        {
            self.deadlines.remove(&(deadline, id));
            records.extend(self.end(id, moment, || StreamEnd::Released));
        }
        let now = self.state.effective(moment);
        while let Some((at, id)) = self.ends.first().copied()
            && at <= now
        {
            self.ends.remove(&(at, id));
            records.extend(self.end_for(id, moment, Reason::Expired { at }));
        }
        records
    }

    pub(super) fn end_for(&mut self, id: SessionId, moment: Moment, reason: Reason) -> Option<Record> {
        let serial = self.state.container.as_ref().map(|container| container.serial.clone());
        let product_code = self.state.sessions.get(&id)?.product_code;
        let line = RefusalLine { serial, product_code, reason, holders: Vec::new(), free_at: None, instead: None };
        self.end(id, moment, || StreamEnd::Over(line))
    }

    fn end(&mut self, id: SessionId, moment: Moment, told: impl FnOnce() -> StreamEnd) -> Option<Record> {
        let at = self.state.effective(moment);
        let session = self.state.end(id, at)?;
        self.seat_given_back(&session, moment);
        if let Some(stream) = self.untrack(id, session.ends_at) {
            // A client that is gone needs not be told.
            let _ = stream.send(told());
        }
        let parent =
            (session.part == Part::Parent).then(|| (session.firm_code, session.license, session.access().client));
        self.over.push(session);
        if let Some((firm, license, client)) = parent {
            self.end_modules_without_parent(firm, license, client, moment);
        }
        Some(Record::Released { session: id, at })
    }

    /// Notes in which container a session's client is. On a restart it is unknown until the client comes back.
    pub fn locate(&mut self, id: SessionId, container: Option<Arc<PeerContainer>>) {
        if let Some(live) = self.live.get_mut(&id) {
            live.container = container;
        }
    }

    /// The container of a session's client, as far as it is known.
    #[must_use]
    pub fn container(&self, id: SessionId) -> Option<&Arc<PeerContainer>> {
        self.live.get(&id)?.container.as_ref()
    }

    /// Ends every session of a container that has ended: no program in it is left that could believe in its seat.
    pub fn container_ended(&mut self, container: &str, moment: Moment) -> Vec<Record> {
        let gone = |live: &Live| live.container.as_ref().is_some_and(|known| known.id == container);
        let mut ids: Vec<SessionId> = self.live.iter().filter(|(_, live)| gone(live)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.end(id, moment, || StreamEnd::Released)).collect()
    }

    /// Whether a session is held by a stream now; else its seat is only reserved.
    #[must_use]
    pub fn is_held(&self, id: SessionId) -> bool {
        self.live.get(&id).is_some_and(|live| live.stream.is_some())
    }

    /// Whether a session may be held or kept now; false for one of a block whose lender has not confirmed it.
    #[must_use]
    pub fn may_promise(&self, id: SessionId, moment: Moment) -> bool {
        self.state.sessions.get(&id).is_none_or(|session| self.is_confirmed(session, moment))
    }

    /// Ends the stream of a session whose seat cannot be promised any longer; what is left of its time runs out.
    pub(super) fn pause(&mut self, id: SessionId, left: Duration, moment: Moment) {
        let Some(live) = self.live.get_mut(&id) else { return };
        if live.stream.take().is_some() {
            self.reserve(id, left, moment);
        }
    }

    /// Ends a block that was given back.
    pub(super) fn end_block(&mut self, id: SessionId, moment: Moment) -> Option<Record> {
        self.end(id, moment, || StreamEnd::Released)
    }
}
