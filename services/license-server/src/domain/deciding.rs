//! Which entry serves a wish: what the licences say, and beside it what access rules, named users and those who wait say.

use std::collections::HashSet;
use std::sync::Arc;

use lictor_clock::Timestamp;
use lictor_licensing::access::{AccessId, Location, LocationOrder, Request};
use lictor_licensing::decide::{Candidate, Choice, HeldBack, Situation, decide};
use lictor_licensing::effective::EffectiveEntry;
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode, SessionId};
use lictor_licensing::refusal::{Reason, Refusal, RefusalLine};

use super::ask::{Ask, Moment};
use super::keeper::Keeper;
use super::queue::Place;
use super::rules::{Caller, Effect, Reservation, Rules, Wish, room_beside};
use super::session::{Session, client_instance};
use super::state::State;

/// An entry by licence and place among its entries.
pub type Found = (LicenseId, usize);

/// What counts beside the licences themselves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Regard<'a> {
    /// Nothing: a session that is there already only changes its licence.
    Nothing,
    /// The rules, and everybody who waits: somebody who comes now.
    Everybody(&'a Ask),
    /// The rules, and those who claim these pools: somebody whose turn it may be.
    Those(&'a Ask, &'a HashSet<Place>),
}

/// Seats that reservations leave to a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Room {
    /// Seats of the product that are free.
    free: u32,
    /// How many of them the caller may take.
    room: u32,
    /// How many of them are kept for the caller himself, whoever waits.
    own: u32,
}

/// One entry with what it would answer by itself.
#[derive(Debug)]
pub struct Verdict {
    /// The entry.
    pub found: Found,
    /// The refusal, unless it would serve.
    pub refusal: Option<RefusalLine>,
}

impl Keeper {
    /// What an acquire would answer, without taking anything.
    ///
    /// # Errors
    /// The refusal.
    pub fn explain(&self, ask: &Ask, moment: Moment) -> Result<Found, Refusal> {
        let request = request(ask, SessionId::from_u128(u128::from_be_bytes(ask.request_id)));
        self.decide(&request, Regard::Everybody(ask), self.state.effective(moment)).map(|(place, _)| place)
    }

    /// What every entry of the product would answer by itself.
    #[must_use]
    pub fn verdicts(&self, ask: &Ask, moment: Moment) -> Vec<Verdict> {
        let request = request(ask, SessionId::from_u128(u128::from_be_bytes(ask.request_id)));
        let now = self.state.effective(moment);
        let places = self.state.places(ask.firm_code, ask.product_code);
        places
            .iter()
            .map(|found| {
                let decided = self.decide_among(&request, &[*found], Regard::Everybody(ask), now);
                let refusal = decided.err().map(|refusal| refusal.nearest().clone());
                Verdict { found: *found, refusal }
            })
            .collect()
    }

    pub(super) fn decide(
        &self,
        request: &Request,
        regard: Regard<'_>,
        now: Timestamp,
    ) -> Result<(Found, Choice), Refusal> {
        if self.state.blocks.is_empty() {
            let places = self.state.firms.get(&request.firm_code).map(|firm| firm.of_product(request.product_code));
            return self.decide_among(request, places.unwrap_or_default(), regard, now);
        }
        self.decide_among(request, &self.state.places(request.firm_code, request.product_code), regard, now)
    }

    pub(super) fn decide_among(
        &self,
        request: &Request,
        places: &[Found],
        regard: Regard<'_>,
        now: Timestamp,
    ) -> Result<(Found, Choice), Refusal> {
        let room = self.room(regard);
        let vetoes: Vec<Option<Reason>> =
            places.iter().map(|found| self.veto(request.firm_code, *found, regard)).collect();
        // By place of the candidate: an entry that cannot be found any more is none.
        let mut found = Vec::with_capacity(places.len());
        let candidates: Vec<Candidate<'_>> = places
            .iter()
            .zip(&vetoes)
            .filter_map(|((id, place), veto)| {
                let license = self.state.license(request.firm_code, *id)?;
                let entry = license.entries.get(*place)?;
                let terms = self.state.block(*id).map(|block| block.terms.as_deref());
                let (serial, location) = match terms {
                    Some(terms) => (terms?.serial.as_str(), Location::Lan),
                    None => (self.state.container.as_ref()?.serial.as_str(), Location::Local),
                };
                found.push((*id, *place));
                Some(Candidate {
                    serial,
                    location,
                    container_disabled: location == Location::Local && self.suspended().is_some(),
                    firm_disabled: false,
                    veto: veto.as_ref(),
                    held_back: self.held_back((*id, entry.places().pool), regard, room),
                    entry,
                    state: &license.state,
                    seats: &license.seats,
                })
            })
            .collect();
        let situation = Situation { now, server_version: self.version() };
        let choice = decide(request, &candidates, &situation).map_err(|refusal| self.saying_why(refusal))?;
        let place = found.get(choice.candidate).copied().ok_or_else(|| Refusal::not_found(request.product_code))?;
        Ok((place, choice))
    }

    /// A container that gives nothing at present says why.
    fn saying_why(&self, refusal: Refusal) -> Refusal {
        let Some(reason) = self.suspended() else { return refusal };
        let mut lines = refusal.lines().to_vec();
        for line in lines.iter_mut().filter(|line| line.reason == Reason::ContainerDisabled) {
            line.instead = Some(reason.to_owned());
        }
        Refusal::new(lines).unwrap_or(refusal)
    }

    /// Why a caller may not use an entry, whatever seats are free.
    fn veto(&self, firm: FirmCode, (id, place): Found, regard: Regard<'_>) -> Option<Reason> {
        if self.state.block(id).is_some_and(|block| !block.serves()) {
            return Some(Reason::NoNetworkServer);
        }
        let ask = regard.ask()?;
        if !self.rules().allow_all() {
            let decision = self.rules().decide(&ask.caller(), ask.wish());
            if decision.effect == Effect::Deny {
                return Some(decision.rule.map_or(Reason::AccessDenied, |rule| Reason::DeniedByRule { rule }));
            }
        }
        let entry: &EffectiveEntry = self.state.license(firm, id).and_then(|license| license.entries.get(place))?;
        self.state.users.check(id, entry, &ask.names.user, ask.station.as_str()).err()
    }

    fn held_back(&self, place: Place, regard: Regard<'_>, room: Option<Room>) -> Option<HeldBack> {
        let awaited = match regard {
            Regard::Nothing => false,
            Regard::Everybody(_) => self.queues().claims(&place),
            Regard::Those(_, claimed) => claimed.contains(&place),
        };
        match (awaited, room) {
            // What is kept for the caller is nothing that others could have waited for.
            (true, Some(Room { own, free, .. })) if own > 0 => Some(HeldBack::Kept { room: own.min(free), free }),
            (true, _) => Some(HeldBack::Awaited),
            (false, Some(Room { room, free, .. })) => Some(HeldBack::Kept { room, free }),
            (false, None) => None,
        }
    }

    /// What reservations leave to the caller; none when none of them concerns the product.
    fn room(&self, regard: Regard<'_>) -> Option<Room> {
        let ask = regard.ask()?;
        let reservations: Vec<Reservation> = self.reservations(ask);
        if reservations.is_empty() {
            return None;
        }
        let (free, _) = self.seats_of(ask.firm_code, ask.product_code);
        let own = reservations.iter().filter(|one| one.fits).map(|one| one.seats.saturating_sub(one.held));
        Some(Room { free, room: room_beside(free, &reservations), own: own.fold(0, u32::saturating_add) })
    }

    /// Seats of a product that a caller may ever have, beside what is kept for others.
    pub(super) fn never_kept(&self, ask: &Ask) -> u32 {
        let (_, total) = self.seats_of(ask.firm_code, ask.product_code);
        let all_free: Vec<_> = self.reservations(ask).into_iter().map(|one| Reservation { held: 0, ..one }).collect();
        room_beside(total, &all_free)
    }

    /// Seats of an entry that a caller may have beside all that he has: none while others wait for them, and none that are
    /// kept for others.
    pub(super) fn room_at(&self, found: Found, ask: &Ask) -> u32 {
        let regard = Regard::Everybody(ask);
        let Some(license) = self.state.license(ask.firm_code, found.0) else { return 0 };
        let Some(entry) = license.entries.get(found.1) else { return 0 };
        let pool = entry.places().pool;
        if self.veto(ask.firm_code, found, regard).is_some() {
            return 0;
        }
        let free = license.seats.pool(pool).free().unwrap_or(0);
        match self.held_back((found.0, pool), regard, self.room(regard)) {
            None => free,
            Some(HeldBack::Awaited) => 0,
            Some(HeldBack::Kept { room, .. }) => free.min(room),
        }
    }

    fn reservations(&self, ask: &Ask) -> Vec<Reservation> {
        let rules = self.rules().clone();
        let caller = ask.caller();
        let concerned = rules.reservations(&caller, ask.wish());
        concerned.map(|(name, seats, fits)| Reservation { seats, held: self.state.reserved(name), fits }).collect()
    }

    /// Seats of a product that are free and that there are, over all pools that are counted.
    #[must_use]
    pub fn seats_of(&self, firm: FirmCode, product: ProductCode) -> (u32, u32) {
        seats_of(&self.state, firm, product)
    }

    /// Who may take which seats.
    #[must_use]
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Puts other rules in force. Nobody loses a seat by them; those who wait may lose their place.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = Arc::new(rules);
        let anew: Vec<_> = self.state.sessions.values().map(|session| self.regarded(session)).collect();
        for (id, reserved) in anew {
            self.state.set_reserved(id, reserved);
        }
        self.all_due();
    }

    /// The reservations that a session's client fits. What is not known of it any more counts as it did.
    fn regarded(&self, session: &Session) -> (SessionId, Vec<String>) {
        let (caller, wish) = self.caller_of(session);
        let known = caller.container.is_some() || session.address.is_none();
        let counted = |name: &str, fits: bool| fits || (!known && session.reserved.iter().any(|rule| rule == name));
        let rules = self.rules.reservations(&caller, wish);
        (session.id, rules.filter(|(name, _, fits)| counted(name, *fits)).map(|(name, ..)| name.to_owned()).collect())
    }

    /// A session's client, as access rules see it.
    #[must_use]
    pub fn caller_of<'a>(&'a self, session: &'a Session) -> (Caller<'a>, Wish) {
        let caller = Caller {
            address: session.address,
            container: self.container(session.id).map(|container| &**container),
            host: &session.names.host,
            user: &session.names.user,
        };
        (caller, Wish { firm_code: session.firm_code.get(), product_code: session.product_code.0 })
    }

    /// Lets lingering seats of a product go, before a decision about it.
    pub fn advance(&mut self, firm: FirmCode, product: ProductCode, moment: Moment) {
        let now = self.state.effective(moment);
        for (id, _) in self.state.places(firm, product) {
            if let Some(license) = self.state.license_mut(firm, id) {
                license.seats.advance(now);
            }
        }
    }
}

impl<'a> Regard<'a> {
    const fn ask(self) -> Option<&'a Ask> {
        match self {
            Self::Nothing => None,
            Self::Everybody(ask) | Self::Those(ask, _) => Some(ask),
        }
    }
}

/// Seats of a product that are free and that there are, over all pools that are counted.
pub(super) fn seats_of(state: &State, firm: FirmCode, product: ProductCode) -> (u32, u32) {
    let mut seen: Vec<Place> = Vec::new();
    let (mut free, mut total) = (0_u32, 0_u32);
    for (id, place) in state.places(firm, product) {
        let Some(license) = state.license(firm, id) else { continue };
        let Some(entry) = license.entries.get(place) else { continue };
        let place = (id, entry.places().pool);
        if seen.contains(&place) {
            continue;
        }
        seen.push(place);
        let report = license.seats.pool(place.1).report();
        free = free.saturating_add(report.free.unwrap_or(0));
        total = total.saturating_add(report.total.unwrap_or(0));
    }
    (free, total)
}

pub(super) fn request(ask: &Ask, id: SessionId) -> Request {
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
