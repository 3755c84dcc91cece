//! One holder of a periodic job among replicas. A lease saves work; correctness must not rest on it, because clocks of
//! machines differ and a paused holder may wake up late.

use std::time::Duration;

use lictor_clock::Timestamp;

use crate::{Database, StorageError};

/// Takes or renews the lease `name` for `holder`, and tells whether it is held now until `now + time`.
pub async fn hold(
    db: &Database,
    name: &str,
    holder: &str,
    time: Duration,
    now: Timestamp,
) -> Result<bool, StorageError> {
    let until = now.saturating_add(time).as_micros();
    crate::retry(|| async {
        let mut tx = db.begin().await?;
        let held = sqlx::query(
            "INSERT INTO lease (name, holder, expires_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE lease.holder = excluded.holder OR lease.expires_at <= $4",
        )
        .bind(name)
        .bind(holder)
        .bind(until)
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(held == 1)
    })
    .await
}

/// Gives the lease back so that another holder need not wait for its end.
pub async fn release(db: &Database, name: &str, holder: &str) -> Result<(), StorageError> {
    crate::retry(|| async {
        let mut tx = db.begin().await?;
        sqlx::query("DELETE FROM lease WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(tx.conn())
            .await?;
        tx.commit().await
    })
    .await
}
