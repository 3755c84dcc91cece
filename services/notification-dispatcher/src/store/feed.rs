//! Events in the order in which they were let go, for receivers that fetch.

use lictor_clock::Timestamp;
use lictor_storage::{
    Database, StorageError,
    sqlx::{self, Row},
    to_u64,
};

/// An event with its place.
#[derive(Debug, Clone)]
pub struct Placed {
    /// To go on after it.
    pub cursor: u64,
    /// `evt_…`
    pub id: String,
    /// The type.
    pub kind: String,
    /// The aggregate.
    pub subject: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// CloudEvents JSON.
    pub body: Vec<u8>,
}

/// At most `limit` events after `after`.
pub async fn after(db: &Database, after: i64, limit: u32) -> Result<Vec<Placed>, StorageError> {
    sqlx::query(
        "SELECT position, id, type, subject, occurred_at, body FROM event WHERE position > $1 AND position IS NOT NULL \
         ORDER BY position LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| {
        Ok(Placed {
            cursor: to_u64(row.try_get("position")?)?,
            id: row.try_get("id")?,
            kind: row.try_get("type")?,
            subject: row.try_get("subject")?,
            occurred_at: Timestamp::from_micros(row.try_get("occurred_at")?),
            body: row.try_get("body")?,
        })
    })
    .collect()
}

/// The last position that was given, and how far events were forgotten because their time was over.
pub async fn ends(db: &Database) -> Result<(u64, u64), StorageError> {
    let row =
        sqlx::query("SELECT last_event_position, gone_through FROM ledger WHERE id = 1").fetch_one(db.pool()).await?;
    Ok((to_u64(row.try_get(0)?)?, to_u64(row.try_get(1)?)?))
}
