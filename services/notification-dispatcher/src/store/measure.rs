//! Counts for metrics and lists.

use std::collections::HashMap;

use lictor_clock::Timestamp;
use lictor_storage::{
    Database, StorageError,
    sqlx::{self, Row},
    to_u64,
};

/// What is still to be delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Open deliveries per destination id.
    pub per_destination: HashMap<String, u64>,
    /// Deliveries per destination id that were given up.
    pub parked: HashMap<String, u64>,
    /// When the oldest open delivery was made.
    pub oldest: Option<Timestamp>,
}

/// Counts open deliveries.
pub async fn backlog(db: &Database) -> Result<Backlog, StorageError> {
    let mut backlog = Backlog::default();
    for row in sqlx::query(
        "SELECT destination_id, COUNT(*) FROM delivery WHERE state IN ('due', 'leased') GROUP BY destination_id",
    )
    .fetch_all(db.pool())
    .await?
    {
        backlog.per_destination.insert(row.try_get(0)?, to_u64(row.try_get(1)?)?);
    }
    for row in
        sqlx::query("SELECT destination_id, COUNT(*) FROM delivery WHERE state = 'parked' GROUP BY destination_id")
            .fetch_all(db.pool())
            .await?
    {
        backlog.parked.insert(row.try_get(0)?, to_u64(row.try_get(1)?)?);
    }
    let row = sqlx::query("SELECT MIN(created_at) FROM delivery WHERE state IN ('due', 'leased') AND created_at > 0")
        .fetch_one(db.pool())
        .await?;
    let oldest: Option<i64> = row.try_get(0)?;
    backlog.oldest = oldest.map(Timestamp::from_micros);
    Ok(backlog)
}
