//! A destination as the engine sees it: how many calls run, whether there may be something to claim, when the next
//! retry is due. Lanes never wait for each other: each has its own limit.

use std::sync::Arc;

use lictor_clock::Timestamp;

use crate::{
    domain::destination::Destination,
    store::destination::WithSecrets,
    transmission::{Transmission, webhook::Webhook},
};

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) destination: Destination,
    pub(super) transmission: Transmission,
    /// Calls that run now.
    pub(super) in_flight: usize,
    /// Whether there may be a head whose time has come.
    pub(super) ready: bool,
    /// No head that is not due yet is due before this; nothing when there is none.
    pub(super) next_due: Option<Timestamp>,
    /// `next_due` has to be looked up once nothing more can be claimed.
    pub(super) unsure: bool,
}

impl Lane {
    pub(super) fn new(with: WithSecrets) -> Self {
        let webhook = Webhook { target: with.destination.target.clone(), secrets: with.secrets };
        Self {
            destination: with.destination,
            transmission: Transmission::Webhook(Arc::new(webhook)),
            in_flight: 0,
            ready: true,
            next_due: None,
            unsure: true,
        }
    }

    /// Takes over what the table says now; what runs goes on.
    pub(super) fn reload(&mut self, with: WithSecrets) {
        let fresh = Self::new(with);
        self.destination = fresh.destination;
        self.transmission = fresh.transmission;
    }

    /// Anything may have changed: what can be claimed has to be looked up.
    pub(super) fn doubt(&mut self) {
        self.ready = true;
        self.unsure = true;
    }

    /// How many calls may begin now.
    pub(super) fn room(&self, limit: usize, now: Timestamp) -> usize {
        if !self.destination.state.is_enabled() || self.destination.health.rests_at(now) {
            return 0;
        }
        self.destination.health.in_flight_limit(limit).saturating_sub(self.in_flight)
    }

    /// Whether a turn has something to claim for it.
    pub(super) fn wants_turn(&self, limit: usize, now: Timestamp) -> bool {
        (self.ready || self.next_due.is_some_and(|due| due <= now)) && self.room(limit, now) > 0
    }

    /// When it may want a turn without anything else happening. One whose calls all run is woken by their ends.
    pub(super) fn wakes_at(&self, limit: usize) -> Option<Timestamp> {
        let full = self.in_flight >= self.destination.health.in_flight_limit(limit);
        if full || !self.destination.state.is_enabled() {
            return None;
        }
        let rest = self.destination.health.rests_until;
        match (self.ready, self.next_due) {
            (true, _) => rest,
            (false, due) => due.map(|due| rest.map_or(due, |rest| rest.max(due))),
        }
    }

    /// A head becomes due at `at`.
    pub(super) fn due_at(&mut self, at: Timestamp) {
        self.next_due = Some(self.next_due.map_or(at, |known| known.min(at)));
    }
}
