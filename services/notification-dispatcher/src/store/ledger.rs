//! The one row whose lock puts changes of deliveries in a row, between replicas too. With it, "is an earlier delivery of
//! this key open?" has one answer, and a position that is given later is visible later.

use lictor_storage::{
    Database, StorageError, Tx,
    sqlx::{self, Row},
};

/// Takes the lock until `tx` ends and tells the version of the destinations, which grows with every change of them.
pub async fn lock(tx: &mut Tx) -> Result<i64, StorageError> {
    let lock = tx.dialect().lock_rows("SELECT destinations_version FROM ledger WHERE id = 1");
    sqlx::query(lock).fetch_one(tx.conn()).await?.try_get(0).map_err(StorageError::from)
}

/// Gives `count` positions and tells the first. Needs the lock.
pub async fn positions(tx: &mut Tx, count: usize) -> Result<i64, StorageError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let row = sqlx::query("UPDATE ledger SET last_position = last_position + $1 WHERE id = 1 RETURNING last_position")
        .bind(count)
        .fetch_one(tx.conn())
        .await?;
    let last: i64 = row.try_get(0)?;
    Ok(last - count + 1)
}

/// Gives `count` positions to events and tells the first. Needs the lock.
pub async fn event_positions(tx: &mut Tx, count: usize) -> Result<i64, StorageError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let row = sqlx::query(
        "UPDATE ledger SET last_event_position = last_event_position + $1 WHERE id = 1 RETURNING last_event_position",
    )
    .bind(count)
    .fetch_one(tx.conn())
    .await?;
    let last: i64 = row.try_get(0)?;
    Ok(last - count + 1)
}

/// The version of the destinations, without the lock.
pub async fn destinations_version(db: &Database) -> Result<i64, StorageError> {
    let row = sqlx::query("SELECT destinations_version FROM ledger WHERE id = 1").fetch_one(db.pool()).await?;
    Ok(row.try_get(0)?)
}

/// Tells every replica that the destinations changed. Needs the lock.
pub async fn destinations_changed(tx: &mut Tx) -> Result<(), StorageError> {
    sqlx::query("UPDATE ledger SET destinations_version = destinations_version + 1 WHERE id = 1")
        .execute(tx.conn())
        .await?;
    Ok(())
}
