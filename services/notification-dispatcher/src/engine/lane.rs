//! A destination as the engine sees it: what is leased, whether there may be something to claim, when the next retry is
//! due. Lanes never wait for each other: each has its own limit.

use std::sync::Arc;

use lictor_clock::Timestamp;

use super::call::{Callers, Queue};
use crate::{
    domain::{destination::Destination, modules::Level, pace::Pace, secret::HeldKey},
    store::destination::WithKeys,
    transmission::Transmission,
};

/// Most deliveries of one destination that are leased beyond the calls that may run.
const AHEAD: usize = 256;

/// How many calls may run at once, out of the `usual` of a destination without a limit of its own.
pub(super) fn limit(destination: &Destination, usual: usize) -> usize {
    destination.health.in_flight_limit(destination.options.limits.in_flight.unwrap_or(usual))
}

/// Whether later deliveries may make earlier ones stale.
pub(super) fn collapses(destination: &Destination) -> bool {
    let activations = destination.options.modules.as_ref().and_then(|modules| modules.activations.as_ref());
    activations.is_some_and(|activations| activations.level == Level::CurrentStatus)
}

/// Whether this program knows the way to it.
pub(super) fn can_send(destination: &Destination) -> bool {
    Transmission::read(&destination.transmission, None).is_ok()
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) destination: Destination,
    /// Nothing when a newer version wrote it in words that this one does not know: what it gets is kept.
    pub(super) transmission: Option<Arc<Transmission>>,
    pub(super) keys: Arc<Vec<HeldKey>>,
    /// Calls per second, when they are limited.
    pub(super) pace: Option<Pace>,
    /// Leased deliveries: their calls run or wait for a place.
    pub(super) in_flight: usize,
    /// Where they are.
    pub(super) queue: Queue,
    /// How many may be leased beyond the calls that may run: about as many as end while a turn is written, so that a place
    /// that becomes free never waits for the database. None for a destination that is slow, so that little waits in
    /// memory for it.
    ahead: usize,
    /// Whether there may be a head whose time has come.
    pub(super) ready: bool,
    /// No head that is not due yet is due before this; nothing when there is none.
    pub(super) next_due: Option<Timestamp>,
    /// `next_due` has to be looked up once nothing more can be claimed.
    pub(super) unsure: bool,
}

impl Lane {
    pub(super) fn new(with: WithKeys, callers: &Arc<Callers>) -> Self {
        Self {
            pace: with.destination.options.limits.per_second.map(Pace::new),
            transmission: way(&with.destination),
            destination: with.destination,
            keys: Arc::new(with.keys),
            in_flight: 0,
            queue: Queue::new(Arc::clone(callers)),
            ahead: 0,
            ready: true,
            next_due: None,
            unsure: true,
        }
    }

    /// Takes over what the table says now; what runs goes on.
    pub(super) fn reload(&mut self, with: WithKeys) {
        let per_second = with.destination.options.limits.per_second;
        if self.pace.map(|pace| pace.per_second()) != per_second {
            self.pace = per_second.map(Pace::new);
        }
        self.transmission = way(&with.destination);
        self.destination = with.destination;
        self.keys = Arc::new(with.keys);
    }

    /// Calls to it were taken in a turn.
    pub(super) fn went_well(&mut self, taken: usize) {
        self.ahead = taken.saturating_mul(2).max(self.ahead - self.ahead.div_ceil(8)).min(AHEAD);
    }

    /// Most deliveries that may be leased.
    fn most(&self, usual: usize) -> usize {
        limit(&self.destination, usual) + self.ahead_of(&self.destination)
    }

    /// How many may be leased beyond the calls that may run, by what the tables say of it now.
    pub(super) fn ahead_of(&self, destination: &Destination) -> usize {
        let plain = self.pace.is_none() && destination.health.failures == 0 && !collapses(destination);
        if plain { self.ahead } else { 0 }
    }

    /// Gives back what waits for a place unless the destination is well: it may rest or be closed now.
    pub(super) fn review(&self) {
        let closed = !self.destination.state.is_enabled() || self.transmission.is_none();
        if closed || self.destination.health.failures > 0 {
            self.queue.give_back();
        }
    }

    /// How many calls its pace lets begin now.
    pub(super) fn paced(&self, now: Timestamp) -> usize {
        self.pace.map_or(usize::MAX, |pace| pace.room(now))
    }

    /// Calls begin.
    pub(super) fn spend(&mut self, calls: usize, now: Timestamp) {
        if let Some(pace) = &mut self.pace {
            pace.spend(calls, now);
        }
    }

    /// Anything may have changed: what can be claimed has to be looked up.
    pub(super) fn doubt(&mut self) {
        self.ready = true;
        self.unsure = true;
    }

    /// How many calls may begin now.
    pub(super) fn room(&self, usual: usize, now: Timestamp) -> usize {
        let closed = !self.destination.state.is_enabled() || self.transmission.is_none();
        if closed || self.destination.health.rests_at(now) {
            return 0;
        }
        self.most(usual).saturating_sub(self.in_flight).min(self.paced(now))
    }

    /// Whether a turn has something to claim for it.
    pub(super) fn wants_turn(&self, usual: usize, now: Timestamp) -> bool {
        (self.ready || self.is_due(now)) && self.room(usual, now) > 0
    }

    /// When it may want a turn without anything else happening. One whose calls all run is woken by their ends.
    pub(super) fn wakes_at(&self, usual: usize, now: Timestamp) -> Option<Timestamp> {
        let full = self.in_flight >= self.most(usual);
        if full || !self.destination.state.is_enabled() || self.transmission.is_none() {
            return None;
        }
        let rest = self.destination.health.rests_until;
        let slow = self.pace.filter(|pace| pace.room(now) == 0).map(|pace| pace.next(now));
        let earliest = rest.max(slow);
        match (self.ready, self.next_due) {
            (true, _) => earliest,
            (false, due) => due.map(|due| earliest.map_or(due, |earliest| earliest.max(due))),
        }
    }

    /// Whether the time of a head that waited for it has come.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.next_due.is_some_and(|due| due <= now)
    }

    /// A head becomes due at `at`.
    pub(super) fn due_at(&mut self, at: Timestamp) {
        self.next_due = Some(self.next_due.map_or(at, |known| known.min(at)));
    }
}

fn way(destination: &Destination) -> Option<Arc<Transmission>> {
    match Transmission::read(&destination.transmission, None) {
        Ok(transmission) => Some(Arc::new(transmission)),
        Err(reason) => {
            tracing::error!(destination = %destination.id, %reason, "the way to a destination is not known");
            None
        }
    }
}
