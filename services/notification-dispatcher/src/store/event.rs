//! Events: taken once, released in order, quarantined when they cannot be understood.

use std::collections::{BTreeSet, HashMap, HashSet};

use lictor_clock::Timestamp;
use lictor_licensing::id::EventId;
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, AssertSqlSafe, Row, any::AnyRow},
    to_i64, to_u64,
};
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{CONSUMER, rows};
use crate::domain::event::{Event, EventError};

/// How far a gap is looked over at once.
const AHEAD: i64 = 1_000;

/// An event on its way into the table.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// Its body.
    pub body: Bytes,
    /// Whether its deliveries may be made now.
    pub released: bool,
    /// Its place for receivers that fetch, when it is released.
    pub position: Option<i64>,
}

/// What deliveries are made of.
#[derive(Debug, Clone)]
pub struct ReleasedEvent {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub kind: String,
    /// What orders its deliveries.
    pub order_key: String,
    /// The body.
    pub body: Bytes,
    /// The trace of the change.
    pub traceparent: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Its number at its source.
    pub sequence: u64,
}

/// Something that came as an event and is none that can be delivered.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// The service that it came from.
    pub source: String,
    /// Its number there; 0 when that could not be read.
    pub sequence: u64,
    /// Why.
    pub reason: EventError,
    /// The bytes as they came.
    pub payload: Vec<u8>,
}

/// Gives events that were held back and are released now their positions, in their order. Needs the ledger's lock.
pub async fn place(tx: &mut Tx, ids: &[EventId]) -> Result<(), StorageError> {
    if ids.is_empty() {
        return Ok(());
    }
    let first = super::ledger::event_positions(tx, ids.len()).await?;
    let placed: Vec<(EventId, i64)> = ids.iter().copied().zip(first..).collect();
    for piece in rows::pieces(&placed) {
        let text = format!(
            "WITH v (id, position) AS (VALUES {}) UPDATE event SET position = v.position FROM v WHERE event.id = v.id",
            rows::values(piece.len(), 2, 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (id, position) in piece {
            query = query.bind(id.to_string()).bind(*position);
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// Inserts what is new and tells the ids of that.
pub async fn insert(tx: &mut Tx, events: &[NewEvent], now: Timestamp) -> Result<HashSet<EventId>, StorageError> {
    let mut fresh = HashSet::new();
    for piece in rows::pieces(events) {
        let text = format!(
            "INSERT INTO event (id, type, source, sequence, subject, aggregate_sequence, occurred_at, taken_at, \
             traceparent, body, released, position) VALUES {} ON CONFLICT (id) DO NOTHING RETURNING id",
            rows::values(piece.len(), 12, 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for new in piece {
            let event = &new.event;
            query = query
                .bind(event.id.to_string())
                .bind(event.kind.clone())
                .bind(event.source.clone())
                .bind(to_i64(event.sequence)?)
                .bind(event.subject.clone())
                .bind(to_i64(event.aggregate_sequence)?)
                .bind(event.time.as_micros())
                .bind(now.as_micros())
                .bind(event.traceparent.clone())
                .bind(new.body.to_vec())
                .bind(i64::from(new.released))
                .bind(new.position);
        }
        for row in query.fetch_all(tx.conn()).await? {
            fresh.insert(event_id(&row, "id")?);
        }
    }
    Ok(fresh)
}

/// Keeps something aside that cannot be delivered.
pub async fn quarantine(tx: &mut Tx, bad: &Quarantined, now: Timestamp) -> Result<(), StorageError> {
    let digest: String = Sha256::digest(&bad.payload).iter().map(|byte| format!("{byte:02x}")).collect();
    sqlx::query(
        "INSERT INTO quarantined_event (source, sequence, digest, reason, payload, quarantined_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (source, sequence, digest) DO NOTHING",
    )
    .bind(&bad.source)
    .bind(to_i64(bad.sequence)?)
    .bind(digest)
    .bind(bad.reason.to_string())
    .bind(bad.payload.clone())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How far each source was read without a gap.
pub async fn cursors(tx: &mut Tx) -> Result<HashMap<String, u64>, StorageError> {
    sqlx::query("SELECT source, after_sequence FROM inbox_cursor WHERE consumer = $1")
        .bind(CONSUMER)
        .fetch_all(tx.conn())
        .await?
        .iter()
        .map(|row| Ok((row.try_get("source")?, to_u64(row.try_get("after_sequence")?)?)))
        .collect()
}

/// The numbers above `after` that are here already, quarantined ones included.
pub async fn numbers_above(tx: &mut Tx, source: &str, after: u64) -> Result<BTreeSet<u64>, StorageError> {
    sqlx::query(
        "SELECT sequence FROM event WHERE source = $1 AND sequence > $2 \
         UNION SELECT sequence FROM quarantined_event WHERE source = $1 AND sequence > $2 ORDER BY 1 LIMIT $3",
    )
    .bind(source)
    .bind(to_i64(after)?)
    .bind(AHEAD)
    .fetch_all(tx.conn())
    .await?
    .iter()
    .map(|row| to_u64(row.try_get(0)?))
    .collect()
}

/// Releases what was held back and is not any more: everything up to `through`, and beyond it each event whose
/// predecessor in its aggregate is released. Oldest first.
pub async fn release(tx: &mut Tx, source: &str, through: u64) -> Result<Vec<ReleasedEvent>, StorageError> {
    let mut released = Vec::new();
    loop {
        let freed = sqlx::query(
            "UPDATE event SET released = 1 WHERE source = $1 AND released = 0 AND (sequence <= $2 OR aggregate_sequence = 1 \
             OR EXISTS (SELECT 1 FROM event AS earlier WHERE earlier.subject = event.subject \
                        AND earlier.aggregate_sequence = event.aggregate_sequence - 1 \
                        AND earlier.source = event.source AND earlier.released = 1)) \
             RETURNING id, type, subject, traceparent, body, occurred_at, sequence",
        )
        .bind(source)
        .bind(to_i64(through)?)
        .fetch_all(tx.conn())
        .await?;
        if freed.is_empty() {
            break;
        }
        for row in &freed {
            released.push(released_event(row)?);
        }
    }
    released.sort_by_key(|event: &ReleasedEvent| event.sequence);
    Ok(released)
}

/// True while events of `source` are held back.
pub async fn holds_back(tx: &mut Tx, source: &str) -> Result<bool, StorageError> {
    let row = sqlx::query("SELECT 1 FROM event WHERE source = $1 AND released = 0 LIMIT 1")
        .bind(source)
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.is_some())
}

/// Body and trace of events, by id.
pub async fn bodies(tx: &mut Tx, ids: &[EventId]) -> Result<HashMap<EventId, (Bytes, Option<String>)>, StorageError> {
    let mut found = HashMap::new();
    for piece in rows::pieces(ids) {
        let text = format!("SELECT id, body, traceparent FROM event WHERE id IN {}", rows::list(piece.len(), 1));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in piece {
            query = query.bind(id.to_string());
        }
        for row in query.fetch_all(tx.conn()).await? {
            let body: Vec<u8> = row.try_get("body")?;
            found.insert(event_id(&row, "id")?, (Bytes::from(body), row.try_get("traceparent")?));
        }
    }
    Ok(found)
}

impl From<&NewEvent> for ReleasedEvent {
    fn from(new: &NewEvent) -> Self {
        Self {
            id: new.event.id,
            kind: new.event.kind.clone(),
            order_key: new.event.order_key().to_owned(),
            body: new.body.clone(),
            traceparent: new.event.traceparent.clone(),
            occurred_at: new.event.time,
            sequence: new.event.sequence,
        }
    }
}

fn released_event(row: &AnyRow) -> Result<ReleasedEvent, StorageError> {
    let body: Vec<u8> = row.try_get("body")?;
    Ok(ReleasedEvent {
        id: event_id(row, "id")?,
        kind: row.try_get("type")?,
        order_key: row.try_get("subject")?,
        body: Bytes::from(body),
        traceparent: row.try_get("traceparent")?,
        occurred_at: Timestamp::from_micros(row.try_get("occurred_at")?),
        sequence: to_u64(row.try_get("sequence")?)?,
    })
}

pub(super) fn event_id(row: &AnyRow, column: &str) -> Result<EventId, StorageError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| StorageError::inconsistent("event.id", text))
}
