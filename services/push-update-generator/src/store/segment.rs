//! Segments: what was reserved, the write-once store of what was signed, and how far each is.

use lictor_clock::Timestamp;
use lictor_license_file::{Digest, limits::MAX_SEGMENT_BYTES};
use lictor_licensing::id::FirmCode;
use lictor_storage::{
    Database, StorageError, Tx,
    sqlx::{self, any::AnyRow},
    to_i64,
};

use super::row::Columns;
use crate::domain::{container::ChainKey, plan::MOST_PENDING_BYTES, segment::SegmentState, verdict::Place};

/// A segment as its first transaction fixed it, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Whose chain.
    pub key: ChainKey,
    /// In which epoch of it.
    pub epoch: u32,
    /// Counter before it.
    pub from: u64,
    /// Counter after it.
    pub to: u64,
    /// Head before it.
    pub prev_head: Digest,
    /// Head after it.
    pub head: Digest,
    /// Digest of the vendor-owned state after it.
    pub state_digest: Digest,
    /// The caller's name for it.
    pub reference: String,
    /// SHA-256 of what was asked for.
    pub request_hash: Digest,
    /// Exact bytes to sign.
    pub payload: Vec<u8>,
    /// The answering update file starts above this counter.
    pub file_from: u64,
    /// The answering update file carries the roots above this version.
    pub file_root: u64,
    /// One line for people.
    pub summary: String,
    /// How far it is.
    pub state: SegmentState,
    /// When its bytes were fixed.
    pub reserved_at: Timestamp,
    /// When it left the house.
    pub issued_at: Option<Timestamp>,
    /// When the container proved it.
    pub confirmed_at: Option<Timestamp>,
}

/// What is shown of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLine {
    /// Counter before it.
    pub from: u64,
    /// Counter after it.
    pub to: u64,
    /// The caller's name for it.
    pub reference: String,
    /// One line for people.
    pub summary: String,
    /// When it left the house.
    pub issued_at: Option<Timestamp>,
    /// When the container proved it.
    pub confirmed_at: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "SELECT container_id, firm_code, epoch, k, from_k, prev_head, head, state_digest, reference, request_hash, \
         payload, file_from, file_root, summary, state, reserved_at, issued_at, confirmed_at FROM segment "
    };
}

/// The segment that a caller named, if it was reserved.
pub async fn find_by_reference(tx: &mut Tx, firm: FirmCode, reference: &str) -> Result<Option<Segment>, StorageError> {
    sqlx::query(concat!(columns!(), "WHERE firm_code = $1 AND reference = $2"))
        .bind(i64::from(firm.get()))
        .bind(reference)
        .fetch_optional(tx.conn())
        .await?
        .map(|row| segment(&row))
        .transpose()
}

/// Fixes a segment's counter and bytes.
pub async fn reserve(tx: &mut Tx, segment: &Segment) -> Result<(), StorageError> {
    let follows = if segment.from == 0 { None } else { Some(to_i64(segment.from)?) };
    sqlx::query(
        "INSERT INTO segment (container_id, firm_code, epoch, k, from_k, prev_head, follows, head, state_digest, \
         reference, request_hash, payload, file_from, file_root, summary, state, reserved_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(segment.key.container.to_string())
    .bind(i64::from(segment.key.firm.get()))
    .bind(i64::from(segment.epoch))
    .bind(to_i64(segment.to)?)
    .bind(to_i64(segment.from)?)
    .bind(segment.prev_head.0.to_vec())
    .bind(follows)
    .bind(segment.head.0.to_vec())
    .bind(segment.state_digest.0.to_vec())
    .bind(&segment.reference)
    .bind(segment.request_hash.0.to_vec())
    .bind(segment.payload.clone())
    .bind(to_i64(segment.file_from)?)
    .bind(to_i64(segment.file_root)?)
    .bind(&segment.summary)
    .bind(segment.state.name())
    .bind(segment.reserved_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Segments of a chain that are not issued yet, in the order of their counters.
pub async fn reserved_of(db: &Database, key: &ChainKey) -> Result<Vec<Segment>, StorageError> {
    sqlx::query(concat!(
        columns!(),
        "WHERE container_id = $1 AND firm_code = $2 AND state = 'reserved' ORDER BY epoch, k"
    ))
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(segment)
    .collect()
}

/// Chains with segments that are not issued yet, the longest waiting first, at most `limit`.
pub async fn chains_in_work(db: &Database, limit: u32) -> Result<Vec<ChainKey>, StorageError> {
    sqlx::query(
        "SELECT container_id, firm_code FROM segment WHERE state = 'reserved' \
         GROUP BY container_id, firm_code ORDER BY MIN(reserved_at) LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| {
        let columns = Columns::of(row, "segment");
        Ok(ChainKey { container: columns.container_id("container_id")?, firm: columns.firm("firm_code")? })
    })
    .collect()
}

/// Puts the signed bytes into the write-once store and gives back what lies there now: these bytes, or those that came
/// first.
pub async fn store_envelope(
    db: &Database,
    segment: &Segment,
    envelope: &[u8],
    now: Timestamp,
) -> Result<Vec<u8>, StorageError> {
    let stored = lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        let stored = sqlx::query(
            "INSERT INTO segment_envelope (container_id, firm_code, epoch, k, envelope, stored_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (container_id, firm_code, epoch, k) DO NOTHING",
        )
        .bind(segment.key.container.to_string())
        .bind(i64::from(segment.key.firm.get()))
        .bind(i64::from(segment.epoch))
        .bind(to_i64(segment.to)?)
        .bind(envelope)
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok::<_, StorageError>(stored)
    })
    .await?;
    if stored == 1 {
        return Ok(envelope.to_vec());
    }
    let row = sqlx::query(
        "SELECT envelope FROM segment_envelope WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k = $4",
    )
    .bind(segment.key.container.to_string())
    .bind(i64::from(segment.key.firm.get()))
    .bind(i64::from(segment.epoch))
    .bind(to_i64(segment.to)?)
    .fetch_one(db.pool())
    .await?;
    Columns::of(&row, "segment_envelope").bytes("envelope")
}

/// The envelope in the write-once store, if the segment came that far.
pub async fn find_envelope(db: &Database, segment: &Segment) -> Result<Option<Vec<u8>>, StorageError> {
    sqlx::query(
        "SELECT envelope FROM segment_envelope WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k = $4",
    )
    .bind(segment.key.container.to_string())
    .bind(i64::from(segment.key.firm.get()))
    .bind(i64::from(segment.epoch))
    .bind(to_i64(segment.to)?)
    .fetch_optional(db.pool())
    .await?
    .map(|row| Columns::of(&row, "segment_envelope").bytes("envelope"))
    .transpose()
}

/// Counts a reserved segment as issued.
pub async fn mark_issued(tx: &mut Tx, segment: &Segment, now: Timestamp) -> Result<(), StorageError> {
    let to = segment.state.issue().map_err(|refused| StorageError::inconsistent("segment", refused.to_string()))?;
    let done = sqlx::query(
        "UPDATE segment SET state = $1, issued_at = $2 \
         WHERE container_id = $3 AND firm_code = $4 AND epoch = $5 AND k = $6 AND state = $7",
    )
    .bind(to.name())
    .bind(now.as_micros())
    .bind(segment.key.container.to_string())
    .bind(i64::from(segment.key.firm.get()))
    .bind(i64::from(segment.epoch))
    .bind(to_i64(segment.to)?)
    .bind(segment.state.name())
    .execute(tx.conn())
    .await?
    .rows_affected();
    if done == 1 {
        return Ok(());
    }
    Err(StorageError::inconsistent("segment", "the chain counts it as not issued, the segment itself as issued"))
}

/// Counts the issued segments above `after` up to `to` as proven and gives their references, oldest first.
pub async fn confirm(
    tx: &mut Tx,
    key: &ChainKey,
    epoch: u32,
    after: u64,
    to: u64,
    now: Timestamp,
) -> Result<Vec<String>, StorageError> {
    let mut proven = sqlx::query(
        "UPDATE segment SET state = 'confirmed', confirmed_at = $1 \
         WHERE container_id = $2 AND firm_code = $3 AND epoch = $4 AND k > $5 AND k <= $6 AND state = 'issued' \
         RETURNING k, reference",
    )
    .bind(now.as_micros())
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(to_i64(after)?)
    .bind(to_i64(to)?)
    .fetch_all(tx.conn())
    .await?
    .iter()
    .map(|row| {
        let columns = Columns::of(row, "segment");
        Ok((columns.count("k")?, columns.text("reference")?))
    })
    .collect::<Result<Vec<_>, StorageError>>()?;
    // The engine returns rows in no order.
    proven.sort_unstable();
    Ok(proven.into_iter().map(|(_, reference)| reference).collect())
}

/// The place in the chain at counter `k` of an epoch, if a segment ends there.
pub async fn place(tx: &mut Tx, key: &ChainKey, epoch: u32, k: u64) -> Result<Option<Place>, StorageError> {
    // A counter beyond what a column holds was never issued.
    let Ok(k) = i64::try_from(k) else { return Ok(None) };
    sqlx::query(
        "SELECT head, state_digest FROM segment \
         WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k = $4",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(k)
    .fetch_optional(tx.conn())
    .await?
    .map(|row| {
        let columns = Columns::of(&row, "segment");
        Ok(Place { head: columns.digest("head")?, state_digest: columns.digest("state_digest")? })
    })
    .transpose()
}

/// The signed bytes of the issued segments above `after` up to `to`, in order.
pub async fn envelopes(
    db: &Database,
    key: &ChainKey,
    epoch: u32,
    after: u64,
    to: u64,
) -> Result<Vec<Vec<u8>>, StorageError> {
    sqlx::query(
        "SELECT envelope FROM segment_envelope \
         WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k > $4 AND k <= $5 ORDER BY k",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(to_i64(after)?)
    .bind(to_i64(to)?)
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| Columns::of(row, "segment_envelope").bytes("envelope"))
    .collect()
}

/// The newest segments of an epoch that left the house, oldest first, at most `limit`.
pub async fn newest(db: &Database, key: &ChainKey, epoch: u32, limit: u32) -> Result<Vec<SegmentLine>, StorageError> {
    let mut lines = sqlx::query(
        "SELECT from_k, k, reference, summary, issued_at, confirmed_at FROM segment \
         WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND state <> 'reserved' ORDER BY k DESC LIMIT $4",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(i64::from(limit))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| {
        let columns = Columns::of(row, "segment");
        Ok(SegmentLine {
            from: columns.count("from_k")?,
            to: columns.count("k")?,
            reference: columns.text("reference")?,
            summary: columns.text("summary")?,
            issued_at: columns.optional_time("issued_at")?,
            confirmed_at: columns.optional_time("confirmed_at")?,
        })
    })
    .collect::<Result<Vec<_>, StorageError>>()?;
    lines.reverse();
    Ok(lines)
}

fn segment(row: &AnyRow) -> Result<Segment, StorageError> {
    let columns = Columns::of(row, "segment");
    Ok(Segment {
        key: ChainKey { container: columns.container_id("container_id")?, firm: columns.firm("firm_code")? },
        epoch: columns.small("epoch")?,
        from: columns.count("from_k")?,
        to: columns.count("k")?,
        prev_head: columns.digest("prev_head")?,
        head: columns.digest("head")?,
        state_digest: columns.digest("state_digest")?,
        reference: columns.text("reference")?,
        request_hash: columns.digest("request_hash")?,
        payload: columns.bytes("payload")?,
        file_from: columns.count("file_from")?,
        file_root: columns.count("file_root")?,
        summary: columns.text("summary")?,
        state: columns.parsed("state", SegmentState::parse)?,
        reserved_at: columns.time("reserved_at")?,
        issued_at: columns.optional_time("issued_at")?,
        confirmed_at: columns.optional_time("confirmed_at")?,
    })
}

/// Bytes of the segments above `above`, counted only when `pending` of them could be too many for one file.
pub async fn pending_bytes(
    tx: &mut Tx,
    key: &ChainKey,
    epoch: u32,
    above: u64,
    pending: u64,
) -> Result<u64, StorageError> {
    if pending.saturating_mul(MAX_SEGMENT_BYTES as u64) < MOST_PENDING_BYTES {
        return Ok(0);
    }
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(LENGTH(payload)), 0) AS BIGINT) AS bytes FROM segment \
         WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k > $4",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(to_i64(above)?)
    .fetch_one(tx.conn())
    .await?;
    Columns::of(&row, "segment").count("bytes")
}

/// Counters and heads of the segments from counter `from` on, ascending.
pub async fn heads(tx: &mut Tx, key: &ChainKey, epoch: u32, from: u64) -> Result<Vec<(u64, Digest)>, StorageError> {
    sqlx::query(
        "SELECT k, head FROM segment WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k >= $4 \
         ORDER BY k",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(to_i64(from)?)
    .fetch_all(tx.conn())
    .await?
    .iter()
    .map(|row| {
        let columns = Columns::of(row, "segment");
        Ok((columns.count("k")?, columns.digest("head")?))
    })
    .collect()
}

/// How many segments wait for their signature, for metrics.
pub async fn reserved_count(db: &Database) -> Result<u64, StorageError> {
    let row =
        sqlx::query("SELECT COUNT(*) AS waiting FROM segment WHERE state = 'reserved'").fetch_one(db.pool()).await?;
    Columns::of(&row, "segment").count("waiting")
}
