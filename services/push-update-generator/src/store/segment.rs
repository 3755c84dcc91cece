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
use crate::{
    archive::Kept,
    domain::{
        container::ChainKey,
        plan::MOST_PENDING_BYTES,
        segment::{Purpose, SegmentState},
        verdict::Place,
    },
};

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
    /// What it is for.
    pub purpose: Purpose,
    /// Exact bytes to sign.
    pub payload: Vec<u8>,
    /// What it does, see [`crate::domain::record::Record`].
    pub operations: Vec<u8>,
    /// The answering update file starts above this counter.
    pub file_from: u64,
    /// The answering update file carries the roots above this version.
    pub file_root: u64,
    /// Up to this version: the newest when it was signed. Nothing before that.
    pub root_through: Option<u64>,
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
         purpose, payload, operations, file_from, file_root, root_through, summary, state, reserved_at, issued_at, \
         confirmed_at FROM segment "
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

/// Fixes a segment's counter and bytes, unless its reference was used or refused before; tells whether it did.
pub async fn reserve(tx: &mut Tx, segment: &Segment) -> Result<bool, StorageError> {
    let follows = if segment.from == 0 { None } else { Some(to_i64(segment.from)?) };
    let done = sqlx::query(
        "INSERT INTO segment (container_id, firm_code, epoch, k, from_k, prev_head, follows, head, state_digest, \
         reference, request_hash, purpose, payload, operations, file_from, file_root, summary, state, reserved_at) \
         SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS BIGINT), $6, \
         CAST($7 AS BIGINT), $8, $9, CAST($10 AS TEXT), $11, CAST($12 AS TEXT), $13, $14, CAST($15 AS BIGINT), \
         CAST($16 AS BIGINT), CAST($17 AS TEXT), CAST($18 AS TEXT), CAST($19 AS BIGINT) \
         WHERE NOT EXISTS (SELECT 1 FROM refused_reference WHERE firm_code = $2 AND reference = $10) \
         ON CONFLICT (firm_code, reference) DO NOTHING",
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
    .bind(segment.purpose.name())
    .bind(&segment.payload[..])
    .bind(&segment.operations[..])
    .bind(to_i64(segment.file_from)?)
    .bind(to_i64(segment.file_root)?)
    .bind(&segment.summary)
    .bind(segment.state.name())
    .bind(segment.reserved_at.as_micros())
    .execute(tx.conn())
    .await?
    .rows_affected();
    Ok(done == 1)
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

/// Counts the issued segments above `after` up to `to` as proven and gives their references, oldest first. The first
/// proof of an epoch proves what was issued in earlier ones too: the rebase carried all of it.
pub async fn confirm(
    tx: &mut Tx,
    key: &ChainKey,
    epoch: u32,
    after: u64,
    to: u64,
    now: Timestamp,
) -> Result<Vec<String>, StorageError> {
    let before = if after == 0 { i64::from(epoch) } else { 0 };
    let mut proven = sqlx::query(
        "UPDATE segment SET state = 'confirmed', confirmed_at = $1 \
         WHERE container_id = $2 AND firm_code = $3 AND state = 'issued' \
         AND ((epoch = $4 AND k > $5 AND k <= $6) OR epoch < $7) RETURNING epoch, k, reference",
    )
    .bind(now.as_micros())
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(to_i64(after)?)
    .bind(to_i64(to)?)
    .bind(before)
    .fetch_all(tx.conn())
    .await?
    .iter()
    .map(|row| {
        let columns = Columns::of(row, "segment");
        Ok((columns.small("epoch")?, columns.count("k")?, columns.text("reference")?))
    })
    .collect::<Result<Vec<_>, StorageError>>()?;
    // The engine returns rows in no order.
    proven.sort_unstable();
    Ok(proven.into_iter().map(|(_, _, reference)| reference).collect())
}

/// When the first segment after a counter was proven, if one was.
pub async fn proven_after(tx: &mut Tx, key: &ChainKey, epoch: u32, k: u64) -> Result<Option<Timestamp>, StorageError> {
    let Ok(k) = i64::try_from(k) else { return Ok(None) };
    let row = sqlx::query(
        "SELECT MIN(confirmed_at) AS confirmed_at FROM segment \
         WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k > $4 AND state = 'confirmed'",
    )
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(k)
    .fetch_one(tx.conn())
    .await?;
    Columns::of(&row, "segment").optional_time("confirmed_at")
}

/// A segment of a chain by its counter, if one ends there.
pub async fn at(db: &Database, key: &ChainKey, epoch: u32, k: u64) -> Result<Option<Segment>, StorageError> {
    sqlx::query(concat!(columns!(), "WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k = $4"))
        .bind(key.container.to_string())
        .bind(i64::from(key.firm.get()))
        .bind(i64::from(epoch))
        .bind(to_i64(k)?)
        .fetch_optional(db.pool())
        .await?
        .map(|row| segment(&row))
        .transpose()
}

/// Issued segments of a chain above a place, oldest first, at most `limit`.
pub async fn issued_after(
    db: &Database,
    key: &ChainKey,
    epoch: u32,
    k: u64,
    limit: u32,
) -> Result<Vec<Segment>, StorageError> {
    sqlx::query(concat!(
        columns!(),
        "WHERE container_id = $1 AND firm_code = $2 AND (epoch > $3 OR (epoch = $3 AND k > $4)) \
         AND state <> 'reserved' ORDER BY epoch, k LIMIT $5"
    ))
    .bind(key.container.to_string())
    .bind(i64::from(key.firm.get()))
    .bind(i64::from(epoch))
    .bind(to_i64(k)?)
    .bind(i64::from(limit))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(segment)
    .collect()
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

/// What was signed of an issued segment.
pub async fn kept(db: &Database, segment: &Segment) -> Result<Kept, StorageError> {
    let row = sqlx::query(
        "SELECT envelope FROM segment_envelope WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k = $4",
    )
    .bind(segment.key.container.to_string())
    .bind(i64::from(segment.key.firm.get()))
    .bind(i64::from(segment.epoch))
    .bind(to_i64(segment.to)?)
    .fetch_one(db.pool())
    .await?;
    Ok(Kept {
        envelope: Columns::of(&row, "segment_envelope").bytes("envelope")?,
        root_through: segment.root_through.unwrap_or(segment.file_root),
    })
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
        purpose: columns.parsed("purpose", Purpose::parse)?,
        payload: columns.bytes("payload")?,
        operations: columns.bytes("operations")?,
        file_from: columns.count("file_from")?,
        file_root: columns.count("file_root")?,
        root_through: columns.optional_count("root_through")?,
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
