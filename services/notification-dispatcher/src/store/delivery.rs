//! Deliveries: made, claimed under a lease, settled, promoted.
//!
//! Of the open deliveries of one destination and order key only the earliest is a *head*, and only heads are claimed:
//! that is the whole of the ordering, and it costs one indexed update per finished delivery.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId, EventId};
use lictor_storage::{
    Database, StorageError, Tx,
    sqlx::{self, AssertSqlSafe, Row, any::AnyRow},
};

use prost::bytes::Bytes;

use super::{event::event_id, rows};
use crate::domain::delivery::DeliveryState;

/// A delivery under this program's lease.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: DeliveryId,
    /// What it carries.
    pub event_id: EventId,
    /// Which record of it; 0 for the whole.
    pub part: u32,
    /// Its own body; nothing for that of the event.
    pub body: Option<Bytes>,
    /// What orders it.
    pub order_key: String,
    /// Attempts before this one.
    pub attempts: u32,
    /// When it was tried first.
    pub first_attempt_at: Option<Timestamp>,
    pub(super) due: (i64, i64),
}

/// How an attempt leaves its delivery.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Which one.
    pub id: DeliveryId,
    /// Due again, done or parked.
    pub state: DeliveryState,
    /// When it is tried next, if it is due.
    pub next_attempt_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was tried first.
    pub first_attempt_at: Timestamp,
}

/// Destination and order key.
pub type Key = (DestinationId, String);

/// Makes the earliest open delivery of each key its head, and tells for which destinations one became it.
///
/// First a look, key by key, and then a change of what was found: usually nothing waits behind a delivery that ended. In
/// one statement the planner may begin with the table, which without statistics looks as if the conditions left one row
/// of it. The sum with nothing keeps it from indexes that would be read from their beginning.
pub async fn promote(tx: &mut Tx, keys: &[Key]) -> Result<HashSet<DestinationId>, StorageError> {
    let mut promoted = HashSet::new();
    let mut heads: Vec<String> = Vec::new();
    for piece in rows::pieces(keys) {
        let text = format!(
            "WITH k (destination_id, order_key) AS (VALUES {}) SELECT destination_id, \
             (SELECT CASE WHEN o.head = 0 AND o.state = 'due' THEN o.id END FROM delivery AS o \
              WHERE o.destination_id = k.destination_id AND o.order_key = k.order_key \
              AND o.state IN ('due', 'leased') ORDER BY o.position + 0 LIMIT 1) AS id FROM k",
            rows::values(piece.len(), 2, 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (destination, key) in piece {
            query = query.bind(destination.to_string()).bind(key.clone());
        }
        for row in query.fetch_all(tx.conn()).await? {
            if let Some(id) = row.try_get("id")? {
                heads.push(id);
                promoted.insert(destination_id(&row)?);
            }
        }
    }
    heads.sort();
    heads.dedup();
    for piece in rows::pieces(&heads) {
        let text = format!("UPDATE delivery SET head = 1 WHERE id IN {}", rows::list(piece.len(), 1));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in piece {
            query = query.bind(id.clone());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(promoted)
}

/// Lets go of what a later record about the same license made stale before it was sent, and lets the next of each key
/// be claimed. Wherever a delivery comes back from (a failure, a crash, a stop), it passes here before it is sent again.
pub async fn collapse(tx: &mut Tx, destination: DestinationId) -> Result<(), StorageError> {
    let keys: Vec<Key> = sqlx::query(
        "UPDATE delivery SET state = 'collapsed', head = 0 WHERE destination_id = $1 AND state IN ('due', 'leased') \
         AND state = 'due' AND collapses = 1 AND EXISTS (SELECT 1 FROM delivery AS later \
         WHERE later.destination_id = delivery.destination_id AND later.order_key = delivery.order_key \
         AND later.state IN ('due', 'leased') AND later.collapses = 1 AND later.position > delivery.position) \
         RETURNING destination_id, order_key",
    )
    .bind(destination.to_string())
    .fetch_all(tx.conn())
    .await?
    .iter()
    .map(|row| Ok::<_, StorageError>((destination_id(row)?, row.try_get("order_key")?)))
    .collect::<Result<_, _>>()?;
    promote(tx, &keys).await?;
    Ok(())
}

/// Leases up to `limit` heads of a destination whose time has come, earliest first.
pub async fn claim(
    tx: &mut Tx,
    destination: DestinationId,
    limit: usize,
    holder: &str,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Claimed>, StorageError> {
    let mut claimed = sqlx::query(
        "UPDATE delivery SET state = 'leased', lease_holder = $1, lease_until = $2 WHERE id IN \
         (SELECT id FROM delivery WHERE destination_id = $3 AND state = 'due' AND head = 1 AND next_attempt_at <= $4 \
          ORDER BY next_attempt_at, position LIMIT $5) \
         RETURNING id, event_id, part, body, order_key, attempts, first_attempt_at, next_attempt_at, position",
    )
    .bind(holder)
    .bind(now.saturating_add(lease).as_micros())
    .bind(destination.to_string())
    .bind(now.as_micros())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx.conn())
    .await?
    .iter()
    .map(claimed_row)
    .collect::<Result<Vec<_>, _>>()?;
    claimed.sort_by_key(|delivery| delivery.due);
    Ok(claimed)
}

/// Writes what attempts came to. A delivery that someone else has leased meanwhile is left to them, except that one that
/// was taken is done whoever holds it. As for [`promote`], only the primary key shall be of use.
pub async fn settle(tx: &mut Tx, settled: &[Settled], holder: &str) -> Result<(), StorageError> {
    for piece in rows::pieces(settled) {
        let text = format!(
            "WITH v (id, state, next_attempt_at, attempts, first_attempt_at) AS (VALUES {}) UPDATE delivery SET \
             state = v.state, next_attempt_at = v.next_attempt_at, attempts = v.attempts, \
             first_attempt_at = COALESCE(delivery.first_attempt_at, v.first_attempt_at), \
             head = CASE WHEN v.state = 'due' THEN 1 ELSE 0 END, lease_holder = NULL, lease_until = NULL \
             FROM v WHERE delivery.id = v.id AND ((v.state = 'done' AND delivery.state || '' IN ('due', 'leased')) \
             OR (delivery.state || '' = 'leased' AND delivery.lease_holder = $1))",
            rows::values(piece.len(), 5, 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(holder.to_owned());
        for one in piece {
            query = query
                .bind(one.id.to_string())
                .bind(one.state.name())
                .bind(one.next_attempt_at.as_micros())
                .bind(i64::from(one.attempts))
                .bind(one.first_attempt_at.as_micros());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// Makes this program's leases longer.
pub async fn renew(tx: &mut Tx, ids: &[DeliveryId], holder: &str, until: Timestamp) -> Result<(), StorageError> {
    for piece in rows::pieces(ids) {
        let text = format!(
            "UPDATE delivery SET lease_until = $1 WHERE lease_holder = $2 AND state || '' = 'leased' AND id IN {}",
            rows::list(piece.len(), 3)
        );
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(until.as_micros()).bind(holder.to_owned());
        for id in piece {
            query = query.bind(id.to_string());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// Leases that ran out: a program died, or lost sight of a claim. At most 1,000.
pub async fn run_out(db: &Database, now: Timestamp) -> Result<Vec<(DeliveryId, DestinationId)>, StorageError> {
    sqlx::query(
        "SELECT id, destination_id FROM delivery WHERE state = 'leased' AND lease_until > 0 AND lease_until <= $1 \
         ORDER BY lease_until LIMIT 1000",
    )
    .bind(now.as_micros())
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| Ok((delivery_id(row)?, destination_id(row)?)))
    .collect()
}

/// Makes deliveries due again whose lease ran out.
pub async fn take_back(tx: &mut Tx, ids: &[DeliveryId], now: Timestamp) -> Result<(), StorageError> {
    for piece in rows::pieces(ids) {
        let text = format!(
            "UPDATE delivery SET state = 'due', lease_holder = NULL, lease_until = NULL \
             WHERE state || '' = 'leased' AND lease_until <= $1 AND id IN {}",
            rows::list(piece.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(now.as_micros());
        for id in piece {
            query = query.bind(id.to_string());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// Gives leases back whose calls broke without an attempt.
pub async fn give_back(tx: &mut Tx, ids: &[DeliveryId], holder: &str) -> Result<(), StorageError> {
    for piece in rows::pieces(ids) {
        let text = format!(
            "UPDATE delivery SET state = 'due', lease_holder = NULL, lease_until = NULL \
             WHERE state || '' = 'leased' AND lease_holder = $1 AND id IN {}",
            rows::list(piece.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(holder.to_owned());
        for id in piece {
            query = query.bind(id.to_string());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// Gives all leases of a program back, for a stop that does not wait for running calls.
pub async fn hand_back(tx: &mut Tx, holder: &str) -> Result<u64, StorageError> {
    let given = sqlx::query(
        "UPDATE delivery SET state = 'due', lease_holder = NULL, lease_until = NULL \
         WHERE state = 'leased' AND lease_holder = $1",
    )
    .bind(holder)
    .execute(tx.conn())
    .await?;
    Ok(given.rows_affected())
}

/// When the next head of a destination is due.
pub async fn next_due(tx: &mut Tx, destination: DestinationId) -> Result<Option<Timestamp>, StorageError> {
    let row = sqlx::query(
        "SELECT MIN(next_attempt_at) FROM delivery WHERE destination_id = $1 AND state = 'due' AND head = 1",
    )
    .bind(destination.to_string())
    .fetch_one(tx.conn())
    .await?;
    let next: Option<i64> = row.try_get(0)?;
    Ok(next.map(Timestamp::from_micros))
}

/// When the next head of every destination is due, without the lock.
pub async fn next_due_of_all(db: &Database) -> Result<HashMap<DestinationId, Timestamp>, StorageError> {
    sqlx::query(
        "SELECT destination_id, MIN(next_attempt_at) FROM delivery WHERE state = 'due' AND head = 1 \
         GROUP BY destination_id",
    )
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| Ok((destination_id(row)?, Timestamp::from_micros(row.try_get(1)?))))
    .collect()
}

/// Lets everything that waits for a destination be tried now.
pub async fn hurry(tx: &mut Tx, destination: DestinationId, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE delivery SET next_attempt_at = $1 WHERE destination_id = $2 AND state = 'due' AND head = 1 \
         AND next_attempt_at > $1",
    )
    .bind(now.as_micros())
    .bind(destination.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// True while deliveries wait for a destination.
pub async fn any_open(tx: &mut Tx, destination: DestinationId) -> Result<bool, StorageError> {
    let row = sqlx::query("SELECT 1 FROM delivery WHERE destination_id = $1 AND state IN ('due', 'leased') LIMIT 1")
        .bind(destination.to_string())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.is_some())
}

/// Whose a delivery is, and where it stands.
pub async fn place(tx: &mut Tx, id: DeliveryId) -> Result<Option<(DestinationId, DeliveryState)>, StorageError> {
    let row = sqlx::query("SELECT destination_id, state FROM delivery WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx.conn())
        .await?;
    row.as_ref()
        .map(|row| {
            let state: String = row.try_get("state")?;
            let state = state.parse().map_err(|_| StorageError::inconsistent("delivery.state", state))?;
            Ok((destination_id(row)?, state))
        })
        .transpose()
}

/// Moves the beginning of every open delivery's time by how long its destination was disabled.
pub async fn stand_still(tx: &mut Tx, destination: DestinationId, for_time: Duration) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE delivery SET first_attempt_at = first_attempt_at + $1 WHERE destination_id = $2 \
         AND state IN ('due', 'leased') AND first_attempt_at IS NOT NULL",
    )
    .bind(i64::try_from(for_time.as_micros()).unwrap_or(i64::MAX))
    .bind(destination.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn claimed_row(row: &AnyRow) -> Result<Claimed, StorageError> {
    let attempts: i64 = row.try_get("attempts")?;
    let first: Option<i64> = row.try_get("first_attempt_at")?;
    Ok(Claimed {
        id: delivery_id(row)?,
        event_id: event_id(row, "event_id")?,
        part: part(row)?,
        body: row.try_get::<Option<Vec<u8>>, _>("body")?.map(Bytes::from),
        order_key: row.try_get("order_key")?,
        attempts: u32::try_from(attempts)
            .map_err(|_| StorageError::inconsistent("delivery.attempts", attempts.to_string()))?,
        first_attempt_at: first.map(Timestamp::from_micros),
        due: (row.try_get("next_attempt_at")?, row.try_get("position")?),
    })
}

pub(super) fn part(row: &AnyRow) -> Result<u32, StorageError> {
    let part: i64 = row.try_get("part")?;
    u32::try_from(part).map_err(|_| StorageError::inconsistent("delivery.part", part.to_string()))
}

pub(super) fn delivery_id(row: &AnyRow) -> Result<DeliveryId, StorageError> {
    let text: String = row.try_get("id")?;
    text.parse().map_err(|_| StorageError::inconsistent("delivery.id", text))
}

pub(super) fn destination_id(row: &AnyRow) -> Result<DestinationId, StorageError> {
    let text: String = row.try_get("destination_id")?;
    text.parse().map_err(|_| StorageError::inconsistent("delivery.destination_id", text))
}
