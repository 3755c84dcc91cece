//! The whole state in RAM, and how records change it: the same code while serving and while replaying.

use std::collections::{BTreeMap, HashMap, VecDeque};

use lictor_clock::Timestamp;
use lictor_license_file::device::DeviceCounters;
use lictor_license_file::evidence::Evidence;
use lictor_license_file::limits::{MAX_EVIDENCE, MAX_SERIAL_BYTES, MAX_STATE_BYTES};
use lictor_license_file::state::VendorState;
use lictor_licensing::access::AccessId;
use lictor_licensing::id::{FirmCode, SessionId};
use lictor_signing::PublicKey;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};

use super::firm::Firm;
use super::record::{Record, read_keys, read_roots, write_keys, write_roots};
use super::session::{RequestId, Session};
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
    /// The latest time that is believed to have passed.
    pub time_floor: Timestamp,
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
            time_floor: Timestamp::UNIX_EPOCH,
        }
    }

    /// Whether a request's session has ended.
    #[must_use]
    pub fn is_ended(&self, request: &RequestId) -> bool {
        self.ended_set.contains(request)
    }

    /// The time by which licences are judged: never before what has been proven.
    #[must_use]
    pub fn effective(&self, now: Timestamp) -> Timestamp {
        now.max(self.time_floor)
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
                self.prove_time(*issued_at);
            }
            Record::RootsFollowed { firm, roots } => self.firm_mut(*firm)?.follow_roots(roots)?,
            Record::SegmentApplied { firm, state, keys, issued_at } => {
                let vendor = VendorState::decode(state).map_err(|error| error.to_string())?;
                let firm = self.firm_mut(*firm)?;
                firm.set_vendor_state(vendor)?;
                firm.keys = keys.iter().cloned().collect();
                self.prove_time(*issued_at);
            }
            Record::ContextNumbered { firm, sequence } => self.firm_mut(*firm)?.context_sequence = *sequence,
            Record::EvidenceKept { firm, evidence } => self.firm_mut(*firm)?.keep_evidence(evidence.clone()),
            Record::Granted { session, starts_usage } => self.take_granted(session, *starts_usage),
            Record::Released { session, at } => {
                self.end(*session, *at);
            }
            Record::TimeSeen { at } => self.prove_time(*at),
        }
        Ok(())
    }

    fn firm_mut(&mut self, firm: FirmCode) -> Result<&mut Firm, String> {
        self.firms.get_mut(&firm).ok_or_else(|| format!("firm {firm} is not in the container"))
    }

    /// Raises the proven time.
    pub fn prove_time(&mut self, at: Timestamp) {
        self.time_floor = self.time_floor.max(at);
    }

    /// Takes over a grant from the journal: seats, usage start, session.
    fn take_granted(&mut self, session: &Session, starts_usage: Option<Timestamp>) {
        let Some(license) =
            self.firms.get_mut(&session.firm_code).and_then(|firm| firm.licenses.get_mut(&session.license))
        else {
            return;
        };
        let Some(entry) = license.entries.get(session.part.index()) else { return };
        let places = entry.places();
        if let Some(at) = starts_usage {
            license.state.start_usage(places.usage_start, at);
        }
        let access = AccessId(session.id.to_u128());
        license.seats.pool_mut(places.pool).restore(access, session.access(), session.since);
        self.remember(session.clone());
    }

    /// Adds a session whose seats are taken already.
    pub fn remember(&mut self, session: Session) {
        self.requests.insert(session.request_id, session.id);
        self.sessions.insert(session.id, session);
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
        self.requests.remove(&session.request_id);
        if let Some(license) =
            self.firms.get_mut(&session.firm_code).and_then(|firm| firm.licenses.get_mut(&session.license))
        {
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
            fields.field(2, |w| {
                w.array(self.firms.len());
                self.firms.values().for_each(|firm| write_firm(w, firm));
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
            fields.field(5, |w| w.time(self.time_floor));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
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
        for firm in fields.required(2, |r| r.list(MAX_FIRMS, read_firm_state))? {
            state.firms.insert(firm.code(), firm);
        }
        for session in fields.required(3, |r| r.list(MAX_SESSIONS, Session::read))? {
            state.take_granted(&session, None);
        }
        state.ended = fields.required(4, |r| r.list(ENDED_REMEMBERED, Reader::fixed))?.into();
        state.ended_set = state.ended.iter().copied().collect();
        state.time_floor = fields.required(5, Reader::time)?;
        fields.end()?;
        Ok(state)
    }
}

fn write_firm(writer: &mut Writer, firm: &Firm) {
    writer.array(6);
    write_roots(writer, &firm.roots);
    writer.bytes(&cbor::encode(&firm.vendor));
    let keys: Vec<_> = firm.keys_after(&[]);
    write_keys(writer, keys.iter());
    writer.uint(firm.context_sequence);
    writer.list(&firm.evidence, |w, piece| piece.write(w));
    firm.counters().write(writer);
}

fn read_firm_state(reader: &mut Reader<'_>) -> Result<Firm, CborError> {
    if reader.array(6)? != 6 {
        return Err(CborError::Value("a firm has six parts"));
    }
    let roots = read_roots(reader)?;
    let vendor = VendorState::decode(reader.bytes(MAX_STATE_BYTES)?)
        .map_err(|_| CborError::Value("the vendor-owned state of a firm"))?;
    let mut firm = Firm::new(vendor, roots).map_err(|_| CborError::Value("the licences of a firm"))?;
    firm.keys = read_keys(reader)?.into_iter().collect();
    firm.context_sequence = reader.uint()?;
    firm.evidence = reader.list(MAX_EVIDENCE, Evidence::read)?;
    firm.restore_counters(&DeviceCounters::read(reader)?);
    Ok(firm)
}

impl Replay for State {
    fn restore(&self, bytes: &[u8]) -> Result<Self, String> {
        // Not compared with its own encoding: the seal of the snapshot says that this program wrote it.
        let mut reader = Reader::new(bytes);
        let state = Self::read(&mut reader).map_err(|error| error.to_string())?;
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
