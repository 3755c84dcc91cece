//! What only a replay of the archive writes.

use lictor_clock::Timestamp;
use lictor_storage::{Database, StorageError, sqlx, to_i64};

use super::vendor::Vendor;

/// Puts a root document back, with its firm when it is the first; tells whether it was not there. Documents come in their
/// order.
///
/// # Errors
/// [`StorageError::Inconsistent`] when another document is there under this version.
pub async fn root(db: &Database, vendor: &Vendor, envelope: &[u8], now: Timestamp) -> Result<bool, StorageError> {
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        let firm = i64::from(vendor.firm.get());
        let version = to_i64(vendor.root_version)?;
        sqlx::query(
            "INSERT INTO vendor (firm_code, name, root_version, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (firm_code) DO NOTHING",
        )
        .bind(firm)
        .bind(&vendor.name)
        .bind(version)
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?;
        let new = sqlx::query(
            "INSERT INTO root_document (firm_code, version, envelope, digest) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (firm_code, version) DO NOTHING",
        )
        .bind(firm)
        .bind(version)
        .bind(envelope)
        .bind(&vendor.root_digest)
        .execute(tx.conn())
        .await?
        .rows_affected();
        if new == 0 {
            let same = sqlx::query("SELECT 1 FROM root_document WHERE firm_code = $1 AND version = $2 AND digest = $3")
                .bind(firm)
                .bind(version)
                .bind(&vendor.root_digest)
                .fetch_optional(tx.conn())
                .await?;
            tx.rollback().await?;
            return match same {
                Some(_) => Ok(false),
                None => Err(StorageError::inconsistent("root_document", "another document than the archived one")),
            };
        }
        sqlx::query("UPDATE vendor SET root_version = $1, name = $2 WHERE firm_code = $3 AND root_version < $1")
            .bind(version)
            .bind(&vendor.name)
            .bind(firm)
            .execute(tx.conn())
            .await?;
        tx.commit().await?;
        Ok(true)
    })
    .await
}
