//! Contexts and receipts that came in: their digests, the newest accepted one, and the evidence some of them gave.

use lictor_clock::Timestamp;
use lictor_license_file::Digest;
use lictor_storage::{Database, StorageError, Tx, sqlx, to_i64};

use super::row::Columns;
use crate::domain::{container::ChainKey, suspicion::Suspicion, verdict::Verdict};

/// Contexts of one chain whose digests are kept; of older ones only their number matters, and that is below the newest.
const KEPT_CONTEXTS: i64 = 1_000;
/// Pieces of evidence kept per chain; the first ones tell how it began, so later ones are left out.
const KEPT_EVIDENCE: i64 = 64;

/// A context that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenContext {
    /// Whose.
    pub key: ChainKey,
    /// SHA-256 of its signed payload.
    pub digest: Digest,
    /// The container's own number of it.
    pub sequence: u64,
    /// Its epoch.
    pub epoch: u32,
    /// The counter that it showed.
    pub counter: u64,
    /// What was said to it.
    pub verdict: Verdict,
}

/// What is known of a context by its digest and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// This very file came in before and got this verdict.
    Taken(Verdict),
    /// Another file with the same number came in before.
    NumberTaken,
    /// Nothing.
    Nothing,
}

/// Looks a context up.
pub async fn look_up(tx: &mut Tx, key: &ChainKey, digest: &Digest, sequence: u64) -> Result<Known, StorageError> {
    let rows = sqlx::query(
        "SELECT digest, verdict FROM context \
         WHERE container_id = $1 AND firm_code = $2 AND (digest = $3 OR sequence = $4)",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(digest.to_string())
    .bind(to_i64(sequence)?)
    .fetch_all(tx.conn())
    .await?;
    let wanted = digest.to_string();
    for row in &rows {
        let columns = Columns::of(row, "context");
        if columns.text("digest")? == wanted {
            return columns.parsed("verdict", Verdict::parse).map(Known::Taken);
        }
    }
    Ok(if rows.is_empty() { Known::Nothing } else { Known::NumberTaken })
}

/// Remembers a context and forgets those that are far behind it.
pub async fn insert(tx: &mut Tx, context: &TakenContext, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO context (container_id, firm_code, digest, sequence, epoch, counter, verdict, taken_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(context.key.container.to_string())
    .bind(i64::from(context.key.firm.get()))
    .bind(context.digest.to_string())
    .bind(to_i64(context.sequence)?)
    .bind(i64::from(context.epoch))
    // The container may claim any counter; what no column holds is shown as the highest that one does.
    .bind(i64::try_from(context.counter).unwrap_or(i64::MAX))
    .bind(context.verdict.name())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    sqlx::query("DELETE FROM context WHERE container_id = $1 AND firm_code = $2 AND sequence <= $3")
        .bind(context.key.container.to_string())
        .bind(i64::from(context.key.firm.get()))
        .bind(to_i64(context.sequence)?.saturating_sub(KEPT_CONTEXTS))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Makes this context the one that the modified context starts from.
pub async fn accept(tx: &mut Tx, key: &ChainKey, file: &[u8], now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO accepted_context (container_id, firm_code, file, taken_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (container_id, firm_code) \
         DO UPDATE SET file = excluded.file, taken_at = excluded.taken_at",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(file)
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The context that the modified context starts from.
pub async fn accepted(db: &Database, key: &ChainKey) -> Result<Option<Vec<u8>>, StorageError> {
    sqlx::query("SELECT file FROM accepted_context WHERE container_id = $1 AND firm_code = $2")
        .bind(key.container.to_string())
        .bind(i64::from(key.firm.get()))
        .fetch_optional(db.pool())
        .await?
        .map(|row| Columns::of(&row, "accepted_context").bytes("file"))
        .transpose()
}

/// The context that the modified context starts from, and when the container was first seen.
pub async fn registering(db: &Database, key: &ChainKey) -> Result<Option<(Vec<u8>, Timestamp)>, StorageError> {
    sqlx::query(
        "SELECT file, first_seen_at FROM accepted_context JOIN container \
         ON container.container_id = accepted_context.container_id AND container.firm_code = accepted_context.firm_code \
         WHERE accepted_context.container_id = $1 AND accepted_context.firm_code = $2",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .fetch_optional(db.pool())
    .await?
    .map(|row| {
        let columns = Columns::of(&row, "accepted_context");
        Ok((columns.bytes("file")?, columns.time("first_seen_at")?))
    })
    .transpose()
}

/// Keeps what speaks against a container, up to a fixed number of pieces per chain.
pub async fn keep_evidence(
    tx: &mut Tx,
    context: &TakenContext,
    suspicion: Suspicion,
    finding: &str,
    file: &[u8],
    now: Timestamp,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO evidence (container_id, firm_code, digest, suspicion, finding, file, seen_at) \
         SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), $6, \
         CAST($7 AS BIGINT) \
         WHERE (SELECT COUNT(*) FROM evidence WHERE container_id = $1 AND firm_code = $2) < $8 \
         ON CONFLICT (container_id, firm_code, digest, suspicion) DO NOTHING",
    )
    .bind(context.key.container.to_string())
    .bind(i64::from(context.key.firm.get()))
    .bind(context.digest.to_string())
    .bind(suspicion.name())
    .bind(finding)
    .bind(file)
    .bind(now.as_micros())
    .bind(KEPT_EVIDENCE)
    .execute(tx.conn())
    .await?;
    Ok(())
}
