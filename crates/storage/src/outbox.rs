//! The transactional outbox: facts are rows of the change's own transaction and leave after its commit.
//!
//! 1. [`append`] in the transaction of the change. The aggregate's own version gives `aggregate_sequence`.
//! 2. [`sequence`] after the commit: one sequencer at a time numbers what is visible, 1, 2, 3 … without gaps. A number
//!    drawn inside the transaction would become visible out of order, and a cursor would step over the late one.
//! 3. [`list_events`] answers cursors; [`has_unpublished`] and [`advance`] serve the relay to the broker.
//!
//! Events of one aggregate keep their order: its second event can only be inserted after its first is committed (the
//! aggregate's row is locked or versioned), so insertion order within an aggregate is the order of the facts.

use lictor_clock::Timestamp;
use sqlx::{Row, any::AnyRow};

use crate::{Database, StorageError, Tx, to_i64, to_u64};

/// Most events that one [`sequence`] call numbers.
const SEQUENCE_BATCH: i64 = 1_000;
/// Most bytes of one event.
pub const PAYLOAD_BYTES: usize = 1024 * 1024;

/// A fact to announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Time-ordered id, `evt_…`.
    pub id: String,
    /// `lictor.<noun>.<past verb>.v1`.
    pub kind: String,
    /// What the fact is about: an order id, a license id, ….
    pub aggregate: String,
    /// 1, 2, 3 … per aggregate.
    pub aggregate_sequence: u64,
    /// The encoded event, at most [`PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
    /// W3C traceparent of the change, if it was traced.
    pub traceparent: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// A fact with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// 1, 2, 3 … per service, without gaps.
    pub sequence: u64,
    /// The fact as it was appended.
    pub event: NewEvent,
}

/// Writes the event as part of `tx`.
///
/// # Errors
/// `Unique` when the id or the aggregate's number exists: the aggregate was changed by someone else meanwhile.
pub async fn append(tx: &mut Tx, event: &NewEvent) -> Result<(), StorageError> {
    if event.payload.len() > PAYLOAD_BYTES {
        return Err(StorageError::inconsistent("outbox", "an event is larger than 1 MiB"));
    }
    sqlx::query(
        "INSERT INTO outbox (id, type, aggregate, aggregate_sequence, payload, traceparent, occurred_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&event.id)
    .bind(&event.kind)
    .bind(&event.aggregate)
    .bind(to_i64(event.aggregate_sequence)?)
    .bind(event.payload.clone())
    .bind(event.traceparent.clone())
    .bind(event.occurred_at.as_micros())
    .execute(tx.conn())
    .await?;
    tx.mark_appended();
    Ok(())
}

/// Most events that [`append_all`] writes with one statement.
const APPEND_ROWS: usize = 500;

/// Writes several events as part of `tx`, in their order, with one statement for each 500.
///
/// # Errors
/// As for [`append`].
pub async fn append_all(tx: &mut Tx, events: &[NewEvent]) -> Result<(), StorageError> {
    if events.iter().any(|event| event.payload.len() > PAYLOAD_BYTES) {
        return Err(StorageError::inconsistent("outbox", "an event is larger than 1 MiB"));
    }
    for part in events.chunks(APPEND_ROWS) {
        let marks = |row: usize| -> String {
            let places: Vec<String> = (row * 7 + 1..=row * 7 + 7).map(|place| format!("${place}")).collect();
            format!("({})", places.join(","))
        };
        let rows: Vec<String> = (0..part.len()).map(marks).collect();
        // Only place holders are put together here, so no outside text can become SQL.
        let mut query = sqlx::query(sqlx::AssertSqlSafe(format!(
            "INSERT INTO outbox (id, type, aggregate, aggregate_sequence, payload, traceparent, occurred_at) VALUES {}",
            rows.join(",")
        )));
        for event in part {
            query = query
                .bind(event.id.clone())
                .bind(event.kind.clone())
                .bind(event.aggregate.clone())
                .bind(to_i64(event.aggregate_sequence)?)
                .bind(event.payload.clone())
                .bind(event.traceparent.clone())
                .bind(event.occurred_at.as_micros());
        }
        query.execute(tx.conn()).await?;
        tx.mark_appended();
    }
    Ok(())
}

/// The number for the next event of `aggregate`, for aggregates that keep no version of their own. The caller must hold
/// the aggregate's row lock.
pub async fn next_aggregate_sequence(tx: &mut Tx, aggregate: &str) -> Result<u64, StorageError> {
    let row = sqlx::query("SELECT MAX(aggregate_sequence) FROM outbox WHERE aggregate = $1")
        .bind(aggregate)
        .fetch_one(tx.conn())
        .await?;
    let last: Option<i64> = row.try_get(0)?;
    to_u64(last.unwrap_or(0) + 1)
}

/// Numbers committed events that have none, at most 1,000, and tells how many. Safe from any number of replicas at once:
/// the row of `outbox_head` is locked.
pub async fn sequence(db: &Database) -> Result<u64, StorageError> {
    // Looking first without a lock: an idle poll writes nothing.
    let waiting =
        sqlx::query("SELECT 1 FROM outbox WHERE sequence IS NULL LIMIT 1").fetch_optional(db.pool()).await?.is_some();
    if !waiting {
        return Ok(0);
    }
    crate::retry(|| async {
        let mut tx = db.begin().await?;
        let lock = tx.dialect().lock_rows("SELECT last_sequence FROM outbox_head WHERE id = 1");
        let last: i64 = sqlx::query(lock).fetch_one(tx.conn()).await?.try_get(0)?;
        let numbered = number(&mut tx, last).await?;
        tx.commit().await?;
        Ok(numbered)
    })
    .await
}

/// Numbers what has no number yet, from `last` on, under the lock of `outbox_head`.
async fn number(tx: &mut Tx, last: i64) -> Result<u64, StorageError> {
    let numbered = sqlx::query(
        "UPDATE outbox SET sequence = $1 + waiting.place FROM \
         (SELECT position, ROW_NUMBER() OVER (ORDER BY position) AS place FROM outbox \
          WHERE sequence IS NULL ORDER BY position LIMIT $2) AS waiting \
         WHERE outbox.position = waiting.position",
    )
    .bind(last)
    .bind(SEQUENCE_BATCH)
    .execute(tx.conn())
    .await?
    .rows_affected();
    if numbered > 0 {
        sqlx::query("UPDATE outbox_head SET last_sequence = $1 WHERE id = 1")
            .bind(last + to_i64(numbered)?)
            .execute(tx.conn())
            .await?;
    }
    Ok(numbered)
}

/// Up to which number events are gone, because they were kept for their time (see [`crate::keeping`]); 0 for none.
pub async fn gone_through(db: &Database) -> Result<u64, StorageError> {
    crate::keeping::gone_through(db).await
}

/// Events with a number strictly above `after`, oldest first, at most `limit` (1..=1000); of those that are gone none.
pub async fn list_events(db: &Database, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StorageError> {
    // A cursor beyond the last number is simply at the end.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    sqlx::query(
        "SELECT sequence, id, type, aggregate, aggregate_sequence, payload, traceparent, occurred_at FROM outbox \
         WHERE sequence > $1 AND sequence > (SELECT gone_through FROM outbox_head WHERE id = 1) \
         ORDER BY sequence LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit.clamp(1, 1_000)))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(stored_event)
    .collect()
}

/// Whether there are events that the broker has not confirmed, numbered or not. Writes nothing.
pub async fn has_unpublished(db: &Database) -> Result<bool, StorageError> {
    let row = sqlx::query(
        "SELECT CASE WHEN last_sequence > published_through \
         OR EXISTS (SELECT 1 FROM outbox WHERE sequence IS NULL) THEN 1 ELSE 0 END FROM outbox_head WHERE id = 1",
    )
    .fetch_one(db.pool())
    .await?;
    Ok(row.try_get::<i32, _>(0)? == 1)
}

/// One step of the relay, in one transaction: notes that the broker confirmed everything up to and including `confirmed`
/// (0 for nothing new), numbers what has no number, and gives what is to be published next, oldest first, at most `limit`
/// (1..=1000).
pub async fn advance(db: &Database, confirmed: u64, limit: u32) -> Result<Vec<StoredEvent>, StorageError> {
    let confirmed = to_i64(confirmed)?;
    crate::retry(|| async {
        let mut tx = db.begin().await?;
        // Two relays may overlap for a moment after a lease changed hands: the mark never goes back.
        let head = sqlx::query(
            "UPDATE outbox_head SET published_through = CASE WHEN published_through < $1 THEN $1 \
             ELSE published_through END WHERE id = 1 RETURNING last_sequence, published_through",
        )
        .bind(confirmed)
        .fetch_one(tx.conn())
        .await?;
        let through: i64 = head.try_get("published_through")?;
        number(&mut tx, head.try_get("last_sequence")?).await?;
        let rows = sqlx::query(
            "SELECT sequence, id, type, aggregate, aggregate_sequence, payload, traceparent, occurred_at FROM outbox \
             WHERE sequence > $1 ORDER BY sequence LIMIT $2",
        )
        .bind(through)
        .bind(i64::from(limit.clamp(1, 1_000)))
        .fetch_all(tx.conn())
        .await?;
        tx.commit().await?;
        rows.iter().map(stored_event).collect()
    })
    .await
}

/// The last number given; 0 before the first event.
pub async fn last_sequence(db: &Database) -> Result<u64, StorageError> {
    let row = sqlx::query("SELECT last_sequence FROM outbox_head WHERE id = 1").fetch_one(db.pool()).await?;
    to_u64(row.try_get(0)?)
}

/// How many committed events the broker has not confirmed, and when the oldest happened: for metrics and alarms.
pub async fn backlog(db: &Database) -> Result<(u64, Option<Timestamp>), StorageError> {
    let row = sqlx::query(
        "SELECT COUNT(*), MIN(occurred_at) FROM outbox WHERE sequence IS NULL \
         OR sequence > (SELECT published_through FROM outbox_head WHERE id = 1)",
    )
    .fetch_one(db.pool())
    .await?;
    let oldest: Option<i64> = row.try_get(1)?;
    Ok((to_u64(row.try_get(0)?)?, oldest.map(Timestamp::from_micros)))
}

fn stored_event(row: &AnyRow) -> Result<StoredEvent, StorageError> {
    Ok(StoredEvent {
        sequence: to_u64(row.try_get("sequence")?)?,
        event: NewEvent {
            id: row.try_get("id")?,
            kind: row.try_get("type")?,
            aggregate: row.try_get("aggregate")?,
            aggregate_sequence: to_u64(row.try_get("aggregate_sequence")?)?,
            payload: row.try_get("payload")?,
            traceparent: row.try_get("traceparent")?,
            occurred_at: Timestamp::from_micros(row.try_get("occurred_at")?),
        },
    })
}
