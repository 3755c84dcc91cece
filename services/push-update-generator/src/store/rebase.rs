//! Challenges that a rebase has answered. Written under the lock of the chain only.

use lictor_clock::Timestamp;
use lictor_storage::{StorageError, Tx, sqlx};

use crate::domain::container::ChainKey;

/// Spends a challenge, and tells whether it was unspent.
pub async fn spend(
    tx: &mut Tx,
    key: &ChainKey,
    challenge: &[u8; 32],
    epoch: u32,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StorageError> {
    let spent = sqlx::query(
        "INSERT INTO rebase (firm_code, challenge, container_id, epoch, reason, made_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (firm_code, challenge) DO NOTHING",
    )
    .bind(i64::from(key.firm.get()))
    .bind(&challenge[..])
    .bind(key.container.to_string())
    .bind(i64::from(epoch))
    .bind(reason)
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?
    .rows_affected();
    Ok(spent == 1)
}
