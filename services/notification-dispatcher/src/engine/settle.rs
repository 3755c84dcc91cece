//! From attempts to rows: what each result means for its delivery and for its destination.

use std::collections::{BTreeMap, HashMap};

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId};

use super::{
    EngineOptions,
    call::{Finished, Running},
};
use crate::{
    domain::{
        delivery::DeliveryState,
        destination::{Destination, Health, NOTE_BYTES, Verdict},
        outcome::{Attempt, AttemptResult},
        schedule::{Failure, Next},
    },
    store::delivery::{Key, Settled},
};

/// What a turn writes about calls that ended.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) settled: Vec<Settled>,
    pub(super) attempts: Vec<(DeliveryId, u32, Attempt)>,
    /// Keys whose head ended: a follower may go.
    pub(super) freed: Vec<Key>,
    /// Leases to give back without an attempt.
    pub(super) broken: Vec<DeliveryId>,
    /// Destinations whose health changed.
    pub(super) health: BTreeMap<DestinationId, Change>,
}

#[derive(Debug)]
pub(super) struct Change {
    pub(super) health: Health,
    pub(super) note: String,
    pub(super) disable: Option<String>,
    pub(super) recovered: bool,
    /// The earliest retry.
    pub(super) retry_at: Option<Timestamp>,
}

/// Judges calls that ended. `destinations` is what the tables say in this transaction.
pub(super) fn judge(
    finished: &[Finished],
    running: &HashMap<DeliveryId, Running>,
    destinations: &HashMap<DestinationId, Destination>,
    options: &EngineOptions,
    now: Timestamp,
    mut random: impl FnMut() -> u16,
) -> Results {
    let mut results = Results::default();
    for call in finished {
        let Some(run) = running.get(&call.id) else {
            continue;
        };
        let Some(attempt) = &call.attempt else {
            results.broken.push(call.id);
            continue;
        };
        let Some(destination) = destinations.get(&run.destination) else {
            continue;
        };
        let change = results.health.entry(run.destination).or_insert_with(|| Change {
            health: destination.health,
            note: destination.note.clone(),
            disable: None,
            recovered: false,
            retry_at: None,
        });
        let schedule = destination.options.limits.schedule(&options.schedule);
        let verdict = change.health.observe(attempt, now, options.give_up, &schedule);
        let taken = attempt.result == AttemptResult::Taken;
        change.note = if taken { String::new() } else { note(attempt) };
        match verdict {
            Verdict::GoOn => {}
            Verdict::Recovered => change.recovered = true,
            Verdict::Disable(reason) => {
                change.disable.get_or_insert(reason);
            }
        }
        let first_attempt_at = run.first_attempt_at.unwrap_or(attempt.at);
        let (state, next_attempt_at) = if taken {
            (DeliveryState::Done, now)
        } else {
            let failure = Failure {
                failures: run.number,
                first_attempt_at,
                now,
                retry_after: attempt.retry_after,
                random: random(),
            };
            match schedule.after(&failure) {
                // A destination that is gone keeps its backlog, whatever the schedule says.
                Next::GiveUp if attempt.result != AttemptResult::Gone => (DeliveryState::Parked, now),
                Next::GiveUp => (DeliveryState::Due, now),
                Next::At(at) => (DeliveryState::Due, at),
            }
        };
        if state.is_open() {
            change.retry_at = Some(change.retry_at.map_or(next_attempt_at, |at| at.min(next_attempt_at)));
        } else {
            results.freed.push((run.destination, run.order_key.clone()));
        }
        // A running call is leased, and from there each of the three exists.
        debug_assert!(DeliveryState::Leased.step(state).is_ok());
        results.settled.push(Settled { id: call.id, state, next_attempt_at, attempts: run.number, first_attempt_at });
        results.attempts.push((call.id, run.number, attempt.clone()));
    }
    results
}

/// What the last attempt said, for lists.
fn note(attempt: &Attempt) -> String {
    let mut note = format!("last attempt: {}", attempt.summary());
    if attempt.status == 0 && !attempt.answer.is_empty() {
        note.push_str(": ");
        note.push_str(&attempt.answer);
    }
    let mut end = note.len().min(NOTE_BYTES);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.truncate(end);
    note
}
