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
        "SELECT destination_id, COUNT(*), MIN(created_at) FROM delivery WHERE state IN ('due', 'leased') \
         GROUP BY destination_id",
    )
    .fetch_all(db.pool())
    .await?
    {
        backlog.per_destination.insert(row.try_get(0)?, to_u64(row.try_get(1)?)?);
        let made = Timestamp::from_micros(row.try_get(2)?);
        backlog.oldest = Some(backlog.oldest.map_or(made, |oldest| oldest.min(made)));
    }
    for row in
        sqlx::query("SELECT destination_id, COUNT(*) FROM delivery WHERE state = 'parked' GROUP BY destination_id")
            .fetch_all(db.pool())
            .await?
    {
        backlog.parked.insert(row.try_get(0)?, to_u64(row.try_get(1)?)?);
    }
    Ok(backlog)
}

/// How destinations stand, and what was kept aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Destinations that are sent to.
    pub enabled: u64,
    /// Destinations whose circuit breaker is open: nothing is sent for a while.
    pub resting: u64,
    /// Destinations that were disabled.
    pub disabled: u64,
    /// Deliveries that were given up and wait for a replay.
    pub parked: u64,
    /// Events that could not be understood.
    pub quarantined: u64,
}

/// Counts destinations by how they stand, and what waits for a person.
pub async fn standing(db: &Database, now: Timestamp) -> Result<Standing, StorageError> {
    let mut standing = Standing::default();
    for row in sqlx::query(
        "SELECT state, CASE WHEN rests_until > $1 THEN 1 ELSE 0 END AS rests, COUNT(*) FROM destination \
         GROUP BY state, CASE WHEN rests_until > $1 THEN 1 ELSE 0 END",
    )
    .bind(now.as_micros())
    .fetch_all(db.pool())
    .await?
    {
        let (state, rests): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
        let count = to_u64(row.try_get(2)?)?;
        match (state.as_str(), rests) {
            ("enabled", 0) => standing.enabled += count,
            ("enabled", _) => standing.resting += count,
            ("disabled", _) => standing.disabled += count,
            _ => {}
        }
    }
    let parked = sqlx::query("SELECT COUNT(*) FROM delivery WHERE state = 'parked'").fetch_one(db.pool()).await?;
    standing.parked = to_u64(parked.try_get(0)?)?;
    let quarantined = sqlx::query("SELECT COUNT(*) FROM quarantined_event").fetch_one(db.pool()).await?;
    standing.quarantined = to_u64(quarantined.try_get(0)?)?;
    Ok(standing)
}
