//! Replays: written down, done in steps, each in a transaction that begins with the ledger's lock.

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId, ReplayId};
use lictor_storage::{
    Database, StorageError, Tx,
    sqlx::{self, Row, any::AnyRow},
    to_i64, to_u64,
};
use prost::bytes::Bytes;

use super::{
    delivery::{self, Key, delivery_id, destination_id},
    event::event_id,
};
use crate::domain::{
    record::Seen,
    replay::{Kind, Replay, State},
};

/// Rows that one step looks at.
pub const STEP: u32 = 256;

const COLUMNS: &str = "SELECT id, destination_id, kind, delivery_id, state, since, until, cursor, replayed, created_at, \
     finished_at FROM replay";

/// Writes a job down.
pub async fn insert(tx: &mut Tx, new: &Replay) -> Result<(), StorageError> {
    let delivery = if let Kind::One(id) = new.kind { Some(id.to_string()) } else { None };
    sqlx::query(
        "INSERT INTO replay (id, destination_id, kind, delivery_id, state, since, until, cursor, replayed, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(new.id.to_string())
    .bind(new.destination.to_string())
    .bind(new.kind.name())
    .bind(delivery)
    .bind(new.state.name())
    .bind(new.since.as_micros())
    .bind(new.until.as_micros())
    .bind(new.cursor)
    .bind(to_i64(new.replayed)?)
    .bind(new.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How many jobs run.
pub async fn running(tx: &mut Tx) -> Result<u64, StorageError> {
    let row = sqlx::query("SELECT COUNT(*) FROM replay WHERE state = 'running'").fetch_one(tx.conn()).await?;
    to_u64(row.try_get(0)?)
}

/// The job that comes next: the oldest that runs.
pub async fn next(tx: &mut Tx) -> Result<Option<Replay>, StorageError> {
    let text =
        lictor_storage::sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE state = 'running' ORDER BY created_at LIMIT 1"));
    sqlx::query(text).fetch_optional(tx.conn()).await?.as_ref().map(replay).transpose()
}

/// One job.
pub async fn find(tx: &mut Tx, id: ReplayId) -> Result<Option<Replay>, StorageError> {
    let text = lictor_storage::sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1"));
    sqlx::query(text).bind(id.to_string()).fetch_optional(tx.conn()).await?.as_ref().map(replay).transpose()
}

/// The newest hundred jobs, of one destination or of all.
pub async fn newest(db: &Database, destination: Option<DestinationId>) -> Result<Vec<Replay>, StorageError> {
    let text = format!("{COLUMNS} WHERE $1 = '' OR destination_id = $1 ORDER BY created_at DESC, id DESC LIMIT 100");
    sqlx::query(lictor_storage::sqlx::AssertSqlSafe(text))
        .bind(destination.map(|id| id.to_string()).unwrap_or_default())
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(replay)
        .collect()
}

/// Writes how far a job is.
pub async fn write(tx: &mut Tx, job: &Replay) -> Result<(), StorageError> {
    sqlx::query("UPDATE replay SET state = $1, cursor = $2, replayed = $3, finished_at = $4 WHERE id = $5")
        .bind(job.state.name())
        .bind(job.cursor)
        .bind(to_i64(job.replayed)?)
        .bind(job.finished_at.map(Timestamp::as_micros))
        .bind(job.id.to_string())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Makes deliveries of a job due again, at most [`STEP`] after its cursor. Tells how many were looked at, how many became
/// due, and the last position.
pub async fn again(tx: &mut Tx, job: &Replay, now: Timestamp) -> Result<(usize, u64, i64), StorageError> {
    let states = match job.kind {
        Kind::Failed => "('parked')",
        Kind::One(_) | Kind::Range | Kind::NeverAttempted => "('done', 'parked', 'collapsed')",
    };
    let one = if let Kind::One(id) = job.kind { id.to_string() } else { String::new() };
    let text = format!(
        "SELECT delivery.id, delivery.destination_id, delivery.order_key, delivery.position FROM delivery \
         JOIN event ON event.id = delivery.event_id WHERE delivery.destination_id = $1 AND delivery.position > 0 AND delivery.position > $2 \
         AND delivery.state IN {states} AND event.occurred_at >= $3 AND event.occurred_at < $4 \
         AND ($5 = '' OR delivery.id = $5) ORDER BY delivery.position LIMIT $6"
    );
    let rows = sqlx::query(lictor_storage::sqlx::AssertSqlSafe(text))
        .bind(job.destination.to_string())
        .bind(job.cursor)
        .bind(job.since.as_micros())
        .bind(job.until.as_micros())
        .bind(one)
        .bind(i64::from(STEP))
        .fetch_all(tx.conn())
        .await?;
    let mut keys: Vec<Key> = Vec::with_capacity(rows.len());
    let (mut last, mut due) = (job.cursor, 0);
    for row in &rows {
        last = row.try_get("position")?;
        let changed = sqlx::query(
            "UPDATE delivery SET state = 'due', head = 0, next_attempt_at = $1, first_attempt_at = NULL WHERE id = $2 \
             AND state IN ('done', 'parked', 'collapsed')",
        )
        .bind(now.as_micros())
        .bind(delivery_id(row)?.to_string())
        .execute(tx.conn())
        .await?;
        due += changed.rows_affected();
        keys.push((destination_id(row)?, row.try_get("order_key")?));
    }
    keys.sort();
    keys.dedup();
    delivery::promote(tx, &keys).await?;
    Ok((rows.len(), due, last))
}

/// Events of a job's time without any delivery to its destination, at most [`STEP`] after its cursor, and the last
/// position that was looked at; nothing when there are none left.
pub async fn without_delivery(tx: &mut Tx, job: &Replay) -> Result<(Vec<Seen>, Option<i64>), StorageError> {
    let rows = sqlx::query(
        "SELECT event.id, event.type, event.subject, event.body, event.position FROM event WHERE event.position > $1 \
         AND event.position IS NOT NULL AND event.occurred_at >= $2 AND event.occurred_at < $3 \
         AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.destination_id = $4 AND delivery.event_id = event.id) \
         ORDER BY event.position LIMIT $5",
    )
    .bind(job.cursor)
    .bind(job.since.as_micros())
    .bind(job.until.as_micros())
    .bind(job.destination.to_string())
    .bind(i64::from(STEP))
    .fetch_all(tx.conn())
    .await?;
    let last = rows.last().map(|row| row.try_get("position")).transpose()?;
    let seen = rows
        .iter()
        .map(|row| {
            let body: Vec<u8> = row.try_get("body")?;
            Ok(Seen::new(event_id(row, "id")?, row.try_get("type")?, row.try_get("subject")?, Bytes::from(body)))
        })
        .collect::<Result<_, StorageError>>()?;
    Ok((seen, last))
}

fn replay(row: &AnyRow) -> Result<Replay, StorageError> {
    let damaged = |column: &'static str, what: String| StorageError::inconsistent(column, what);
    let (id, kind, state): (String, String, String) = (row.try_get("id")?, row.try_get("kind")?, row.try_get("state")?);
    let delivery: Option<String> = row.try_get("delivery_id")?;
    let delivery: Option<DeliveryId> =
        delivery.map(|id| id.parse().map_err(|_| StorageError::inconsistent("replay.delivery_id", id))).transpose()?;
    let finished_at: Option<i64> = row.try_get("finished_at")?;
    Ok(Replay {
        id: id.parse().map_err(|_| damaged("replay.id", id))?,
        destination: destination_id(row)?,
        kind: Kind::stored(&kind, delivery).ok_or_else(|| damaged("replay.kind", kind))?,
        state: State::stored(&state).ok_or_else(|| damaged("replay.state", state))?,
        since: Timestamp::from_micros(row.try_get("since")?),
        until: Timestamp::from_micros(row.try_get("until")?),
        cursor: row.try_get("cursor")?,
        replayed: to_u64(row.try_get("replayed")?)?,
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        finished_at: finished_at.map(Timestamp::from_micros),
    })
}
