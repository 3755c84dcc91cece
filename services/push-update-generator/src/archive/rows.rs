//! The archive's tables. Statements are the same text on both engines.

use std::collections::{BTreeSet, HashMap};

use lictor_clock::Timestamp;
use lictor_license_file::Digest;
use lictor_licensing::id::FirmCode;
use lictor_storage::{
    Database, Dialect, StorageError,
    sqlx::{self, any::AnyRow},
    to_i64,
};

use super::Kept;
use crate::{
    domain::{container::ChainKey, segment::Purpose},
    store::{
        given::{Cell, Given, Kind, key_cells},
        row::Columns,
        segment::Segment,
        vendor::StoredRoot,
    },
};

/// Columns that are written of a segment.
const WRITTEN: &[(&str, Kind)] = &[
    ("container_id", Kind::Text),
    ("firm_code", Kind::Int),
    ("epoch", Kind::Int),
    ("k", Kind::Int),
    ("from_k", Kind::Int),
    ("prev_head", Kind::Bytes),
    ("follows", Kind::Int),
    ("head", Kind::Bytes),
    ("state_digest", Kind::Bytes),
    ("reference", Kind::Text),
    ("request_hash", Kind::Bytes),
    ("purpose", Kind::Text),
    ("envelope", Kind::Bytes),
    ("operations", Kind::Bytes),
    ("file_from", Kind::Int),
    ("file_root", Kind::Int),
    ("root_through", Kind::Int),
    ("summary", Kind::Text),
    ("reserved_at", Kind::Int),
    ("archived_at", Kind::Int),
];

/// How far a chain goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The epoch.
    pub epoch: u32,
    /// The counter in it.
    pub to: u64,
}

/// A segment as it lies in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedSegment {
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
    /// The signed envelope.
    pub envelope: Vec<u8>,
    /// What it does, see [`crate::domain::record::Record`].
    pub operations: Vec<u8>,
    /// The answering file starts above this counter.
    pub file_from: u64,
    /// It carries the roots above this version.
    pub file_root: u64,
    /// Up to this version.
    pub root_through: u64,
    /// One line for people.
    pub summary: String,
    /// When its bytes were fixed.
    pub reserved_at: Timestamp,
}

/// A chain as it lies in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedChain {
    /// Which one.
    pub key: ChainKey,
    /// The context that its first state was taken from.
    pub context: Vec<u8>,
    /// When the container was first seen.
    pub first_seen_at: Timestamp,
}

/// A root document as it lies in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedRoot {
    /// Whose.
    pub firm: FirmCode,
    /// Its version.
    pub version: u64,
    /// The envelope.
    pub envelope: Vec<u8>,
}

impl ArchivedSegment {
    /// A segment with its signature.
    #[must_use]
    pub fn of(segment: &Segment, kept: Kept) -> Self {
        Self {
            key: segment.key,
            epoch: segment.epoch,
            from: segment.from,
            to: segment.to,
            prev_head: segment.prev_head,
            head: segment.head,
            state_digest: segment.state_digest,
            reference: segment.reference.clone(),
            request_hash: segment.request_hash,
            purpose: segment.purpose,
            envelope: kept.envelope,
            operations: segment.operations.clone(),
            file_from: segment.file_from,
            file_root: segment.file_root,
            root_through: kept.root_through,
            summary: segment.summary.clone(),
            reserved_at: segment.reserved_at,
        }
    }

    /// What counts of it from now on.
    #[must_use]
    pub fn kept(self) -> Kept {
        Kept { envelope: self.envelope, root_through: self.root_through }
    }
}

/// Puts segments in that are not there, and tells for each whether it was new.
pub(super) async fn put(
    db: &Database,
    segments: &[ArchivedSegment],
    now: Timestamp,
) -> Result<Vec<bool>, StorageError> {
    let mut given = Given::new(db.dialect(), WRITTEN);
    for segment in segments {
        let [container, firm] = key_cells(&segment.key);
        let from = Cell::count(segment.from)?;
        let follows = if segment.from == 0 { Cell::Int(None) } else { from.clone() };
        given.push(vec![
            container,
            firm,
            Cell::from(segment.epoch),
            Cell::count(segment.to)?,
            from,
            Cell::from(&segment.prev_head.0[..]),
            follows,
            Cell::from(&segment.head.0[..]),
            Cell::from(&segment.state_digest.0[..]),
            Cell::from(&segment.reference[..]),
            Cell::from(&segment.request_hash.0[..]),
            Cell::from(segment.purpose.name()),
            Cell::from(&segment.envelope[..]),
            Cell::from(&segment.operations[..]),
            Cell::count(segment.file_from)?,
            Cell::count(segment.file_root)?,
            Cell::count(segment.root_through)?,
            Cell::from(&segment.summary[..]),
            Cell::from(segment.reserved_at.as_micros()),
            Cell::from(now.as_micros()),
        ]);
    }
    let query = given.insert_into(
        "archived_segment",
        "WHERE TRUE ON CONFLICT DO NOTHING RETURNING container_id, firm_code, epoch, k",
    );
    let rows = match db.dialect() {
        // One statement is a transaction of its own.
        Dialect::Postgres => query.fetch_all(db.pool()).await?,
        Dialect::Sqlite => {
            let mut tx = db.begin().await?;
            let rows = query.fetch_all(tx.conn()).await?;
            tx.commit().await?;
            rows
        }
    };
    let mut fresh = rows.iter().map(|row| Ok((key(row)?, end(row)?))).collect::<Result<Vec<_>, StorageError>>()?;
    Ok(segments
        .iter()
        .map(|segment| {
            let wanted = (segment.key, End { epoch: segment.epoch, to: segment.to });
            // Of two equal ones in a crowd the first is new.
            fresh.iter().position(|found| *found == wanted).map(|place| fresh.swap_remove(place)).is_some()
        })
        .collect())
}

pub(super) async fn put_chain(db: &Database, chain: &ArchivedChain, now: Timestamp) -> Result<(), StorageError> {
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        sqlx::query(
            "INSERT INTO archived_chain (container_id, firm_code, context, first_seen_at, archived_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (container_id, firm_code) DO NOTHING",
        )
        .bind(chain.key.container.to_string())
        .bind(i64::from(chain.key.firm.get()))
        .bind(&chain.context[..])
        .bind(chain.first_seen_at.as_micros())
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?;
        tx.commit().await
    })
    .await
}

pub(super) async fn put_root(
    db: &Database,
    firm: FirmCode,
    root: &StoredRoot,
    now: Timestamp,
) -> Result<(), StorageError> {
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        sqlx::query(
            "INSERT INTO archived_root (firm_code, version, envelope, archived_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (firm_code, version) DO NOTHING",
        )
        .bind(i64::from(firm.get()))
        .bind(to_i64(root.version)?)
        .bind(&root.envelope[..])
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?;
        tx.commit().await
    })
    .await
}

pub(super) async fn roots_of(db: &Database, firm: FirmCode) -> Result<Vec<ArchivedRoot>, StorageError> {
    sqlx::query("SELECT firm_code, version, envelope FROM archived_root WHERE firm_code = $1 ORDER BY version")
        .bind(i64::from(firm.get()))
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(root)
        .collect()
}

pub(super) async fn roots(db: &Database) -> Result<Vec<ArchivedRoot>, StorageError> {
    sqlx::query("SELECT firm_code, version, envelope FROM archived_root ORDER BY firm_code, version")
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(root)
        .collect()
}

pub(super) async fn newest_roots(db: &Database) -> Result<Vec<(FirmCode, u64)>, StorageError> {
    sqlx::query("SELECT firm_code, MAX(version) AS version FROM archived_root GROUP BY firm_code")
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(|row| {
            let columns = Columns::of(row, "archived_root");
            Ok((columns.firm("firm_code")?, columns.count("version")?))
        })
        .collect()
}

pub(super) async fn end_of(db: &Database, of: &ChainKey) -> Result<Option<End>, StorageError> {
    sqlx::query(
        "SELECT epoch, k FROM archived_segment WHERE container_id = $1 AND firm_code = $2 \
         ORDER BY epoch DESC, k DESC LIMIT 1",
    )
    .bind(of.container.to_string())
    .bind(i64::from(of.firm.get()))
    .fetch_optional(db.pool())
    .await?
    .map(|row| end(&row))
    .transpose()
}

/// The same for many chains at once.
pub(super) async fn ends_of(db: &Database, of: &BTreeSet<ChainKey>) -> Result<HashMap<ChainKey, End>, StorageError> {
    let mut given = Given::new(db.dialect(), &[("container_id", Kind::Text), ("firm_code", Kind::Int)]);
    for key in of {
        given.push(key_cells(key).into());
    }
    let rows = given
        .query(
            "SELECT archived_segment.container_id, archived_segment.firm_code, archived_segment.epoch, \
             archived_segment.k FROM given JOIN archived_segment \
             ON archived_segment.container_id = given.container_id AND archived_segment.firm_code = given.firm_code \
             AND archived_segment.epoch = (SELECT MAX(last.epoch) FROM archived_segment AS last \
             WHERE last.container_id = given.container_id AND last.firm_code = given.firm_code) \
             AND archived_segment.k = (SELECT MAX(last.k) FROM archived_segment AS last \
             WHERE last.container_id = given.container_id AND last.firm_code = given.firm_code \
             AND last.epoch = archived_segment.epoch)",
        )
        .fetch_all(db.pool())
        .await?;
    rows.iter().map(|row| Ok((key(row)?, end(row)?))).collect()
}

/// The segments that were archived last.
pub(super) async fn newest(db: &Database, limit: u32) -> Result<Vec<(ChainKey, End)>, StorageError> {
    sqlx::query("SELECT container_id, firm_code, epoch, k FROM archived_segment ORDER BY position DESC LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(|row| Ok((key(row)?, end(row)?)))
        .collect()
}

macro_rules! columns {
    () => {
        "SELECT position, container_id, firm_code, epoch, k, from_k, prev_head, head, state_digest, reference, \
         request_hash, purpose, envelope, operations, file_from, file_root, root_through, summary, reserved_at \
         FROM archived_segment "
    };
}

pub(super) async fn page(db: &Database, after: u64, limit: u32) -> Result<Vec<(u64, ArchivedSegment)>, StorageError> {
    sqlx::query(concat!(columns!(), "WHERE position > $1 ORDER BY position LIMIT $2"))
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(|row| Ok((Columns::of(row, "archived_segment").count("position")?, segment(row)?)))
        .collect()
}

pub(super) async fn find(
    db: &Database,
    of: &ChainKey,
    epoch: u32,
    to: u64,
) -> Result<Option<ArchivedSegment>, StorageError> {
    sqlx::query(concat!(columns!(), "WHERE container_id = $1 AND firm_code = $2 AND epoch = $3 AND k = $4"))
        .bind(of.container.to_string())
        .bind(i64::from(of.firm.get()))
        .bind(i64::from(epoch))
        .bind(to_i64(to)?)
        .fetch_optional(db.pool())
        .await?
        .map(|row| segment(&row))
        .transpose()
}

pub(super) async fn chain(db: &Database, of: &ChainKey) -> Result<Option<ArchivedChain>, StorageError> {
    sqlx::query(
        "SELECT container_id, firm_code, context, first_seen_at FROM archived_chain \
         WHERE container_id = $1 AND firm_code = $2",
    )
    .bind(of.container.to_string())
    .bind(i64::from(of.firm.get()))
    .fetch_optional(db.pool())
    .await?
    .map(|row| {
        let columns = Columns::of(&row, "archived_chain");
        Ok(ArchivedChain {
            key: key(&row)?,
            context: columns.bytes("context")?,
            first_seen_at: columns.time("first_seen_at")?,
        })
    })
    .transpose()
}

fn key(row: &AnyRow) -> Result<ChainKey, StorageError> {
    let columns = Columns::of(row, "archived_segment");
    Ok(ChainKey { container: columns.container_id("container_id")?, firm: columns.firm("firm_code")? })
}

fn end(row: &AnyRow) -> Result<End, StorageError> {
    let columns = Columns::of(row, "archived_segment");
    Ok(End { epoch: columns.small("epoch")?, to: columns.count("k")? })
}

fn root(row: &AnyRow) -> Result<ArchivedRoot, StorageError> {
    let columns = Columns::of(row, "archived_root");
    Ok(ArchivedRoot {
        firm: columns.firm("firm_code")?,
        version: columns.count("version")?,
        envelope: columns.bytes("envelope")?,
    })
}

fn segment(row: &AnyRow) -> Result<ArchivedSegment, StorageError> {
    let columns = Columns::of(row, "archived_segment");
    Ok(ArchivedSegment {
        key: key(row)?,
        epoch: columns.small("epoch")?,
        from: columns.count("from_k")?,
        to: columns.count("k")?,
        prev_head: columns.digest("prev_head")?,
        head: columns.digest("head")?,
        state_digest: columns.digest("state_digest")?,
        reference: columns.text("reference")?,
        request_hash: columns.digest("request_hash")?,
        purpose: columns.parsed("purpose", Purpose::parse)?,
        envelope: columns.bytes("envelope")?,
        operations: columns.bytes("operations")?,
        file_from: columns.count("file_from")?,
        file_root: columns.count("file_root")?,
        root_through: columns.count("root_through")?,
        summary: columns.text("summary")?,
        reserved_at: columns.time("reserved_at")?,
    })
}
