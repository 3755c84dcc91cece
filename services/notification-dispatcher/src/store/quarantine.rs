//! What was kept aside: listed, and read again when a later version may understand it.

use lictor_clock::Timestamp;
use lictor_storage::{
    Database, StorageError,
    sqlx::{self, Row},
    to_i64, to_u64,
};

/// Where something was kept aside; the digest tells apart what has no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The service that it came from.
    pub source: String,
    /// Its number there; 0 when that could not be read.
    pub sequence: u64,
    /// SHA-256 of its bytes, hex.
    pub digest: String,
}

/// Something that was kept aside.
#[derive(Debug, Clone)]
pub struct KeptAside {
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: String,
    /// The bytes as they came.
    pub payload: Vec<u8>,
    /// When.
    pub at: Timestamp,
}

/// What was kept aside of `source` (empty for all) after `after`, in the order of sources and numbers, at most `limit`.
pub async fn list(
    db: &Database,
    source: &str,
    after: Option<&Place>,
    limit: u32,
) -> Result<Vec<KeptAside>, StorageError> {
    let (from, number, digest) =
        after.map_or(("", 0, ""), |place| (place.source.as_str(), place.sequence, place.digest.as_str()));
    sqlx::query(
        "SELECT source, sequence, digest, reason, payload, quarantined_at FROM quarantined_event \
         WHERE ($1 = '' OR source = $1) AND (source > $2 OR (source = $2 AND (sequence > $3 \
         OR (sequence = $3 AND digest > $4)))) ORDER BY source, sequence, digest LIMIT $5",
    )
    .bind(source.to_owned())
    .bind(from.to_owned())
    .bind(to_i64(number)?)
    .bind(digest.to_owned())
    .bind(i64::from(limit))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| {
        Ok(KeptAside {
            place: Place {
                source: row.try_get("source")?,
                sequence: to_u64(row.try_get("sequence")?)?,
                digest: row.try_get("digest")?,
            },
            reason: row.try_get("reason")?,
            payload: row.try_get("payload")?,
            at: Timestamp::from_micros(row.try_get("quarantined_at")?),
        })
    })
    .collect()
}

/// Forgets one that was understood after all.
pub async fn forget(db: &Database, place: &Place) -> Result<(), StorageError> {
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        sqlx::query("DELETE FROM quarantined_event WHERE source = $1 AND sequence = $2 AND digest = $3")
            .bind(place.source.clone())
            .bind(to_i64(place.sequence)?)
            .bind(place.digest.clone())
            .execute(tx.conn())
            .await?;
        tx.commit().await
    })
    .await
}
