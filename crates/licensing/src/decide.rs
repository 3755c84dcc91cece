//! Which license serves a request, or why none does.
//!
//! [`decide`] looks at everything and changes nothing, so `explain` and a dry run are the same function. [`grant`] then
//! takes what was decided. Between the two the caller writes its journal.

use std::cmp::Ordering;
use std::time::Duration;

use lictor_clock::{Timestamp, duration};

use crate::access::{AccessMode, Location, Origin, Request};
use crate::candidate::{self, Facts, Rank};
use crate::effective::EffectiveEntry;
use crate::item::Part;
use crate::pool::{Granted, Holder, ItemSeats, PoolRefusal};
use crate::refusal::{MAX_HOLDERS, Reason, Refusal, RefusalLine};
use crate::state::{EntryState, UnitError, check_units, units_left};

/// Why not all free seats of an entry are there for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// Others have waited for them longer.
    Awaited,
    /// Some are kept for others: the caller may take `room` of the `free` ones.
    Kept {
        /// Seats that the caller may take.
        room: u32,
        /// Seats that are free.
        free: u32,
    },
}

impl HeldBack {
    /// Why an access that takes so many seats is not given them; none when it may have them.
    const fn reason(self, needed: u32) -> Option<Reason> {
        match self {
            _ if needed == 0 => None,
            Self::Awaited => Some(Reason::SeatsAwaited),
            Self::Kept { room, free } if needed > room => {
                Some(Reason::SeatsReserved { needed, free, kept: free.saturating_sub(room) })
            }
            Self::Kept { .. } => None,
        }
    }
}

/// One entry that may serve a request. Callers look them up by firm and product code and give no others.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The container's serial.
    pub serial: &'a str,
    /// Where the container lies.
    pub location: Location,
    /// Whether the container is disabled.
    pub container_disabled: bool,
    /// Whether the vendor's part of the container is disabled.
    pub firm_disabled: bool,
    /// Why the entry may not be used for reasons outside this crate: access rules, a broken binding.
    pub veto: Option<&'a Reason>,
    /// Why its free seats are not all for this caller. An access that takes no further seat does not care.
    pub held_back: Option<HeldBack>,
    /// What the entry says.
    pub entry: &'a EffectiveEntry,
    /// What the device adds.
    pub state: &'a EntryState,
    /// Who holds its seats; advanced to the time of the decision.
    pub seats: &'a ItemSeats,
}

/// What a decision depends on besides request and candidates.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The time by which all is judged, read once.
    pub now: Timestamp,
    /// The version of this licence server.
    pub server_version: &'a semver::Version,
}

/// The candidate that serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its place in the slice that was given.
    pub candidate: usize,
    /// What the access takes.
    pub granted: Granted,
    /// The part whose usage period starts with this access.
    pub starts_usage: Option<Part>,
    /// When the license ends by date or usage period; a session must not outlive it.
    pub ends_at: Option<Timestamp>,
}

/// Finds the candidate that serves a request.
///
/// # Errors
/// The refusal, with a line for each candidate in the order in which they were tried.
pub fn decide(request: &Request, candidates: &[Candidate<'_>], situation: &Situation<'_>) -> Result<Choice, Refusal> {
    let mut ranked: Vec<(usize, Result<Rank, Reason>)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.entry.product_code() == request.product_code)
        .map(|(place, candidate)| (place, candidate::rank(request, &facts(request, candidate, situation.now))))
        .collect();
    ranked.sort_by(|(left, left_rank), (right, right_rank)| {
        let by_rank = match (left_rank, right_rank) {
            (Ok(left), Ok(right)) => left.cmp(right),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => Ordering::Equal,
        };
        // The rest of the order only makes it the same every time.
        by_rank.then_with(|| candidates[*left].serial.cmp(candidates[*right].serial)).then_with(|| left.cmp(right))
    });
    let mut lines = Vec::new();
    for (place, rank) in ranked {
        let candidate = &candidates[place];
        match rank.and_then(|_| check(request, candidate, situation)) {
            Ok(granted) => return Ok(choice(place, granted, candidate, situation.now)),
            Err(reason) => lines.push(explain(request, candidate, situation, reason)),
        }
    }
    Err(Refusal::new(lines).unwrap_or_else(|| Refusal::not_found(request.product_code)))
}

/// Why what was decided cannot be taken any more. Nothing is changed then: decide again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The seats were given to somebody else in between.
    #[error("the seats were taken in between")]
    Seats(#[source] PoolRefusal),
    /// The units were taken by somebody else in between.
    #[error("the units were taken in between")]
    Units(#[source] UnitError),
}

/// Takes what was decided: seats, the start of the usage period, units. Give it the entry, state and seats of the chosen
/// candidate and the time of the decision. An access that is held already takes nothing.
///
/// # Errors
/// [`GrantError`] when somebody else was faster; nothing is changed then.
pub fn grant(
    request: &Request,
    entry: &EffectiveEntry,
    state: &mut EntryState,
    seats: &mut ItemSeats,
    now: Timestamp,
) -> Result<Granted, GrantError> {
    seats.advance(now);
    let granted = seats.plan(entry, request).map_err(GrantError::Seats)?;
    if granted.repeated {
        return Ok(granted);
    }
    if let Some(wanted) = request.take_units {
        let counted = entry.options().unit_counter.map(|counter| counter.0);
        state.take_units(entry.places().units, counted, wanted).map_err(GrantError::Units)?;
    }
    if entry.options().usage_period.is_some() {
        state.start_usage(entry.places().usage_start, now);
    }
    seats.acquire(entry, request, now).map_err(GrantError::Seats)
}

/// When a license ends by its date and its usage period; a period that has not started would end counted from now.
#[must_use]
pub fn ends_at(entry: &EffectiveEntry, state: &EntryState, now: Timestamp) -> Option<Timestamp> {
    let usage_end = entry.options().usage_period.map(|period| {
        let start = state.part(entry.places().usage_start).usage_start;
        start.unwrap_or(now).saturating_add(period.get())
    });
    entry.options().expiration_time.into_iter().chain(usage_end).min()
}

fn facts(request: &Request, candidate: &Candidate<'_>, now: Timestamp) -> Facts {
    let entry = candidate.entry;
    let planned = candidate.seats.plan(entry, request);
    Facts {
        location: candidate.location,
        feature_map: entry.feature_map(),
        release: entry.options().release,
        already_held: entry.counts(request.mode) && planned.is_ok_and(|granted| granted.new_seats == 0),
        ends_at: ends_at(entry, candidate.state, now),
    }
}

fn choice(place: usize, granted: Granted, candidate: &Candidate<'_>, now: Timestamp) -> Choice {
    let usage_start = candidate.entry.places().usage_start;
    let starts =
        candidate.entry.options().usage_period.is_some() && candidate.state.part(usage_start).usage_start.is_none();
    Choice {
        candidate: place,
        granted,
        starts_usage: starts.then_some(usage_start),
        ends_at: ends_at(candidate.entry, candidate.state, now),
    }
}

/// All that must hold for a grant, the lasting causes before those that pass by themselves.
fn check(request: &Request, candidate: &Candidate<'_>, situation: &Situation<'_>) -> Result<Granted, Reason> {
    check_enabled(candidate)?;
    check_terms(request, candidate, situation)?;
    check_validity(candidate.entry, candidate.state, situation.now)?;
    check_maintenance(request, candidate.entry)?;
    check_unit_counter(request, candidate)?;
    check_parent(request, candidate)?;
    let granted = candidate.seats.plan(candidate.entry, request).map_err(|refusal| match refusal {
        PoolRefusal::Full { needed, free, total } => Reason::NoMoreSeats { needed, free, total },
        PoolRefusal::Exclusive => Reason::ExclusiveConflict,
        PoolRefusal::OtherStation => Reason::OtherStation,
        PoolRefusal::Reused => Reason::RequestReused,
    })?;
    let held_back = candidate.held_back.and_then(|held_back| held_back.reason(granted.new_seats));
    held_back.map_or(Ok(granted), Err)
}

fn check_enabled(candidate: &Candidate<'_>) -> Result<(), Reason> {
    let entry = candidate.entry;
    // A module is off too when the customer has switched the product item off.
    let switched_off = [Part::Parent, entry.part()].iter().any(|part| candidate.state.part(*part).disabled);
    if candidate.container_disabled {
        Err(Reason::ContainerDisabled)
    } else if candidate.firm_disabled {
        Err(Reason::FirmDisabled)
    } else if !entry.is_enabled() || switched_off {
        Err(Reason::EntryDisabled)
    } else {
        candidate.veto.map_or(Ok(()), |veto| Err(veto.clone()))
    }
}

/// What the license says about who may use it and how.
fn check_terms(request: &Request, candidate: &Candidate<'_>, situation: &Situation<'_>) -> Result<(), Reason> {
    let entry = candidate.entry;
    let quantity = entry.options().license_quantity;
    if request.origin != Origin::Local && quantity.is_none_or(|quantity| quantity.is_local_only()) {
        return Err(Reason::RemoteDenied);
    }
    if request.origin == Origin::Wan && !quantity.is_some_and(|quantity| quantity.allows_wan()) {
        return Err(Reason::NoWanLicense);
    }
    if !entry.allowed_modes().contains(request.mode) {
        return Err(Reason::WrongMode { allowed: entry.allowed_modes() });
    }
    match &entry.options().minimum_version {
        Some(minimum) if *situation.server_version < minimum.0 => {
            Err(Reason::ServerTooOld { minimum: minimum.0.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether a license is valid at `now` by its dates and its usage period. Holders are judged by the same rule.
///
/// # Errors
/// The reason why it is not.
pub fn check_validity(entry: &EffectiveEntry, state: &EntryState, now: Timestamp) -> Result<(), Reason> {
    let options = entry.options();
    if let Some(from) = options.activation_time
        && now < from
    {
        return Err(Reason::NotYetActive { from });
    }
    if let Some(at) = options.expiration_time
        && now >= at
    {
        return Err(Reason::Expired { at });
    }
    let started = state.part(entry.places().usage_start).usage_start;
    if let (Some(period), Some(start)) = (options.usage_period, started) {
        let since = start.saturating_add(period.get());
        if now < start {
            return Err(Reason::UsageUnderrun { start });
        }
        if now >= since {
            return Err(Reason::UsageOver { since });
        }
    }
    Ok(())
}

fn check_maintenance(request: &Request, entry: &EffectiveEntry) -> Result<(), Reason> {
    let Some(period) = entry.options().maintenance_period else {
        return if request.require_maintenance { Err(Reason::MaintenanceMissing) } else { Ok(()) };
    };
    match request.release_date {
        None if period.is_required() || request.require_maintenance => Err(Reason::MaintenanceInvalid),
        Some(date) if date < period.start() => Err(Reason::MaintenanceUnderrun { start: period.start() }),
        Some(date) if date >= period.end() => Err(Reason::MaintenanceOverrun { end: period.end() }),
        _ => Ok(()),
    }
}

/// Units that are wanted must be there; and where units are counted at all, a program may not start with none left.
fn check_unit_counter(request: &Request, candidate: &Candidate<'_>) -> Result<(), Reason> {
    let entry = candidate.entry;
    let granted = entry.options().unit_counter.map(|counter| counter.0);
    let used = candidate.state.part(entry.places().units).units_used;
    match request.take_units {
        None if granted.is_none_or(|granted| units_left(granted, used) > 0) => Ok(()),
        None => Err(Reason::UnitsZero),
        Some(wanted) => check_units(granted, used, wanted).map_err(|error| match error {
            UnitError::Missing => Reason::UnitsMissing,
            UnitError::Zero => Reason::UnitsZero,
            UnitError::Underrun { left } => Reason::UnitsUnderrun { left },
        }),
    }
}

fn check_parent(request: &Request, candidate: &Candidate<'_>) -> Result<(), Reason> {
    if candidate.entry.requires_parent() && !candidate.seats.holds_parent(request.client) {
        return Err(Reason::ParentNotHeld { parent: candidate.entry.parent_code() });
    }
    Ok(())
}

fn explain(request: &Request, candidate: &Candidate<'_>, situation: &Situation<'_>, reason: Reason) -> RefusalLine {
    let entry = candidate.entry;
    let pool = candidate.seats.pool(entry.places().pool);
    let (holders, free_at): (Vec<Holder>, Option<Timestamp>) = match &reason {
        Reason::NoMoreSeats { .. } | Reason::SeatsReserved { .. } => (pool.holders(MAX_HOLDERS), pool.free_at()),
        Reason::ExclusiveConflict => (pool.holders_on(&request.station, entry.part(), MAX_HOLDERS), None),
        Reason::NotYetActive { from } => (Vec::new(), Some(*from)),
        Reason::UsageUnderrun { start } => (Vec::new(), Some(*start)),
        _ => (Vec::new(), None),
    };
    RefusalLine {
        serial: Some(candidate.serial.to_owned()),
        product_code: request.product_code,
        instead: instead(request, candidate, situation, &reason),
        reason,
        holders,
        free_at,
    }
}

/// What would work: another mode or fewer seats if that would be granted now, else the step that removes the cause.
fn instead(request: &Request, candidate: &Candidate<'_>, situation: &Situation<'_>, reason: &Reason) -> Option<String> {
    let text = match reason {
        Reason::NoMoreSeats { .. } | Reason::ExclusiveConflict | Reason::WrongMode { .. } => {
            return other_access(request, candidate, situation);
        }
        Reason::Expired { .. } | Reason::UsageOver { .. } => "renew the license".to_owned(),
        Reason::NotYetActive { from } => format!("wait for {}", in_words(situation.now, *from)),
        Reason::UsageUnderrun { .. } => "set the system's clock right".to_owned(),
        Reason::UnitsZero | Reason::UnitsUnderrun { .. } => "buy more units".to_owned(),
        Reason::MaintenanceOverrun { .. } => "renew the maintenance, or run an older release".to_owned(),
        Reason::MaintenanceUnderrun { .. } => "run a newer release".to_owned(),
        Reason::ServerTooOld { minimum } => format!("update the licence server to {minimum}"),
        Reason::ParentNotHeld { parent } => format!("take a seat of product {parent} first, in the same program"),
        Reason::RemoteDenied => "run the program on the machine of the licence server".to_owned(),
        Reason::NoWanLicense => "run the program inside the network of the licence server".to_owned(),
        Reason::LocationNotWanted { location } => format!("add {location} to the places to look in"),
        Reason::RequestReused => "use a fresh request id".to_owned(),
        Reason::SeatsAwaited => "wait for a seat in the queue".to_owned(),
        Reason::AccessDenied | Reason::DeniedByRule { .. } => "ask the administrator of the licence server".to_owned(),
        Reason::UsersNamed { .. } => "let one of the named users work, or buy more users".to_owned(),
        Reason::DevicesNamed { .. } => "work on one of those devices, or buy more of them".to_owned(),
        Reason::UserUnknown => "let the program give its user, as the variable USER does".to_owned(),
        _ => return None,
    };
    Some(text)
}

fn other_access(request: &Request, candidate: &Candidate<'_>, situation: &Situation<'_>) -> Option<String> {
    let works = |change: &dyn Fn(&mut Request)| {
        let mut other = request.clone();
        change(&mut other);
        check(&other, candidate, situation).is_ok()
    };
    let modes = candidate.entry.allowed_modes().iter().filter(|mode| *mode != request.mode);
    if let Some(mode) = modes.into_iter().find(|mode| works(&|other| other.mode = *mode)) {
        return Some(format!("ask in mode {mode}"));
    }
    let pool = candidate.seats.pool(candidate.entry.places().pool);
    let fewer = pool.free().and_then(|free| crate::access::Seats::new(free).ok());
    match fewer {
        Some(fewer) if request.mode != AccessMode::NoUserLimit && works(&|other| other.seats = fewer) => {
            Some(format!("ask for {} seats", fewer.get()))
        }
        _ => None,
    }
}

fn in_words(now: Timestamp, then: Timestamp) -> String {
    let span = then.since(now);
    let whole = if span > duration::hours(1) { 3_600 } else { 1 };
    duration::format(Duration::from_secs((span.as_secs() / whole).max(1) * whole))
}
