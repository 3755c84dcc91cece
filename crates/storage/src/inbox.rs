//! What a consumer remembers: which events it took, and how far it has read each source.
//!
//! Both are written in the transaction of the consumer's own change, so an event counts as taken exactly when its effect
//! is durable. A handler begins with [`take`]:
//!
//! ```no_run
//! # use lictor_clock::Timestamp;
//! # use lictor_storage::{Database, StorageError, inbox::{self, Taken}};
//! # async fn handle(db: &Database, id: &str, source: &str, sequence: u64, now: Timestamp) -> Result<(), StorageError> {
//! let mut tx = db.begin().await?;
//! let taken = Taken { consumer: "notification-dispatcher", source, event_id: id, sequence };
//! if inbox::take(&mut tx, &taken, now).await? {
//!     // … the effect …
//! }
//! tx.commit().await // also when it was known: the cursor may have moved
//! # }
//! ```

use lictor_clock::Timestamp;
use sqlx::Row;

use crate::{Database, StorageError, Tx, to_i64, to_u64};

/// Records the event and tells whether this is the first time. On `false` do nothing and acknowledge.
pub async fn first_time(tx: &mut Tx, consumer: &str, event_id: &str, now: Timestamp) -> Result<bool, StorageError> {
    let taken = sqlx::query(
        "INSERT INTO inbox_event (consumer, event_id, taken_at) VALUES ($1, $2, $3) \
         ON CONFLICT (consumer, event_id) DO NOTHING",
    )
    .bind(consumer)
    .bind(event_id)
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// An event as it is taken in.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    /// The consuming service.
    pub consumer: &'a str,
    /// The service that announced it.
    pub source: &'a str,
    /// Its id, the same on every delivery.
    pub event_id: &'a str,
    /// Its number within the source.
    pub sequence: u64,
}

/// Records the event, moves the cursor of its source when it is exactly the next one, and tells whether this is the first
/// time. The cursor never steps over an event that was not taken.
pub async fn take(tx: &mut Tx, taken: &Taken<'_>, now: Timestamp) -> Result<bool, StorageError> {
    let first = first_time(tx, taken.consumer, taken.event_id, now).await?;
    let sequence = to_i64(taken.sequence)?;
    if sequence == 1 {
        sqlx::query(
            "INSERT INTO inbox_cursor (consumer, source, after_sequence) VALUES ($1, $2, 1) \
             ON CONFLICT (consumer, source) DO NOTHING",
        )
        .bind(taken.consumer)
        .bind(taken.source)
        .execute(tx.conn())
        .await?;
    } else if sequence > 1 {
        sqlx::query(
            "UPDATE inbox_cursor SET after_sequence = $1 WHERE consumer = $2 AND source = $3 AND after_sequence = $4",
        )
        .bind(sequence)
        .bind(taken.consumer)
        .bind(taken.source)
        .bind(sequence - 1)
        .execute(tx.conn())
        .await?;
    }
    Ok(first)
}

/// How far `consumer` has read `source` without a gap; 0 at the beginning.
pub async fn cursor(db: &Database, consumer: &str, source: &str) -> Result<u64, StorageError> {
    let row = sqlx::query("SELECT after_sequence FROM inbox_cursor WHERE consumer = $1 AND source = $2")
        .bind(consumer)
        .bind(source)
        .fetch_optional(db.pool())
        .await?;
    row.map_or(Ok(0), |row| to_u64(row.try_get(0)?))
}

/// Moves the cursor forward to `sequence`; it never goes back.
pub async fn advance(tx: &mut Tx, consumer: &str, source: &str, sequence: u64) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO inbox_cursor (consumer, source, after_sequence) VALUES ($1, $2, $3) \
         ON CONFLICT (consumer, source) DO UPDATE SET after_sequence = excluded.after_sequence \
         WHERE inbox_cursor.after_sequence < excluded.after_sequence",
    )
    .bind(consumer)
    .bind(source)
    .bind(to_i64(sequence)?)
    .execute(tx.conn())
    .await?;
    Ok(())
}
