//! The whole state in RAM, and how records change it: the same code while serving and while replaying.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use lictor_clock::Timestamp;
use lictor_license_file::device::DeviceCounters;
use lictor_license_file::evidence::Evidence;
use lictor_license_file::limits::{MAX_EVIDENCE, MAX_QUESTIONS, MAX_SERIAL_BYTES, MAX_STATE_BYTES};
use lictor_license_file::segment::Question;
use lictor_license_file::state::VendorState;
use lictor_licensing::access::AccessId;
use lictor_licensing::id::{FirmCode, LicenseId, SessionId};
use lictor_signing::PublicKey;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};

use super::ask::Moment;
use super::blocks::{BlockId, Borrowed, MAX_BLOCKS};
use super::deciding::seats_of;
use super::firm::{Firm, License, find};
use super::record::{Record, read_keys, read_roots, write_keys, write_roots};
use super::session::{RequestId, Session, read_firm};
use super::taken_back::TakenBack;
use super::time::ProvenTime;
use super::units::Takings;
use super::usage::Usage;
use super::users::{Users, list_of};
use super::{MAX_FIRMS, MAX_SESSIONS};
use crate::store::journal::Replay;

/// Request ids of ended sessions that are remembered, so that a late copy of a message does not take a seat.
const ENDED_REMEMBERED: usize = 16_384;

/// The container of this folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Display name.
    pub serial: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Everything that the server remembers.
#[derive(Debug)]
pub struct State {
    device_key: PublicKey,
    /// The container, once there is one.
    pub container: Option<Container>,
    /// Its firms.
    pub firms: BTreeMap<FirmCode, Firm>,
    /// Live sessions.
    pub sessions: HashMap<SessionId, Session>,
    /// The session of each request.
    pub requests: HashMap<RequestId, SessionId>,
    /// Requests whose session has ended, the oldest first.
    ended: VecDeque<RequestId>,
    ended_set: std::collections::HashSet<RequestId>,
    /// Which time counts.
    pub time: ProvenTime,
    /// Imports that were taken back because the server did not start with them.
    pub taken_back: TakenBack,
    /// Units that were taken lately, by request.
    pub takings: Takings,
    /// Who is named for licences with named users.
    pub users: Users,
    /// How much each product was used, as far as it was written down.
    pub usage: Usage,
    /// Seats that are held under each reservation of the access rules.
    reserved: HashMap<String, u64>,
    /// Blocks of seats that other servers lend.
    pub blocks: BTreeMap<BlockId, Borrowed>,
}

impl State {
    /// The state of an empty folder with this device key.
    #[must_use]
    pub fn new(device_key: PublicKey) -> Self {
        Self {
            device_key,
            container: None,
            firms: BTreeMap::new(),
            sessions: HashMap::new(),
            requests: HashMap::new(),
            ended: VecDeque::new(),
            ended_set: std::collections::HashSet::new(),
            time: ProvenTime::default(),
            taken_back: TakenBack::default(),
            takings: Takings::default(),
            users: Users::default(),
            usage: Usage::default(),
            reserved: HashMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    /// A licence of the container, or the one that a block of seats is of.
    #[must_use]
    pub fn license(&self, firm: FirmCode, id: LicenseId) -> Option<&License> {
        let own = self.firms.get(&firm).and_then(|firm| firm.licenses.get(&id));
        own.or_else(|| self.block(id)?.license.as_ref())
    }

    /// The same, to be changed.
    pub fn license_mut(&mut self, firm: FirmCode, id: LicenseId) -> Option<&mut License> {
        find(&mut self.firms, &mut self.blocks, firm, id)
    }

    /// Whether a request's session has ended.
    #[must_use]
    pub fn is_ended(&self, request: &RequestId) -> bool {
        self.ended_set.contains(request)
    }

    /// The time by which licences are judged: never before what has been proven.
    #[must_use]
    pub fn effective(&self, moment: Moment) -> Timestamp {
        self.time.judged(moment)
    }

    /// Changes the state by a record. A record that was made by this program always fits.
    ///
    /// # Errors
    /// A sentence when the record does not fit the state.
    pub fn change(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::ContainerCreated { serial, at } => {
                self.container = Some(Container { serial: serial.clone(), created_at: *at });
            }
            Record::FirmAdded { firm, roots, issued_at } => {
                let vendor = VendorState::genesis(&self.device_key, *firm);
                self.firms.insert(*firm, Firm::new(vendor, roots.clone())?);
                self.time.see(*issued_at);
            }
            Record::RootsFollowed { firm, .. } | Record::SegmentApplied { firm, .. }
                if self.taken_back.holds(*firm) => {}
            Record::RootsFollowed { firm, roots } => self.firm_mut(*firm)?.follow_roots(roots)?,
            Record::SegmentApplied { firm, state, keys, issued_at, rebase } => {
                self.taken_back.forget(*firm);
                let vendor = VendorState::decode(state).map_err(|error| error.to_string())?;
                let firm = self.firm_mut(*firm)?;
                firm.set_vendor_state(vendor)?;
                firm.keys = keys.iter().cloned().collect();
                if let Some(floor) = rebase {
                    firm.rebased(floor);
                }
                self.time.see(*issued_at);
            }
            Record::ContextNumbered { firm, sequence, question } => {
                self.firm_mut(*firm)?.number_context(*sequence, *question);
            }
            Record::EvidenceKept { firm, evidence } => self.firm_mut(*firm)?.keep_evidence(evidence.clone()),
            Record::Granted { session, starts_usage } => {
                self.take_granted(session, *starts_usage);
                self.count_granted(session);
            }
            Record::Released { session, at } => {
                self.end(*session, *at);
            }
            Record::TimeSeen(noted) => self.time.take_note(*noted),
            Record::TimeStated { at, ahead_by } => {
                self.time.take_signed(*at, *ahead_by);
                self.firms.values_mut().for_each(|firm| firm.no_use_after(*at));
            }
            Record::UnitsTaken(taken) => self.units_were_taken(taken),
            Record::Moved { session, starts_usage } => {
                self.take_granted(session, *starts_usage);
            }
            Record::BlockLent { session, starts_usage } => {
                if !self.sessions.contains_key(&session.id) {
                    self.count_granted(session);
                }
                self.take_lent(session, *starts_usage);
            }
            Record::BlockAsked(asked) => {
                let fresh = || Borrowed::new(asked.block, asked.server.clone(), asked.wish.clone());
                let block = self.blocks.entry(asked.block).or_insert_with(fresh);
                block.number = asked.number;
                block.set_seats(asked.seats);
            }
            Record::BlockHeld { block, number, seats, terms } => {
                let block = self.blocks.get_mut(block).ok_or("there is no such block")?;
                block.number = *number;
                block.set_seats(*seats);
                block.set_terms(Arc::clone(terms))?;
            }
            Record::BlockDropped { block } => {
                self.blocks.remove(block);
            }
        }
        Ok(())
    }

    fn firm_mut(&mut self, firm: FirmCode) -> Result<&mut Firm, String> {
        self.firms.get_mut(&firm).ok_or_else(|| format!("firm {firm} is not in the container"))
    }

    /// Takes over a grant from the journal: seats, usage start, session. A session whose licence is gone is kept without a
    /// seat; [`super::keeper::Keeper::new`] finds it another one, or ends it.
    fn take_granted(&mut self, session: &Session, starts_usage: Option<Timestamp>) {
        let license = find(&mut self.firms, &mut self.blocks, session.firm_code, session.license);
        if let Some(license) = license
            && let Some(entry) = license.entry(session.part)
        {
            let places = entry.places();
            if let Some(list) = list_of(session.license, entry) {
                self.users.name(list, &session.names.user, session.station.as_str());
            }
            if let Some(at) = starts_usage {
                license.state.start_usage(places.usage_start, at);
            }
            let access = AccessId(session.id.to_u128());
            license.seats.pool_mut(places.pool).restore(access, session.access(), session.since);
        }
        self.remember(session.clone());
    }

    /// Takes over a block that was lent, or its new size.
    pub(super) fn take_lent(&mut self, session: &Session, starts_usage: Option<Timestamp>) {
        if !self.sessions.contains_key(&session.id) {
            return self.take_granted(session, starts_usage);
        }
        let access = AccessId(session.id.to_u128());
        if let Some(license) = self.license_mut(session.firm_code, session.license)
            && let Some(pool) = license.entry(session.part).map(|entry| entry.places().pool)
        {
            license.seats.pool_mut(pool).resize(access, session.seats);
        }
        self.remember(session.clone());
    }

    /// Counts a seat that was given.
    pub(super) fn count_granted(&mut self, session: &Session) {
        let (free, total) = seats_of(self, session.firm_code, session.product_code);
        self.usage.granted(session.firm_code, session.product_code, total.saturating_sub(free), session.since);
    }

    /// Adds a session whose seats are taken already.
    pub fn remember(&mut self, session: Session) {
        self.requests.insert(session.request_id, session.id);
        self.count_reserved(&session, true);
        if let Some(before) = self.sessions.insert(session.id, session) {
            self.count_reserved(&before, false);
        }
    }

    /// Counts a session's seats for or no longer for the reservations that it holds them under.
    fn count_reserved(&mut self, session: &Session, holds: bool) {
        for rule in &session.reserved {
            let held = self.reserved.entry(rule.clone()).or_default();
            let seats = u64::from(session.units());
            *held = if holds { held.saturating_add(seats) } else { held.saturating_sub(seats) };
            if *held == 0 {
                self.reserved.remove(rule);
            }
        }
    }

    /// Seats that are held under a reservation.
    #[must_use]
    pub fn reserved(&self, rule: &str) -> u32 {
        u32::try_from(self.reserved.get(rule).copied().unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Says anew under which reservations a session holds its seats, after the rules changed.
    pub fn set_reserved(&mut self, id: SessionId, reserved: Vec<String>) {
        let Some(session) = self.sessions.get(&id) else { return };
        self.remember(Session { reserved, ..session.clone() });
    }

    /// Ends a session and gives its seats back. None when it is not there, which a repeated message may well find.
    pub fn end(&mut self, id: SessionId, at: Timestamp) -> Option<Session> {
        let session = self.forget(id, at)?;
        if self.ended_set.insert(session.request_id) {
            self.ended.push_back(session.request_id);
        }
        while self.ended.len() > ENDED_REMEMBERED {
            if let Some(oldest) = self.ended.pop_front() {
                self.ended_set.remove(&oldest);
            }
        }
        Some(session)
    }

    /// Takes a session back as if it had never been, after its grant could not be written.
    pub fn forget(&mut self, id: SessionId, at: Timestamp) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.count_reserved(&session, false);
        self.requests.remove(&session.request_id);
        if let Some(license) = self.license_mut(session.firm_code, session.license) {
            license.seats.release(AccessId(id.to_u128()), at);
        }
        Some(session)
    }

    /// Sessions whose seat is gone because an update took their licence or module away.
    #[must_use]
    pub fn orphans(&self, firm: FirmCode) -> Vec<SessionId> {
        let Some(firm_state) = self.firms.get(&firm) else { return Vec::new() };
        let of_firm = self.sessions.values().filter(|session| session.firm_code == firm);
        of_firm
            .filter(|session| self.block(session.license).is_none())
            .filter(|session| {
                let access = AccessId(session.id.to_u128());
                firm_state.licenses.get(&session.license).is_none_or(|license| {
                    let pools = license.seats.pools();
                    !pools.into_iter().any(|pool| pool.access(access).is_some())
                })
            })
            .map(|session| session.id)
            .collect()
    }
}

impl Canonical for State {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(self.device_key.as_bytes()));
            fields.option(1, self.container.as_ref(), |w, container| {
                w.array(2);
                w.text(&container.serial);
                w.time(container.created_at);
            });
            fields.field(3, |w| {
                // The order must not depend on the map: equal states have equal bytes.
                let mut sessions: Vec<_> = self.sessions.values().collect();
                sessions.sort_by_key(|session| session.id);
                w.array(sessions.len());
                sessions.into_iter().for_each(|session| session.write(w));
            });
            fields.field(4, |w| {
                w.array(self.ended.len());
                self.ended.iter().for_each(|request| w.bytes(request));
            });
            let taken_back = (!self.taken_back.is_empty()).then_some(&self.taken_back);
            fields.option(6, taken_back, |w, taken_back| taken_back.write(w));
            fields.field(7, |w| self.time.write(w));
            // Each as a piece of its own, so that one that cannot be read any more does not take the others along.
            fields.field(8, |w| {
                w.array(self.firms.len());
                for (code, firm) in &self.firms {
                    w.array(2);
                    w.uint(u64::from(code.get()));
                    w.bytes(&encode_firm(firm));
                }
            });
            let takings = (!self.takings.is_empty()).then_some(&self.takings);
            fields.option(20, takings, |w, takings| takings.write(w));
            let users = (!self.users.is_empty()).then_some(&self.users);
            fields.option(30, users, |w, users| users.write(w));
            let usage = (!self.usage.is_empty()).then_some(&self.usage);
            fields.option(31, usage, |w, usage| usage.write(w));
            let blocks: Vec<_> = self.blocks.values().collect();
            let blocks = (!blocks.is_empty()).then_some(blocks);
            fields.option(32, blocks, |w, blocks| w.list(&blocks, |w, block| block.write(w)));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        Self::read_with(reader, TakenBack::default())
    }
}

impl State {
    /// Reads a state; the parts of firms that are taken back count in place of those that are written.
    fn read_with(reader: &mut Reader<'_>, mut taken_back: TakenBack) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let device_key = fields.required(0, Reader::fixed)?;
        let device_key = PublicKey::from_bytes(&device_key).map_err(|_| CborError::Value("device key"))?;
        let mut state = Self::new(device_key);
        state.container = fields.optional(1, |r| {
            if r.array(2)? != 2 {
                return Err(CborError::Value("a container has two parts"));
            }
            Ok(Container { serial: r.text(MAX_SERIAL_BYTES)?.to_owned(), created_at: r.time()? })
        })?;
        // Fields 2 and 5 are those of format 1.
        let mut firms = fields.optional(2, |r| r.list(MAX_FIRMS, read_firm_state))?.unwrap_or_default();
        let sessions = fields.required(3, |r| r.list(MAX_SESSIONS, Session::read))?;
        state.ended = fields.required(4, |r| r.list(ENDED_REMEMBERED, Reader::fixed))?.into();
        state.ended_set = state.ended.iter().copied().collect();
        let seen = fields.optional(5, Reader::time)?;
        let known = fields.optional(6, TakenBack::read)?;
        state.time = fields.optional(7, ProvenTime::read)?.unwrap_or_default();
        if let Some(seen) = seen {
            state.time.see(seen);
        }
        let pieces = fields.optional(8, |r| r.list(MAX_FIRMS, |r| read_piece(r, &taken_back)))?;
        state.takings = fields.optional(20, Takings::read)?.unwrap_or_default();
        state.users = fields.optional(30, Users::read)?.unwrap_or_default();
        state.usage = fields.optional(31, Usage::read)?.unwrap_or_default();
        let blocks = fields.optional(32, |r| r.list(MAX_BLOCKS, Borrowed::read))?.unwrap_or_default();
        state.blocks = blocks.into_iter().map(|block| (block.id, block)).collect();
        fields.end()?;
        firms.extend(pieces.unwrap_or_default());
        state.firms = firms.into_iter().map(|firm| (firm.code(), firm)).collect();
        for session in sessions {
            state.take_granted(&session, None);
        }
        taken_back.add_files(known.unwrap_or_default());
        state.taken_back = taken_back;
        Ok(state)
    }
}

/// A firm's part of the state, for keeping it aside.
#[must_use]
pub fn encode_firm(firm: &Firm) -> Vec<u8> {
    let mut writer = Writer::new();
    write_firm(&mut writer, firm);
    writer.into_bytes()
}

/// A context number that was surely not given yet, when the last one cannot be read any more.
const NUMBERS_LEFT_OUT: u64 = 1_000_000;

/// One firm of a snapshot, or its part from before an import that is taken back. What the device itself has counted since
/// then stays.
fn read_piece(reader: &mut Reader<'_>, taken_back: &TakenBack) -> Result<Firm, CborError> {
    if reader.array(2)? != 2 {
        return Err(CborError::Value("a firm has a code and a content"));
    }
    let code = read_firm(reader)?;
    let written = read_firm_state(&mut Reader::new(reader.bytes(usize::MAX)?));
    let Some(before) = taken_back.part(code) else { return written };
    let mut firm = read_firm_state(&mut Reader::new(before))?;
    match written {
        Ok(now) => {
            firm.raise_counters(&now.counters());
            firm.context_sequence = now.context_sequence;
            firm.evidence = now.evidence;
            firm.settled = now.settled;
            firm.questions = now.questions;
        }
        Err(_) => firm.context_sequence = firm.context_sequence.saturating_add(NUMBERS_LEFT_OUT),
    }
    Ok(firm)
}

fn write_firm(writer: &mut Writer, firm: &Firm) {
    writer.array(8);
    write_roots(writer, &firm.roots);
    writer.bytes(&cbor::encode(&firm.vendor));
    let keys: Vec<_> = firm.keys.clone().into_iter().collect();
    write_keys(writer, keys.iter());
    writer.uint(firm.context_sequence);
    writer.list(&firm.evidence, |w, piece| piece.write(w));
    firm.counters().write(writer);
    writer.bool(firm.settled);
    writer.list(&firm.questions, |w, question| question.write(w));
}

fn read_firm_state(reader: &mut Reader<'_>) -> Result<Firm, CborError> {
    let parts = reader.array(8)?;
    // Six in format 1.
    if parts != 6 && parts != 8 {
        return Err(CborError::Value("a firm has eight parts"));
    }
    let roots = read_roots(reader)?;
    let vendor = VendorState::decode(reader.bytes(MAX_STATE_BYTES)?)
        .map_err(|_| CborError::Value("the vendor-owned state of a firm"))?;
    let mut firm = Firm::new(vendor, roots).map_err(|_| CborError::Value("the licences of a firm"))?;
    firm.keys = read_keys(reader)?.into_iter().collect();
    firm.context_sequence = reader.uint()?;
    firm.evidence = reader.list(MAX_EVIDENCE, Evidence::read)?;
    firm.raise_counters(&DeviceCounters::read(reader)?);
    if parts == 8 {
        firm.settled = reader.bool()?;
        firm.questions = reader.list(MAX_QUESTIONS, Question::read)?;
    }
    Ok(firm)
}

impl Replay for State {
    fn restore(&self, bytes: &[u8]) -> Result<Self, String> {
        // Not compared with its own encoding: the seal of the snapshot says that this program wrote it.
        let mut reader = Reader::new(bytes);
        let state = Self::read_with(&mut reader, self.taken_back.clone()).map_err(|error| error.to_string())?;
        if state.device_key != self.device_key {
            return Err("it belongs to another device key".to_owned());
        }
        Ok(state)
    }

    fn apply(&mut self, record: &[u8]) -> Result<(), String> {
        let record = Record::from_bytes(record).map_err(|error| error.to_string())?;
        self.change(&record)
    }

    fn snapshot(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}
