//! The lender's side: how a question about a block is decided.

use lictor_licensing::access::{AccessMode, Origin, Seats};
use lictor_licensing::decide::{check_validity, grant};
use lictor_licensing::effective::EffectiveEntry;
use lictor_licensing::id::SessionId;
use lictor_licensing::item::{Part, ProductItem};
use lictor_licensing::options::{Options, Quantity};
use lictor_licensing::refusal::{Reason, Refusal, RefusalLine};

use super::{BlockId, MAX_BLOCK_SEATS, holder, lent_for};
use crate::domain::MAX_SESSIONS;
use crate::domain::ask::{Ask, Moment, Undo};
use crate::domain::deciding::{Found, Regard, overloaded, request};
use crate::domain::keeper::Keeper;
use crate::domain::record::Record;
use crate::domain::session::{ClientNames, Session};

/// Why a question has no answer by licence.
#[derive(Debug)]
pub enum LendError {
    /// The block's id came before for something else, or from somebody else.
    Reused,
    /// The block is over: given back, or kept for too long without a word.
    Ended,
    /// A later question was answered already.
    Overtaken,
    /// No seat, and why.
    Refused(Refusal),
}

/// In advance goes one of so many seats that are left.
const IN_ADVANCE: u32 = 8;

/// A block after a question.
#[derive(Clone, Debug)]
pub struct Lent {
    /// The session that is the block; none when it has no seats.
    pub session: Option<Box<Session>>,
    /// What must be durable before the answer leaves.
    pub record: Option<Record>,
    /// The block as it was before; none when it is new.
    pub before: Option<Box<Session>>,
}

/// A question with the wish behind it.
#[derive(Clone, Debug)]
pub struct Borrowing {
    /// Who asks for what; the request id is the block's, the seats do not count.
    pub ask: Ask,
    /// Number of the question.
    pub number: u64,
    /// Seats that the block shall have.
    pub seats: u32,
    /// How many of them are in use or waited for.
    pub needed: u32,
}

impl Keeper {
    /// Decides a question. `id` is the session of a new block. Its time begins anew with every answer.
    ///
    /// # Errors
    /// See [`LendError`]; nothing is changed then.
    pub fn lend(
        &mut self,
        borrowing: &Borrowing,
        id: SessionId,
        moment: Moment,
    ) -> Result<(Lent, Option<Undo>), LendError> {
        let Borrowing { ask, number, seats, needed } = borrowing;
        let known = self.state.requests.get(&ask.request_id).and_then(|id| self.state.sessions.get(id));
        let Some(known) = known.cloned() else {
            return if self.state.is_ended(&ask.request_id) {
                Err(LendError::Ended)
            } else {
                self.lend_new(ask, *number, (*seats, *needed), id, moment)
            };
        };
        let (Some(answered), true) = (known.block, known.asked == ask.asked && known.client_key == ask.client_key)
        else {
            return Err(LendError::Reused);
        };
        if *number < answered {
            return Err(LendError::Overtaken);
        }
        let held = known.seats.get();
        let wanted = if *number == answered { held } else { (*seats).min(MAX_BLOCK_SEATS) };
        let next = if wanted <= held {
            wanted
        } else {
            let room = self.room_for(&known, ask, moment);
            held + given(wanted - held, needed.saturating_sub(held), room)
        };
        let before = Some(Box::new(known.clone()));
        let Ok(next) = Seats::new(next) else {
            let record = self.end_block(known.id, moment);
            return Ok((Lent { session: None, record, before }, None));
        };
        let session = Session { seats: next, block: Some(*number), address: ask.address, ..known };
        let record =
            (*number != answered).then(|| Record::BlockLent { session: Box::new(session.clone()), starts_usage: None });
        self.state.take_lent(&session, None);
        self.promise_block(session.id, moment);
        if session.seats.get() < held {
            self.seats_may_be_free(session.firm_code, session.license);
        }
        Ok((Lent { session: Some(Box::new(session)), record, before }, None))
    }

    fn lend_new(
        &mut self,
        ask: &Ask,
        number: u64,
        (seats, needed): (u32, u32),
        id: SessionId,
        moment: Moment,
    ) -> Result<(Lent, Option<Undo>), LendError> {
        if seats == 0 {
            return Ok((Lent { session: None, record: None, before: None }, None));
        }
        if self.state.sessions.len() >= MAX_SESSIONS {
            return Err(LendError::Refused(overloaded(ask.product_code)));
        }
        let now = self.state.effective(moment);
        let mut request = request(ask, id);
        // Its programs come from wherever the borrower lets them come from.
        (request.client, request.origin) = (holder(&ask.request_id), Origin::Network);
        (request.mode, request.seats) = (AccessMode::UserLimit, Seats::ONE);
        let regard = Regard::Everybody(ask);
        // What is borrowed is not lent on: its time would have to be shorter than that of the block it comes from.
        let own: Vec<Found> = self
            .state
            .firms
            .get(&ask.firm_code)
            .map(|firm| firm.of_product(ask.product_code).to_vec())
            .unwrap_or_default();
        let ((license_id, place), choice) =
            self.decide_among(&request, &own, regard, now).map_err(LendError::Refused)?;
        let refusal = || LendError::Refused(overloaded(ask.product_code));
        let room = self.room_at((license_id, place), ask);
        let license = self.state.license_mut(ask.firm_code, license_id).ok_or_else(refusal)?;
        let entry = license.entries.get(place).ok_or_else(refusal)?;
        if let Err(option) = lendable(entry) {
            return Err(LendError::Refused(not_lendable(ask, option)));
        }
        let Ok(seats) = Seats::new(given(seats, needed.max(1), room).clamp(1, MAX_BLOCK_SEATS)) else {
            return Err(refusal());
        };
        request.seats = seats;
        let usage = choice.starts_usage.map(|part| (ask.firm_code, license_id, part, license.state.part(part).clone()));
        grant(&request, entry, &mut license.state, &mut license.seats, now).map_err(|_| refusal())?;
        let session = Session {
            id,
            request_id: ask.request_id,
            asked: ask.asked,
            client_key: ask.client_key,
            nonce: [0; 32],
            firm_code: ask.firm_code,
            license: license_id,
            part: entry.part(),
            product_code: ask.product_code,
            feature_map: entry.feature_map(),
            mode: AccessMode::UserLimit,
            seats,
            counted: true,
            station: ask.station.clone(),
            since: now,
            ends_at: choice.ends_at,
            linger: std::time::Duration::ZERO,
            names: ClientNames { program: "block of seats".to_owned(), ..ask.names.clone() },
            address: ask.address,
            reserved: self.rules.fitting(&ask.caller(), ask.wish()),
            block: Some(number),
        };
        self.state.remember(session.clone());
        self.track(id, session.ends_at);
        self.state.count_granted(&session);
        self.promise_block(id, moment);
        let starts_usage = choice.starts_usage.map(|_| now);
        let record = Some(Record::BlockLent { session: Box::new(session.clone()), starts_usage });
        let undo = Undo { session: Some(id), units: None, usage, named: None };
        Ok((Lent { session: Some(Box::new(session)), record, before: None }, Some(undo)))
    }

    /// Seats that a block has now.
    #[must_use]
    pub fn lent_to(&self, block: &BlockId) -> u32 {
        let session = self.state.requests.get(block).and_then(|id| self.state.sessions.get(id));
        session.filter(|session| session.block.is_some()).map_or(0, |session| session.seats.get())
    }

    /// Takes back what could not be written.
    pub fn undo_lent(&mut self, lent: &Lent, undo: Option<Undo>, moment: Moment) {
        match (undo, &lent.before) {
            (Some(undo), _) => self.undo(undo, moment.now),
            (None, Some(before)) if lent.session.is_some() => self.state.take_lent(before, None),
            (None, _) => {}
        }
    }

    /// The time of a block begins.
    fn promise_block(&mut self, id: SessionId, moment: Moment) {
        self.promise_for(id, lent_for(self.times().block_time), moment);
    }

    /// Seats by which a block may grow.
    fn room_for(&self, session: &Session, ask: &Ask, moment: Moment) -> u32 {
        if self.suspended().is_some() {
            return 0;
        }
        let now = self.state.effective(moment);
        let Some(license) = self.state.license(session.firm_code, session.license) else { return 0 };
        let place = license.entries.iter().position(|entry| entry.part() == session.part);
        let Some((place, entry)) = place.and_then(|place| Some((place, license.entries.get(place)?))) else { return 0 };
        let enabled =
            entry.is_enabled() && ![Part::Parent, entry.part()].iter().any(|part| license.state.part(*part).disabled);
        if !enabled || check_validity(entry, &license.state, now).is_err() {
            return 0;
        }
        self.room_at((session.license, place), ask)
    }

    /// Whether few seats are left where a block comes from.
    #[must_use]
    pub fn is_scarce(&self, session: &Session) -> bool {
        let license = self.state.license(session.firm_code, session.license);
        let pool =
            license.and_then(|license| Some(license.seats.pool(license.entry(session.part)?.places().pool).report()));
        pool.is_some_and(|pool| pool.free.unwrap_or(0) < pool.total.unwrap_or(0) / IN_ADVANCE + 1)
    }

    /// What a borrower needs to know of what he is lent.
    #[must_use]
    pub fn lent_item(&self, session: &Session) -> Option<ProductItem> {
        let license = self.state.license(session.firm_code, session.license)?;
        let options = license.entry(session.part)?.options();
        let item = Options {
            product_code: Some(session.product_code),
            feature_map: Some(session.feature_map),
            text: options.text.clone(),
            license_quantity: Quantity::new(session.seats.get()).ok(),
            activation_time: options.activation_time,
            expiration_time: session.ends_at,
            linger_time: options.linger_time,
            bindings: license.entries.first().and_then(|parent| parent.options().bindings),
            ..Options::default()
        };
        ProductItem::new(item, Vec::new()).ok()
    }
}

/// What is given of seats that are wanted: those that are needed now as far as there are any, and in advance a part of what
/// is left then, so that a few servers do not keep all of a small licence.
fn given(wanted: u32, needed: u32, room: u32) -> u32 {
    let now = needed.min(wanted).min(room);
    now + (wanted - now).min((room - now) / IN_ADVANCE)
}

/// Whether a server that is not the licence's own can keep all that the entry asks for; else what it cannot.
fn lendable(entry: &EffectiveEntry) -> Result<(), &'static str> {
    let options = entry.options();
    let kept_here = [
        (options.license_quantity.is_none(), "it does not count seats"),
        (options.named_users.is_some(), "it is for named users"),
        (options.unit_counter.is_some(), "it counts units"),
        (options.maintenance_period.is_some(), "it has a maintenance period"),
        (entry.requires_parent(), "it needs a seat of its product item"),
    ];
    kept_here.into_iter().find(|(kept_here, _)| *kept_here).map_or(Ok(()), |(_, what)| Err(what))
}

fn not_lendable(ask: &Ask, what: &str) -> Refusal {
    Refusal::one(RefusalLine {
        serial: None,
        product_code: ask.product_code,
        reason: Reason::BorrowFailed,
        holders: Vec::new(),
        free_at: None,
        instead: Some(format!(
            "name this licence server in CODEMETER_HOST of the program: the license cannot be lent, {what}"
        )),
    })
}

/// The id of a block as people see it.
#[must_use]
pub fn shown(block: &BlockId) -> String {
    block.iter().map(|byte| format!("{byte:02x}")).collect()
}
