//! Taking events in: each once, in the order of its aggregate, with gaps seen.
//!
//! The sequence per source has no gaps at its producer, so a hole here means that something is still on its way. Events
//! above a hole are stored and acknowledged, but an event is only *released* — turned into deliveries — when it is known
//! that nothing earlier of its aggregate is missing. The reader of the source's cursor fills the hole.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lictor_clock::Timestamp;
use lictor_storage::{StorageError, Tx, inbox};

use super::Gaps;
use crate::{
    domain::{cloud_event, event::Event},
    store::{
        CONSUMER,
        event::{self, NewEvent, Quarantined, ReleasedEvent},
        ledger,
    },
};

/// What a turn took in.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Events whose deliveries are made now, in order.
    pub(super) released: Vec<ReleasedEvent>,
    /// Sources with a hole.
    pub(super) gaps: HashSet<String>,
    /// Events that were new.
    pub(super) fresh: usize,
    /// Events that were here already.
    pub(super) repeated: usize,
}

/// Stores `events` and tells what is released. `open_gaps` are the sources that had a hole after the last turn.
pub(super) async fn take(
    tx: &mut Tx,
    events: &[(Event, prost::bytes::Bytes)],
    quarantined: &[Quarantined],
    readers: &Gaps,
    open_gaps: &HashSet<String>,
    now: Timestamp,
) -> Result<Taken, StorageError> {
    let mut taken = Taken::default();
    let cursors = event::cursors(tx).await?;
    for bad in quarantined {
        event::quarantine(tx, bad, now).await?;
    }
    let reached = reached(events, quarantined, readers, &cursors);

    let mut new = Vec::with_capacity(events.len());
    let mut seen = HashSet::with_capacity(events.len());
    for (event, body) in events {
        if !seen.insert(event.id) {
            continue;
        }
        // A source without a reader can never fill a hole, so nothing is held back for it.
        let released = reached.get(event.source.as_str()).is_none_or(|reached| event.sequence <= *reached);
        new.push(NewEvent { event: event.clone(), body: body.clone(), released, position: None });
    }
    new.sort_by(|a, b| (&a.event.source, a.event.sequence).cmp(&(&b.event.source, b.event.sequence)));
    let released = new.iter().filter(|new| new.released).count();
    if released > 0 {
        // A repeated event leaves its place empty: a cursor only needs the order.
        let first = ledger::event_positions(tx, released).await?;
        for (new, position) in new.iter_mut().filter(|new| new.released).zip(first..) {
            new.position = Some(position);
        }
    }
    let fresh = event::insert(tx, &new, now).await?;
    taken.fresh = fresh.len();
    taken.repeated = events.len() - fresh.len();
    let straight: Vec<&NewEvent> = new.iter().filter(|new| new.released && fresh.contains(&new.event.id)).collect();
    taken.released.extend(straight.into_iter().map(ReleasedEvent::from));

    for (source, reached) in &reached {
        let before = cursors.get(*source).copied().unwrap_or(0);
        let above = new.iter().any(|new| new.event.source == *source && new.event.sequence > *reached);
        let mut through = *reached;
        if above || open_gaps.contains(*source) {
            let known = event::numbers_above(tx, source, through).await?;
            through = advance(through, &known);
            let freed = event::release(tx, source, through).await?;
            let ids: Vec<_> = freed.iter().map(|event| event.id).collect();
            event::place(tx, &ids).await?;
            taken.released.extend(freed);
            if event::holds_back(tx, source).await? || known.last().is_some_and(|last| *last > through) {
                taken.gaps.insert((*source).to_owned());
            }
        }
        if through > before {
            inbox::advance(tx, CONSUMER, source, through).await?;
        }
    }
    Ok(taken)
}

/// Per source that has a reader: how far it is whole, by its cursor and this turn's events alone.
fn reached<'a>(
    events: &'a [(Event, prost::bytes::Bytes)],
    quarantined: &'a [Quarantined],
    readers: &'a Gaps,
    cursors: &HashMap<String, u64>,
) -> BTreeMap<&'a str, u64> {
    let mut numbers: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let good = events.iter().map(|(event, _)| (event.source.as_str(), event.sequence));
    let bad = quarantined.iter().map(|bad| (bad.source.as_str(), bad.sequence));
    for (source, sequence) in good.chain(bad) {
        if readers.contains_key(source) {
            numbers.entry(source).or_default().insert(sequence);
        }
    }
    numbers
        .into_iter()
        .map(|(source, numbers)| (source, advance(cursors.get(source).copied().unwrap_or(0), &numbers)))
        .collect()
}

/// The highest number that is reached from `from` without a hole.
fn advance(from: u64, numbers: &BTreeSet<u64>) -> u64 {
    let mut reached = from;
    for number in numbers.range(from.saturating_add(1)..) {
        if *number != reached + 1 {
            break;
        }
        reached = *number;
    }
    reached
}

/// The body of each event, made once.
pub(super) fn with_bodies(events: Vec<Event>) -> Vec<(Event, prost::bytes::Bytes)> {
    events
        .into_iter()
        .map(|event| {
            let body = cloud_event::body(&event).into();
            (event, body)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_stops_before_a_hole() {
        let numbers = BTreeSet::from([3, 4, 5, 7]);
        assert_eq!(advance(2, &numbers), 5);
        assert_eq!(advance(1, &numbers), 1);
        assert_eq!(advance(4, &numbers), 5);
        assert_eq!(advance(9, &numbers), 9);
        assert_eq!(advance(0, &BTreeSet::new()), 0);
    }
}
