//! One turn: everything that waits goes into one transaction. Nothing in memory changes before its commit, so a turn
//! that failed can simply be taken again.

use std::collections::{BTreeMap, HashMap, HashSet};

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId, EventId};
use lictor_storage::{StorageError, Tx};
use prost::bytes::Bytes;

use super::{
    EngineOptions, Gaps,
    call::{Finished, Running},
    intake::{self, Taken},
    lane::{self, Lane},
    making,
    settle::{self, Results},
};
use crate::{
    domain::{
        destination::{Destination, DestinationState},
        event::Event,
    },
    events::own,
    random,
    store::{
        attempt,
        delivery::{self, Claimed, Key},
        destination::{self, WithKeys},
        event::{self, Quarantined},
        fresh::Leasing,
        ledger,
    },
};

/// What the engine remembers between turns.
#[derive(Debug)]
pub(super) struct State {
    /// The name under which this running program holds leases.
    pub(super) holder: String,
    pub(super) lanes: BTreeMap<DestinationId, Lane>,
    /// The version that the lanes were loaded at.
    pub(super) version: Option<i64>,
    pub(super) running: HashMap<DeliveryId, Running>,
    /// Sources with a hole.
    pub(super) open_gaps: HashSet<String>,
    /// Claims nothing any more.
    pub(super) stopping: bool,
    /// Which lane is served first; goes round.
    pub(super) first: usize,
}

/// What waits for a turn.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) events: Vec<(Event, Bytes)>,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) finished: Vec<Finished>,
    pub(super) run_out: Vec<(DeliveryId, DestinationId)>,
    pub(super) renew: bool,
}

/// What a turn did.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) version: i64,
    pub(super) reloaded: Option<Vec<WithKeys>>,
    pub(super) taken: Taken,
    pub(super) results: Results,
    /// Destinations for which something may wait that this turn did not claim.
    pub(super) stirred: HashSet<DestinationId>,
    /// Destinations that collect, and when they send.
    pub(super) later: Vec<(DestinationId, Timestamp)>,
    pub(super) claims: Vec<Claim>,
    /// Deliveries that were leased as they were made.
    pub(super) straight: Vec<(DestinationId, Claimed)>,
    pub(super) bodies: HashMap<EventId, (Bytes, Option<String>)>,
}

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) destination: DestinationId,
    pub(super) claimed: Vec<Claimed>,
    /// Nothing more was to be had.
    pub(super) exhausted: bool,
    /// Looked up because the lane was unsure.
    pub(super) next_due: Option<Option<Timestamp>>,
}

/// Everything that a turn reads.
pub(super) struct Turn<'a> {
    pub(super) options: &'a EngineOptions,
    pub(super) readers: &'a Gaps,
    pub(super) state: &'a State,
    pub(super) work: &'a Work,
    pub(super) now: Timestamp,
}

impl Turn<'_> {
    pub(super) async fn take(&self, tx: &mut Tx) -> Result<Done, StorageError> {
        let mut done = Done { version: ledger::lock(tx).await?, ..Done::default() };
        let failed = |call: &Finished| {
            call.attempt.as_ref().is_some_and(|attempt| attempt.result != crate::domain::outcome::AttemptResult::Taken)
        };
        // What other replicas saw of a failing destination counts too.
        let mut destinations: HashMap<DestinationId, Destination> =
            if self.state.version != Some(done.version) || self.work.finished.iter().any(failed) {
                let all = destination::all_with_keys(tx, self.now, &self.options.seal).await?;
                let map = all.iter().map(|with| (with.destination.id, with.destination.clone())).collect();
                done.reloaded = Some(all);
                map
            } else {
                self.state.lanes.iter().map(|(id, lane)| (*id, lane.destination.clone())).collect()
            };

        self.settle(tx, &mut done, &mut destinations).await?;
        let mut keys: Vec<Key> = done.results.freed.clone();
        keys.sort();
        keys.dedup();
        done.stirred.extend(delivery::promote(tx, &keys).await?);
        let mut room = self.room(&destinations);
        // What waits already goes first; what is new gets the room that is left.
        let wanted = if self.state.stopping { Vec::new() } else { self.wanted(&done, &destinations) };
        self.claim(tx, &mut done, &destinations, &wanted, &mut room).await?;
        let waits = self.intake(tx, &mut done, &destinations, &mut room).await?;
        if self.work.renew && !self.state.running.is_empty() {
            let held: Vec<DeliveryId> = self.state.running.keys().copied().collect();
            delivery::renew(tx, &held, &self.state.holder, self.now.saturating_add(self.options.lease)).await?;
        }
        let waits: Vec<DestinationId> = waits.into_iter().collect();
        done.stirred.extend(&waits);
        self.claim(tx, &mut done, &destinations, &waits, &mut room).await?;
        let missing: Vec<EventId> = done
            .claims
            .iter()
            .flat_map(|claim| &claim.claimed)
            .chain(done.straight.iter().map(|(_, claimed)| claimed))
            .map(|claimed| claimed.event_id)
            .filter(|id| !done.bodies.contains_key(id))
            .collect();
        done.bodies.extend(event::bodies(tx, &missing).await?);
        Ok(done)
    }

    /// Writes what calls came to.
    async fn settle(
        &self,
        tx: &mut Tx,
        done: &mut Done,
        destinations: &mut HashMap<DestinationId, Destination>,
    ) -> Result<(), StorageError> {
        let results = settle::judge(
            &self.work.finished,
            &self.state.running,
            destinations,
            self.options,
            self.now,
            random::number,
        );
        delivery::settle(tx, &results.settled, &self.state.holder).await?;
        attempt::insert(tx, &results.attempts).await?;
        if !results.broken.is_empty() {
            delivery::give_back(tx, &results.broken, &self.state.holder).await?;
            let of = |id| self.state.running.get(id).map(|run| run.destination);
            done.stirred.extend(results.broken.iter().filter_map(of));
        }
        let expired: Vec<DeliveryId> = self.work.run_out.iter().map(|(id, _)| *id).collect();
        delivery::take_back(tx, &expired, self.now).await?;
        done.stirred.extend(self.work.run_out.iter().map(|(_, destination)| *destination));

        for (id, change) in &results.health {
            let Some(destination) = destinations.get_mut(id) else {
                continue;
            };
            // Calls that were under way when it was disabled are on record, but its note tells why it was.
            if destination.state.is_enabled() {
                if destination.health != change.health || destination.note != change.note {
                    destination::write_health(tx, *id, &change.health, &change.note).await?;
                    destination.health = change.health;
                }
                if let Some(reason) = &change.disable {
                    self.disable(tx, *id, reason).await?;
                    destination.state = DestinationState::Disabled { since: self.now };
                }
            }
            if change.recovered {
                delivery::hurry(tx, *id, self.now).await?;
                done.stirred.insert(*id);
            }
        }
        done.results = results;
        Ok(())
    }

    async fn disable(&self, tx: &mut Tx, id: DestinationId, reason: &str) -> Result<(), StorageError> {
        if destination::disable(tx, id, reason, self.now).await? {
            own::destination_disabled(tx, id, reason, self.now).await?;
            ledger::destinations_changed(tx).await?;
        }
        Ok(())
    }

    /// Stores events and makes the deliveries of those that are released. Tells which destinations something waits for.
    async fn intake(
        &self,
        tx: &mut Tx,
        done: &mut Done,
        destinations: &HashMap<DestinationId, Destination>,
        room: &mut Leasing<'_>,
    ) -> Result<HashSet<DestinationId>, StorageError> {
        if self.work.events.is_empty() && self.work.quarantined.is_empty() {
            return Ok(HashSet::new());
        }
        done.taken =
            intake::take(tx, &self.work.events, &self.work.quarantined, self.readers, &self.state.open_gaps, self.now)
                .await?;
        let made = making::of_released(tx, &done.taken.released, destinations, Some(room), self.now).await?;
        done.later = made.later;
        done.straight = made.inserted.leased;
        for released in &done.taken.released {
            done.bodies.insert(released.id, (released.body.clone(), released.traceparent.clone()));
        }
        Ok(made.inserted.waits)
    }

    /// How much more may be leased for each destination that something can be sent to now.
    fn room(&self, destinations: &HashMap<DestinationId, Destination>) -> Leasing<'_> {
        let mut ended: HashMap<DestinationId, usize> = HashMap::new();
        for run in self.work.finished.iter().filter_map(|call| self.state.running.get(&call.id)) {
            *ended.entry(run.destination).or_default() += 1;
        }
        let mut room = HashMap::with_capacity(destinations.len());
        for (id, destination) in destinations {
            let lane = self.state.lanes.get(id);
            let open = destination.state.is_enabled()
                && !destination.health.rests_at(self.now)
                && lane.map_or_else(|| lane::can_send(destination), |lane| lane.transmission.is_some());
            if !open || self.state.stopping {
                continue;
            }
            let busy = lane.map_or(0, |lane| lane.in_flight).saturating_sub(ended.get(id).copied().unwrap_or(0));
            let most = lane::limit(destination, self.options.in_flight_per_destination)
                + lane.map_or(0, |lane| lane.ahead_of(destination));
            let paced = lane.map_or(1, |lane| lane.paced(self.now));
            room.insert(*id, most.saturating_sub(busy).min(paced));
        }
        Leasing {
            holder: &self.state.holder,
            until: self.now.saturating_add(self.options.lease),
            room,
            room_of_all: self
                .options
                .in_flight
                .saturating_sub(self.state.running.len().saturating_sub(self.work.finished.len())),
        }
    }

    /// Destinations for which something may wait in the table, the one first whose turn it is.
    fn wanted(&self, done: &Done, destinations: &HashMap<DestinationId, Destination>) -> Vec<DestinationId> {
        // A lane that was just loaded may hold anything.
        let reloaded = done.reloaded.is_some() && self.state.version != Some(done.version);
        let wants = |id: &DestinationId| {
            let Some(lane) = self.state.lanes.get(id) else {
                return true;
            };
            let retry = done.results.health.get(id).and_then(|change| change.retry_at).is_some_and(|at| at <= self.now);
            reloaded || retry || lane.ready || lane.is_due(self.now) || done.stirred.contains(id)
        };
        let mut ids: Vec<DestinationId> = destinations.keys().copied().collect();
        ids.sort();
        if !ids.is_empty() {
            let shift = self.state.first % ids.len();
            ids.rotate_left(shift);
        }
        ids.retain(wants);
        ids
    }

    /// Leases what may be sent now, lane by lane, within each lane's own limit and the limit of all. A lane for which
    /// more waits than there is room has no room left for what is new.
    async fn claim(
        &self,
        tx: &mut Tx,
        done: &mut Done,
        destinations: &HashMap<DestinationId, Destination>,
        ids: &[DestinationId],
        room: &mut Leasing<'_>,
    ) -> Result<(), StorageError> {
        for id in ids {
            let Some(destination) = destinations.get(id) else {
                continue;
            };
            let asked = room.room.get(id).copied().unwrap_or(0).min(room.room_of_all);
            if asked == 0 {
                room.room.remove(id);
                done.stirred.insert(*id);
                continue;
            }
            if lane::collapses(destination) {
                delivery::collapse(tx, *id).await?;
            }
            let lane = self.state.lanes.get(id);
            let claimed = delivery::claim(tx, *id, asked, &self.state.holder, self.now, self.options.lease).await?;
            room.room_of_all -= claimed.len();
            let exhausted = claimed.len() < asked;
            if exhausted {
                room.room.insert(*id, asked - claimed.len());
                done.stirred.remove(id);
            } else {
                room.room.remove(id);
                done.stirred.insert(*id);
            }
            let fresh = lane.is_none() || done.reloaded.is_some() && self.state.version != Some(done.version);
            let unsure = fresh || lane.is_none_or(|lane| lane.unsure || lane.is_due(self.now));
            let next_due = if exhausted && unsure { Some(delivery::next_due(tx, *id).await?) } else { None };
            done.claims.push(Claim { destination: *id, claimed, exhausted, next_due });
        }
        Ok(())
    }
}
