//! Forgetting what is old, a step at a time: never what a receiver has not taken.

use lictor_clock::Timestamp;
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, AssertSqlSafe, Row},
};

use super::{ledger, rows};

/// Rows of one step.
pub const STEP: u32 = 256;

/// Forgets deliveries that ended before `before`, with their attempts; what was given up stays for its replay. Tells how
/// many went. Needs the ledger's lock.
pub async fn deliveries(tx: &mut Tx, before: Timestamp) -> Result<usize, StorageError> {
    let ids = ids(
        tx,
        "SELECT id FROM delivery WHERE state IN ('done', 'collapsed') AND created_at < $1 ORDER BY position LIMIT $2",
        before,
    )
    .await?;
    remove_deliveries(tx, &ids).await?;
    Ok(ids.len())
}

/// Forgets events from before `before` that no delivery holds. The last word about each order and license stays: filters
/// and records about activations need it. Needs the ledger's lock.
pub async fn events(tx: &mut Tx, before: Timestamp) -> Result<usize, StorageError> {
    let ids = ids(
        tx,
        "SELECT id FROM event WHERE taken_at < $1 AND released = 1 AND type <> 'lictor.order.created.v1' \
         AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.event_id = event.id) \
         AND NOT EXISTS (SELECT 1 FROM undecided_event WHERE undecided_event.event_id = event.id) \
         AND (type NOT LIKE 'lictor.license.%' OR EXISTS (SELECT 1 FROM event AS later \
              WHERE later.subject = event.subject AND later.source = event.source \
              AND later.aggregate_sequence > event.aggregate_sequence AND later.type LIKE 'lictor.license.%')) \
         ORDER BY position LIMIT $2",
        before,
    )
    .await?;
    let mut through: i64 = 0;
    for piece in rows::pieces(&ids) {
        let text = format!("DELETE FROM event WHERE id IN {} RETURNING position", rows::list(piece.len(), 1));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in piece {
            query = query.bind(id.clone());
        }
        for row in query.fetch_all(tx.conn()).await? {
            let position: Option<i64> = row.try_get(0)?;
            through = through.max(position.unwrap_or(0));
        }
    }
    if through > 0 {
        sqlx::query("UPDATE ledger SET gone_through = $1 WHERE id = 1 AND gone_through < $1")
            .bind(through)
            .execute(tx.conn())
            .await?;
    }
    Ok(ids.len())
}

/// Takes away rows of deleted destinations; the destination itself goes with its last row. Needs the ledger's lock.
pub async fn deleted(tx: &mut Tx) -> Result<usize, StorageError> {
    let row = sqlx::query("SELECT id FROM destination WHERE state = 'deleted' ORDER BY id LIMIT 1")
        .fetch_optional(tx.conn())
        .await?;
    let Some(row) = row else {
        return Ok(0);
    };
    let destination: String = row.try_get(0)?;
    let rows = sqlx::query("SELECT id FROM delivery WHERE destination_id = $1 AND position > 0 LIMIT $2")
        .bind(destination.clone())
        .bind(i64::from(STEP))
        .fetch_all(tx.conn())
        .await?;
    let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    remove_deliveries(tx, &ids).await?;
    if ids.is_empty() {
        for text in [
            "DELETE FROM undecided_event WHERE destination_id = $1",
            "DELETE FROM replay WHERE destination_id = $1",
            "DELETE FROM destination_key WHERE destination_id = $1",
            "DELETE FROM destination WHERE id = $1",
        ] {
            sqlx::query(text).bind(destination.clone()).execute(tx.conn()).await?;
        }
        ledger::destinations_changed(tx).await?;
    }
    Ok(ids.len().max(1))
}

/// Forgets replays that ended before `before`.
pub async fn replays(tx: &mut Tx, before: Timestamp) -> Result<usize, StorageError> {
    let gone = sqlx::query("DELETE FROM replay WHERE state <> 'running' AND created_at < $1")
        .bind(before.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(usize::try_from(gone.rows_affected()).unwrap_or(usize::MAX))
}

async fn ids(tx: &mut Tx, text: &'static str, before: Timestamp) -> Result<Vec<String>, StorageError> {
    let rows = sqlx::query(text).bind(before.as_micros()).bind(i64::from(STEP)).fetch_all(tx.conn()).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

async fn remove_deliveries(tx: &mut Tx, ids: &[String]) -> Result<(), StorageError> {
    for piece in rows::pieces(ids) {
        for table in ["attempt WHERE delivery_id", "delivery WHERE id"] {
            let text = format!("DELETE FROM {table} IN {}", rows::list(piece.len(), 1));
            let mut query = sqlx::query(AssertSqlSafe(text));
            for id in piece {
                query = query.bind(id.clone());
            }
            query.execute(tx.conn()).await?;
        }
    }
    Ok(())
}
