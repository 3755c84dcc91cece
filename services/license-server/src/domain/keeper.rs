//! Who holds which seat, and for how long without contact. Decides; the caller writes the journal.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::access::{AccessId, Location, LocationOrder, Request};
use lictor_licensing::decide::{Candidate, Choice, Situation, decide, grant};
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode, SessionId};
use lictor_licensing::item::Part;
use lictor_licensing::refusal::{Reason, Refusal, RefusalLine};
use lictor_licensing::state::PartState;
use lictor_signing::PublicKey;
use tokio::sync::oneshot;

use super::MAX_SESSIONS;
use super::ask::{Answer, Ask, AskError, Attached, Given, Moment, StreamEnd};
use super::record::Record;
use super::session::{Session, client_instance};
use super::state::State;
use crate::settings::SessionTimes;

/// What a session has only while the process lives.
#[derive(Debug, Default)]
struct Live {
    deadline: Option<Duration>,
    /// What the last grant or revalidation promised, with its tenth; a stream that breaks takes nothing of it back.
    promised: Duration,
    stream: Option<oneshot::Sender<StreamEnd>>,
    generation: u64,
}

/// A grant that waits for its record to be durable: the record's bytes, and the way back.
pub type Unwritten = (Vec<u8>, Undo);

/// What must be taken back when a grant cannot be written.
#[derive(Debug)]
pub struct Undo {
    session: SessionId,
    usage: Option<(FirmCode, LicenseId, Part, PartState)>,
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
}

/// A span and a tenth: the server waits longer than the client, never shorter.
fn and_a_tenth(span: Duration) -> Duration {
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
        };
        keeper.state.time.run(moment.boottime);
        let sessions: Vec<_> = keeper.state.sessions.values().map(|session| (session.id, session.ends_at)).collect();
        let time = keeper.times.revalidate_within.max(keeper.times.reconnect_grace);
        for (id, ends_at) in sessions {
            keeper.track(id, ends_at);
            keeper.reserve(id, and_a_tenth(time), moment);
        }
        // What an update meant for the sessions may not have been written before a crash; it comes out the same again.
        let firms: Vec<_> = keeper.state.firms.keys().copied().collect();
        for firm in firms {
            let (records, _) = keeper.settle(firm, moment);
            keeper.unwritten.extend(records);
        }
        keeper
    }

    /// What the start has changed; to be written before anything else is.
    pub fn take_unwritten(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.unwritten)
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
        ask: Ask,
        id: SessionId,
        moment: Moment,
    ) -> Result<(Answer, Option<Unwritten>), AskError> {
        if let Some(session) = self.state.requests.get(&ask.request_id).and_then(|id| self.state.sessions.get(id)) {
            if session.asked != ask.asked || session.client_key != ask.client_key {
                return Err(AskError::RequestIdReused);
            }
            return Ok((Answer::Granted(Box::new(self.given(session.clone()))), None));
        }
        if self.state.is_ended(&ask.request_id) {
            return Err(AskError::Ended);
        }
        if self.state.sessions.len() >= MAX_SESSIONS {
            return Ok((Answer::Refused(overloaded(ask.product_code)), None));
        }
        let now = self.state.effective(moment);
        let request = request(&ask, id);
        let (license_id, choice) = match self.decide(&request, now) {
            Ok(decided) => decided,
            Err(refusal) => return Ok((Answer::Refused(refusal), None)),
        };
        let firm = self.state.firms.get_mut(&ask.firm_code);
        let license = firm.and_then(|firm| firm.licenses.get_mut(&license_id.0));
        let Some(license) = license else {
            return Ok((Answer::Refused(Refusal::not_found(ask.product_code)), None));
        };
        let entry = &license.entries[license_id.1];
        let usage =
            choice.starts_usage.map(|part| (ask.firm_code, license_id.0, part, license.state.part(part).clone()));
        if grant(&request, entry, &mut license.state, &mut license.seats, now).is_err() {
            // Nothing lies between the decision and this, so nobody can have been faster.
            return Ok((Answer::Refused(overloaded(ask.product_code)), None));
        }
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
            station: ask.station,
            since: now,
            ends_at: choice.ends_at,
            linger: entry.options().linger_time.map(|linger| linger.get()).unwrap_or_default(),
            names: ask.names,
        };
        self.state.remember(session.clone());
        self.track(id, session.ends_at);
        self.promise(id, moment);
        let starts_usage = choice.starts_usage.map(|_| now);
        let record = Record::granted(&session, starts_usage);
        Ok((Answer::Granted(Box::new(self.given(session))), Some((record, Undo { session: id, usage }))))
    }

    fn given(&self, session: Session) -> Given {
        let firm = self.state.firms.get(&session.firm_code);
        let license = firm.and_then(|firm| firm.licenses.get(&session.license));
        let entry = license.and_then(|license| license.entry(session.part));
        let options = entry.map(lictor_licensing::effective::EffectiveEntry::options);
        Given {
            text: options
                .and_then(|options| options.text.as_ref())
                .map(|text| text.as_str().to_owned())
                .unwrap_or_default(),
            quantity: options.and_then(|options| options.license_quantity).map(|quantity| quantity.count()),
            module_of: entry.filter(|_| session.part != Part::Parent).map(|entry| entry.parent_code()),
            session,
        }
    }

    /// Ends all streams without ending a session: the server stops, and its clients come back to the next one.
    pub fn close_streams(&mut self) {
        self.live.values_mut().for_each(|live| live.stream = None);
    }

    /// What [`Keeper::acquire`] would answer, without taking anything.
    ///
    /// # Errors
    /// The refusal.
    pub fn explain(&self, ask: &Ask, moment: Moment) -> Result<(LicenseId, usize), Refusal> {
        let request = request(ask, SessionId::from_u128(u128::from_be_bytes(ask.request_id)));
        self.decide(&request, self.state.effective(moment)).map(|(place, _)| place)
    }

    pub(super) fn decide(&self, request: &Request, now: Timestamp) -> Result<((LicenseId, usize), Choice), Refusal> {
        let (Some(container), Some(firm)) = (&self.state.container, self.state.firms.get(&request.firm_code)) else {
            return Err(Refusal::not_found(request.product_code));
        };
        let places = firm.of_product(request.product_code);
        let candidates: Vec<Candidate<'_>> = places
            .iter()
            .filter_map(|(id, place)| {
                let license = firm.licenses.get(id)?;
                Some(Candidate {
                    serial: &container.serial,
                    location: Location::Local,
                    container_disabled: false,
                    firm_disabled: false,
                    veto: None,
                    entry: license.entries.get(*place)?,
                    state: &license.state,
                    seats: &license.seats,
                })
            })
            .collect();
        let situation = Situation { now, server_version: &self.version };
        let choice = decide(request, &candidates, &situation)?;
        // Every place has its candidate: entries are resolved together with the index.
        let place = places.get(choice.candidate).copied().ok_or_else(|| Refusal::not_found(request.product_code))?;
        Ok((place, choice))
    }

    /// Lets lingering seats of a product go, before a decision about it.
    pub fn advance(&mut self, firm: FirmCode, product: ProductCode, moment: Moment) {
        let now = self.state.effective(moment);
        let Some(firm) = self.state.firms.get_mut(&firm) else { return };
        let licenses: Vec<LicenseId> = firm.of_product(product).iter().map(|(id, _)| *id).collect();
        for id in licenses {
            if let Some(license) = firm.licenses.get_mut(&id) {
                license.seats.advance(now);
            }
        }
    }

    /// Takes back a grant whose record could not be written.
    pub fn undo(&mut self, undo: Undo, now: Timestamp) {
        if let Some(session) = self.state.forget(undo.session, now) {
            self.untrack(undo.session, session.ends_at);
        }
        if let Some((firm, license, part, before)) = undo.usage
            && let Some(license) = self.state.firms.get_mut(&firm).and_then(|firm| firm.licenses.get_mut(&license))
        {
            license.state.restore(part, before);
        }
    }

    /// The session, if it is this client's.
    fn owned(&self, id: SessionId, client_key: &PublicKey) -> Option<&Session> {
        self.state.sessions.get(&id).filter(|session| session.client_key == *client_key)
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
        let live = self.live.entry(id).or_default();
        live.generation = generation;
        if let Some(older) = live.stream.replace(sender) {
            // Its client is on its way here already.
            let _ = older.send(StreamEnd::Replaced);
        }
        Some(Attached { generation, end })
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
        if let Some(stream) = self.untrack(id, session.ends_at) {
            // A client that is gone needs not be told.
            let _ = stream.send(told());
        }
        Some(Record::Released { session: id, at })
    }

    /// Whether a session is held by a stream now; else its seat is only reserved.
    #[must_use]
    pub fn is_held(&self, id: SessionId) -> bool {
        self.live.get(&id).is_some_and(|live| live.stream.is_some())
    }

    fn track(&mut self, id: SessionId, ends_at: Option<Timestamp>) {
        self.live.entry(id).or_default();
        if let Some(at) = ends_at {
            self.ends.insert((at, id));
        }
    }

    /// A session ends by its licence at another time than before.
    pub(super) fn set_end(&mut self, id: SessionId, before: Option<Timestamp>, end: Option<Timestamp>) {
        if let Some(at) = before {
            self.ends.remove(&(at, id));
        }
        if let Some(at) = end {
            self.ends.insert((at, id));
        }
    }

    fn untrack(&mut self, id: SessionId, ends_at: Option<Timestamp>) -> Option<oneshot::Sender<StreamEnd>> {
        self.clear_deadline(id);
        if let Some(at) = ends_at {
            self.ends.remove(&(at, id));
        }
        self.live.remove(&id)?.stream
    }

    /// The client may believe in its seat until it has to revalidate.
    fn promise(&mut self, id: SessionId, moment: Moment) {
        let time = and_a_tenth(self.times.revalidate_within);
        let Some(live) = self.live.get_mut(&id) else { return };
        live.promised = moment.boottime + time;
        // While a stream is open there is no deadline; the promise counts once it breaks.
        if live.stream.is_none() {
            self.reserve(id, time, moment);
        }
    }

    /// Keeps the seat for the session that long without any contact.
    fn reserve(&mut self, id: SessionId, time: Duration, moment: Moment) {
        let deadline = moment.boottime + time;
        let Some(live) = self.live.get_mut(&id) else { return };
        if let Some(old) = live.deadline.replace(deadline) {
            self.deadlines.remove(&(old, id));
        }
        self.deadlines.insert((deadline, id));
        self.announce(id, Some(moment.now.saturating_add(time)));
    }

    fn clear_deadline(&mut self, id: SessionId) {
        if let Some(old) = self.live.get_mut(&id).and_then(|live| live.deadline.take()) {
            self.deadlines.remove(&(old, id));
            self.announce(id, None);
        }
    }

    /// Lets refusals say when a reserved seat comes free.
    fn announce(&mut self, id: SessionId, end: Option<Timestamp>) {
        let Some(session) = self.state.sessions.get(&id) else { return };
        let firm = self.state.firms.get_mut(&session.firm_code);
        let Some(license) = firm.and_then(|firm| firm.licenses.get_mut(&session.license)) else { return };
        let Some(pool) = license.entry(session.part).map(|entry| entry.places().pool) else { return };
        license.seats.pool_mut(pool).announce_end(AccessId(id.to_u128()), end);
    }
}

fn request(ask: &Ask, id: SessionId) -> Request {
    Request {
        firm_code: ask.firm_code,
        product_code: ask.product_code,
        feature_map: ask.feature_map,
        mode: ask.mode,
        seats: ask.seats,
        access: AccessId(id.to_u128()),
        client: client_instance(&ask.client_key),
        station: ask.station.clone(),
        origin: ask.origin,
        locations: LocationOrder::default(),
        release_date: ask.release_date,
        require_maintenance: false,
        take_units: None,
        best_match: None,
    }
}

/// The refusal of a server that holds as many sessions as it can, or has too much to do.
#[must_use]
pub fn overloaded(product_code: ProductCode) -> Refusal {
    Refusal::one(RefusalLine {
        serial: None,
        product_code,
        reason: Reason::Overloaded,
        holders: Vec::new(),
        free_at: None,
        instead: Some("ask again in a moment".to_owned()),
    })
}
