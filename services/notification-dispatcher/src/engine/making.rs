//! From events to deliveries: what each destination gets of each event, by its options.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId};
use lictor_storage::{StorageError, Tx};

use crate::{
    domain::{
        destination::Destination,
        record::{Seen, Share},
        scope::{Knowledge, needs},
    },
    random,
    store::{
        delivery::Key,
        event::ReleasedEvent,
        fresh::{self, Inserted, Leasing, NewDelivery},
        knowledge, ledger,
    },
};

/// What was made.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Keys that got something.
    pub(crate) keys: Vec<Key>,
    /// Destinations that collect, and when they send.
    pub(crate) later: Vec<(DestinationId, Timestamp)>,
    /// How many deliveries.
    pub(crate) count: u64,
    /// What was leased at once, and whom something waits for.
    pub(crate) inserted: Inserted,
}

/// Makes the deliveries of events that were just released, and of earlier ones that only waited to know of an order or
/// license that these tell of. Needs the ledger's lock.
pub(super) async fn of_released(
    tx: &mut Tx,
    released: &[ReleasedEvent],
    destinations: &HashMap<DestinationId, Destination>,
    leasing: Option<&mut Leasing<'_>>,
    now: Timestamp,
) -> Result<Made, StorageError> {
    let mut wanted = Vec::new();
    let filtered = destinations.values().any(|destination| !destination.options.scope.is_everything());
    if filtered {
        let tells = |kind: &str| kind.starts_with("lictor.license.") || kind == "lictor.order.created.v1";
        let told: BTreeSet<String> =
            released.iter().filter(|event| tells(&event.kind)).map(|event| event.order_key.clone()).collect();
        for (seen, destination) in knowledge::take_open(tx, &told).await? {
            wanted.push((Arc::new(seen), destination));
        }
    }
    for event in released {
        let takers: Vec<DestinationId> = destinations
            .values()
            .filter(|destination| destination.options.types.wants(&event.kind))
            .map(|destination| destination.id)
            .collect();
        if takers.is_empty() {
            continue;
        }
        let seen = Arc::new(Seen::new(event.id, event.kind.clone(), event.order_key.clone(), event.body.clone()));
        wanted.extend(takers.into_iter().map(|id| (Arc::clone(&seen), id)));
    }
    make(tx, &wanted, destinations, leasing, now).await
}

/// Makes the deliveries of `wanted` events. Needs the ledger's lock.
pub(crate) async fn make(
    tx: &mut Tx,
    wanted: &[(Arc<Seen>, DestinationId)],
    destinations: &HashMap<DestinationId, Destination>,
    leasing: Option<&mut Leasing<'_>>,
    now: Timestamp,
) -> Result<Made, StorageError> {
    let mut asked = BTreeSet::new();
    for (seen, id) in wanted {
        if destinations.get(id).is_some_and(|destination| destination.options.needs_knowledge()) {
            asked.extend(needs(&seen.json()["data"]).into_iter().map(str::to_owned));
        }
    }
    let known = if asked.is_empty() { Knowledge::default() } else { knowledge::of(tx, &asked).await? };
    let (mut deliveries, mut open, mut made) = (Vec::new(), Vec::new(), Made::default());
    for (seen, id) in wanted {
        let Some(destination) = destinations.get(id) else {
            continue;
        };
        let records = match seen.share(&destination.options, &known) {
            Share::Records(records) => records,
            Share::DependsOn(what) => {
                open.push((seen.id, *id, what));
                continue;
            }
        };
        let leaves_at = destination.options.leaves_at(now);
        if leaves_at > now && !records.is_empty() {
            made.later.push((*id, leaves_at));
        }
        deliveries.extend(records.into_iter().map(|record| NewDelivery {
            id: DeliveryId::new(now, random::bytes()),
            destination_id: *id,
            event_id: seen.id,
            part: record.part,
            order_key: record.order_key,
            position: 0,
            collapses: record.collapses,
            body: record.body,
            leaves_at,
        }));
    }
    if !deliveries.is_empty() {
        let first = ledger::positions(tx, deliveries.len()).await?;
        for (delivery, position) in deliveries.iter_mut().zip(first..) {
            delivery.position = position;
        }
        made.inserted = fresh::insert(tx, &deliveries, leasing, now).await?;
    }
    knowledge::leave_open(tx, &open).await?;
    made.count = deliveries.len() as u64;
    made.keys.extend(deliveries.into_iter().map(|delivery| (delivery.destination_id, delivery.order_key)));
    Ok(made)
}
