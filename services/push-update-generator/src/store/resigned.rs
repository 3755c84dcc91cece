//! Segments signed once more under a newer root document.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_storage::{Database, StorageError, sqlx, to_i64};

use super::row::Columns;
use crate::domain::container::ChainKey;

/// The newest envelopes of an epoch's segments that were made for a root document up to `through`, by counter.
pub async fn up_to(
    db: &Database,
    key: &ChainKey,
    epoch: u32,
    through: u64,
) -> Result<BTreeMap<u64, Vec<u8>>, StorageError> {
    sqlx::query(
        "SELECT k, envelope FROM segment_resigned WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 \
         AND root_version <= $4 ORDER BY root_version",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(i64::try_from(through).unwrap_or(i64::MAX))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| {
        let columns = Columns::of(row, "segment_resigned");
        Ok((columns.count("k")?, columns.bytes("envelope")?))
    })
    .collect()
}

/// Keeps an envelope and gives what lies there now: this one, or the one that came first.
pub async fn keep(
    db: &Database,
    key: &ChainKey,
    place: (u32, u64),
    root_version: u64,
    envelope: &[u8],
    now: Timestamp,
) -> Result<Vec<u8>, StorageError> {
    let (epoch, k) = place;
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        sqlx::query(
            "INSERT INTO segment_resigned (container_id, firm_code, epoch, k, root_version, envelope, stored_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (container_id, firm_code, epoch, k, root_version) DO NOTHING",
        )
        .bind(key.container.to_string())
        .bind(i64::from(key.firm.get()))
        .bind(i64::from(epoch))
        .bind(to_i64(k)?)
        .bind(to_i64(root_version)?)
        .bind(envelope)
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?;
        tx.commit().await
    })
    .await?;
    Ok(up_to(db, key, epoch, root_version).await?.remove(&k).unwrap_or_else(|| envelope.to_vec()))
}
