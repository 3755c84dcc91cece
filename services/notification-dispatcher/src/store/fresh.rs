//! Deliveries that begin: written once, and leased in the same breath where there is room for them.

use std::collections::{HashMap, HashSet};

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId, EventId};
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, AssertSqlSafe, Row},
};
use prost::bytes::Bytes;

use super::{
    delivery::{Claimed, Key, delivery_id, destination_id, promote},
    rows,
};
use crate::domain::delivery::DeliveryState;

/// A delivery that begins.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where it goes.
    pub destination_id: DestinationId,
    /// What it carries.
    pub event_id: EventId,
    /// Which record of it; 0 for the whole.
    pub part: u32,
    /// What orders it.
    pub order_key: String,
    /// Its place in that order.
    pub position: i64,
    /// Whether a later one of its key makes it stale.
    pub collapses: bool,
    /// Its own body; nothing for that of the event.
    pub body: Option<Bytes>,
    /// When it may leave.
    pub leaves_at: Timestamp,
}

impl NewDelivery {
    /// Whether it may be sent without a further look: one that later ones may make stale is looked at once more.
    fn may_leave(&self, head: bool, now: Timestamp) -> bool {
        head && !self.collapses && self.leaves_at <= now
    }

    fn claimed(&self) -> Claimed {
        Claimed {
            id: self.id,
            event_id: self.event_id,
            part: self.part,
            body: self.body.clone(),
            order_key: self.order_key.clone(),
            attempts: 0,
            first_attempt_at: None,
            due: (self.leaves_at.as_micros(), self.position),
        }
    }
}

/// Who may lease deliveries as they are made, so that a first attempt needs no claim.
#[derive(Debug)]
pub struct Leasing<'a> {
    /// The running program.
    pub holder: &'a str,
    /// When its leases run out.
    pub until: Timestamp,
    /// How many per destination.
    pub room: HashMap<DestinationId, usize>,
    /// How many in all.
    pub room_of_all: usize,
}

impl Leasing<'_> {
    /// Takes a place for a delivery to `destination`, if there is one: holder and end of its lease.
    fn take(&mut self, destination: DestinationId) -> Option<(String, i64)> {
        let room = self.room.get_mut(&destination).filter(|room| **room > 0)?;
        self.room_of_all = self.room_of_all.checked_sub(1)?;
        *room -= 1;
        Some((self.holder.to_owned(), self.until.as_micros()))
    }
}

/// What became of deliveries that were made.
#[derive(Debug, Default)]
pub struct Inserted {
    /// Leased at once, in their order.
    pub leased: Vec<(DestinationId, Claimed)>,
    /// Destinations that something may wait for.
    pub waits: HashSet<DestinationId>,
}

/// Makes deliveries; the first one of a key that has none open is its head at once, and leased if there is room.
pub async fn insert(
    tx: &mut Tx,
    deliveries: &[NewDelivery],
    mut leasing: Option<&mut Leasing<'_>>,
    now: Timestamp,
) -> Result<Inserted, StorageError> {
    let mut keys: Vec<Key> = deliveries.iter().map(|new| (new.destination_id, new.order_key.clone())).collect();
    keys.sort();
    keys.dedup();
    let mut taken = with_open(tx, &keys).await?;
    let mut inserted = Inserted::default();
    for piece in rows::pieces(deliveries) {
        let text = format!(
            "INSERT INTO delivery (id, destination_id, event_id, part, order_key, position, state, head, \
             next_attempt_at, attempts, created_at, collapses, body, lease_holder, lease_until) VALUES {} \
             ON CONFLICT (event_id, destination_id, part) DO NOTHING",
            rows::values(piece.len(), 15, 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        let mut leased = Vec::new();
        for new in piece {
            let head = taken.insert((new.destination_id, new.order_key.clone()));
            let may_leave = new.may_leave(head, now);
            let lease = leasing.as_mut().filter(|_| may_leave).and_then(|leasing| leasing.take(new.destination_id));
            if lease.is_some() {
                leased.push((new.destination_id, new.claimed()));
            }
            if head && lease.is_none() {
                inserted.waits.insert(new.destination_id);
            }
            let state = if lease.is_some() { DeliveryState::Leased } else { DeliveryState::Due };
            query = query
                .bind(new.id.to_string())
                .bind(new.destination_id.to_string())
                .bind(new.event_id.to_string())
                .bind(i64::from(new.part))
                .bind(new.order_key.clone())
                .bind(new.position)
                .bind(state.name())
                .bind(i64::from(head))
                .bind(new.leaves_at.as_micros())
                .bind(0_i64)
                .bind(now.as_micros())
                .bind(i64::from(new.collapses))
                .bind(new.body.as_ref().map(|body| body.to_vec()))
                .bind(lease.as_ref().map(|(holder, _)| holder.clone()))
                .bind(lease.map(|(_, until)| until));
        }
        let made = query.execute(tx.conn()).await?.rows_affected();
        if made < piece.len() as u64 {
            // One that was there already may have been meant as a head; its followers would wait for ever.
            let keys: Vec<Key> = piece.iter().map(|new| (new.destination_id, new.order_key.clone())).collect();
            inserted.waits.extend(promote(tx, &keys).await?);
            let ids: Vec<DeliveryId> = leased.iter().map(|(_, claimed)| claimed.id).collect();
            let there = existing(tx, &ids).await?;
            leased.retain(|(_, claimed)| there.contains(&claimed.id));
        }
        inserted.leased.append(&mut leased);
    }
    Ok(inserted)
}

/// Which of these are in the table.
async fn existing(tx: &mut Tx, ids: &[DeliveryId]) -> Result<HashSet<DeliveryId>, StorageError> {
    let mut found = HashSet::new();
    for piece in rows::pieces(ids) {
        let text = format!("SELECT id FROM delivery WHERE id IN {}", rows::list(piece.len(), 1));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in piece {
            query = query.bind(id.to_string());
        }
        for row in query.fetch_all(tx.conn()).await? {
            found.insert(delivery_id(&row)?);
        }
    }
    Ok(found)
}

/// Which of these keys have an open delivery. A sub-query with a limit is asked key by key; a join might read all that is
/// open.
async fn with_open(tx: &mut Tx, keys: &[Key]) -> Result<HashSet<Key>, StorageError> {
    let mut found = HashSet::new();
    for piece in rows::pieces(keys) {
        let text = format!(
            "WITH k (destination_id, order_key) AS (VALUES {}) SELECT destination_id, order_key FROM k \
             WHERE (SELECT 1 FROM delivery AS o WHERE o.destination_id = k.destination_id \
                    AND o.order_key = k.order_key AND o.state IN ('due', 'leased') LIMIT 1) = 1",
            rows::values(piece.len(), 2, 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (destination, key) in piece {
            query = query.bind(destination.to_string()).bind(key.clone());
        }
        for row in query.fetch_all(tx.conn()).await? {
            found.insert((destination_id(&row)?, row.try_get("order_key")?));
        }
    }
    Ok(found)
}
