//! After a turn's commit: memory follows what was written, and what was leased is handed to the workers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use lictor_clock::Timestamp;
use lictor_licensing::id::DestinationId;

use super::{
    call::{Leased, Running},
    lane::{self, Lane},
    run::Looping,
    turn::{Done, Work},
};
use crate::{
    domain::{
        cloud_event::{CONTENT_TYPE, MAPPED_TYPE},
        outcome::AttemptResult,
        record::message_id,
    },
    store::{delivery::Claimed, destination::WithKeys},
    transmission::Shipment,
};

impl Looping {
    /// Brings memory in line with what was committed, and starts the calls that were leased.
    pub(super) fn apply(&mut self, work: Work, mut done: Done, now: Timestamp) {
        self.state.first = self.state.first.wrapping_add(1);
        if let Some(all) = done.reloaded.take() {
            self.reload(all, done.version);
        }
        self.count_attempts(&work, now);
        let mut taken: BTreeMap<DestinationId, usize> = BTreeMap::new();
        for call in &work.finished {
            if let Some(run) = self.state.running.remove(&call.id)
                && let Some(lane) = self.state.lanes.get_mut(&run.destination)
            {
                lane.in_flight = lane.in_flight.saturating_sub(1);
                let well = call.attempt.as_ref().is_some_and(|attempt| attempt.result == AttemptResult::Taken);
                *taken.entry(run.destination).or_default() += usize::from(well);
            }
        }
        for (id, taken) in taken {
            if let Some(lane) = self.state.lanes.get_mut(&id) {
                lane.went_well(taken);
            }
        }
        if work.renew {
            let until = now.saturating_add(self.engine.options.lease);
            self.state.lanes.values().for_each(|lane| lane.queue.renewed(now, until));
        }
        for (id, change) in std::mem::take(&mut done.results.health) {
            if let Some(lane) = self.state.lanes.get_mut(&id) {
                lane.destination.health = change.health;
                lane.destination.note = change.note;
                lane.review();
                if let Some(at) = change.retry_at {
                    lane.due_at(at);
                }
            }
            if let Some(reason) = change.disable {
                tracing::warn!(destination = %id, %reason, "a destination was disabled");
                self.must_turn = true;
                // The own event that tells of it is fetched at once.
                if let Some(reader) = self.engine.gaps.get(crate::events::SOURCE) {
                    reader.notify_one();
                }
            }
        }
        let sources = work.events.iter().map(|(event, _)| event.source.as_str());
        for source in sources.chain(work.quarantined.iter().map(|bad| bad.source.as_str())) {
            if !done.taken.gaps.contains(source) {
                self.state.open_gaps.remove(source);
            }
        }
        for source in std::mem::take(&mut done.taken.gaps) {
            if let Some(reader) = self.engine.gaps.get(&source) {
                reader.notify_one();
            }
            self.state.open_gaps.insert(source);
        }
        self.engine.metrics.taken(done.taken.fresh, done.taken.repeated, work.quarantined.len());
        self.begin(done, now);
    }

    /// Takes over what the tables say of the destinations.
    fn reload(&mut self, all: Vec<WithKeys>, version: i64) {
        let changed = self.state.version != Some(version);
        let mut old = std::mem::take(&mut self.state.lanes);
        for with in all {
            let id = with.destination.id;
            let lane = match old.remove(&id) {
                Some(mut lane) => {
                    lane.reload(with);
                    lane.review();
                    if changed {
                        lane.doubt();
                    }
                    lane
                }
                None => Lane::new(with, &self.callers),
            };
            self.state.lanes.insert(id, lane);
        }
        old.values().for_each(|lane| lane.queue.give_back());
        self.state.version = Some(version);
    }

    /// Hands what was leased to the workers, and notes what waits.
    fn begin(&mut self, done: Done, now: Timestamp) {
        let occurred: HashMap<_, _> = done.taken.released.iter().map(|event| (event.id, event.occurred_at)).collect();
        let mut leased: BTreeMap<DestinationId, Vec<Claimed>> = BTreeMap::new();
        for claim in done.claims {
            if let Some(lane) = self.state.lanes.get_mut(&claim.destination) {
                lane.ready = !claim.exhausted;
                if let Some(next_due) = claim.next_due {
                    lane.next_due = next_due;
                    lane.unsure = false;
                } else if lane.is_due(now) {
                    lane.unsure = true;
                }
            }
            leased.entry(claim.destination).or_default().extend(claim.claimed);
        }
        for (destination, claimed) in done.straight {
            leased.entry(destination).or_default().push(claimed);
        }
        for id in &done.stirred {
            if let Some(lane) = self.state.lanes.get_mut(id) {
                lane.ready = true;
            }
        }
        for (id, at) in done.later {
            if let Some(lane) = self.state.lanes.get_mut(&id) {
                lane.due_at(at);
            }
        }
        let until = now.saturating_add(self.engine.options.lease);
        for (id, claimed) in leased {
            let Some(lane) = self.state.lanes.get_mut(&id) else {
                continue;
            };
            lane.spend(claimed.len(), now);
            let mut ready = Vec::with_capacity(claimed.len());
            for claimed in claimed {
                let event = done.bodies.get(&claimed.event_id).cloned();
                let (Some((body, traceparent)), Some(transmission)) = (event, lane.transmission.clone()) else {
                    // Events are kept as long as deliveries of them, and a lane without a way leases nothing; the lease
                    // runs out and the log tells.
                    tracing::error!(delivery = %claimed.id, "a delivery has no event or no way");
                    continue;
                };
                let number = claimed.attempts.saturating_add(1);
                let mapped = lane.destination.options.template.is_some() && claimed.body.is_some();
                let shipment = Shipment {
                    event_id: message_id(&claimed.event_id.to_string(), claimed.part),
                    destination_id: id,
                    transmission,
                    keys: Arc::clone(&lane.keys),
                    body: claimed.body.unwrap_or(body),
                    content_type: if mapped { MAPPED_TYPE } else { CONTENT_TYPE },
                    traceparent,
                    number,
                    timeout: lane.destination.options.limits.timeout,
                };
                ready.push(Leased { id: claimed.id, shipment, until });
                let running = Running {
                    destination: id,
                    order_key: claimed.order_key,
                    number,
                    first_attempt_at: claimed.first_attempt_at,
                    occurred_at: occurred.get(&claimed.event_id).copied(),
                };
                self.state.running.insert(claimed.id, running);
            }
            lane.in_flight += ready.len();
            lane.queue.offer(ready, lane::limit(&lane.destination, self.engine.options.in_flight_per_destination));
        }
    }

    fn count_attempts(&self, work: &Work, now: Timestamp) {
        for call in &work.finished {
            let Some(attempt) = &call.attempt else {
                continue;
            };
            let lag = self
                .state
                .running
                .get(&call.id)
                .and_then(|run| run.occurred_at)
                .filter(|_| attempt.result == AttemptResult::Taken)
                .map(|occurred_at| now.since(occurred_at));
            self.engine.metrics.attempt(attempt.result, attempt.latency, lag);
        }
    }
}
