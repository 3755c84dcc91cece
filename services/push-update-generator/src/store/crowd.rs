//! Reserving for many chains with the same few statements. Everything here works on different chains of one crowd, under
//! the locks that [`lock`] took.

use std::collections::{BTreeSet, HashMap};

use lictor_storage::{Database, Dialect, StorageError, Tx};

use super::{
    container::{self, Locked},
    given::{Cell, Given, Kind, key_cells, key_of},
    row::Columns,
    segment::Segment,
};
use crate::domain::container::ChainKey;

const KEYS: &[(&str, Kind)] = &[("container_id", Kind::Text), ("firm_code", Kind::Int)];

/// The chains that are there of these, each held alone until the transaction ends. They are locked in the order of their
/// keys, so that two crowds never wait for each other in a circle.
pub async fn lock(tx: &mut Tx, keys: &BTreeSet<ChainKey>) -> Result<HashMap<ChainKey, Locked>, StorageError> {
    let mut given = Given::new(tx.dialect(), KEYS);
    for key in keys {
        given.push(key_cells(key).into());
    }
    let own = match tx.dialect() {
        Dialect::Postgres => " FOR UPDATE OF container",
        Dialect::Sqlite => "",
    };
    let select = container::LOCKED;
    let statement = format!(
        "{select} JOIN given ON container.container_id = given.container_id AND container.firm_code = given.firm_code \
         ORDER BY container.container_id, container.firm_code{own}"
    );
    let rows = given.query(&statement).fetch_all(tx.conn()).await?;
    rows.iter().map(|row| Ok((key_of(row, "container")?, container::locked(row)?))).collect()
}

/// Fixes counters and bytes of segments, of each chain at most one, except those whose reference was used or refused
/// before; tells whose were fixed.
pub async fn reserve(tx: &mut Tx, segments: &[&Segment]) -> Result<BTreeSet<ChainKey>, StorageError> {
    const COLUMNS: &[(&str, Kind)] = &[
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
        ("payload", Kind::Bytes),
        ("operations", Kind::Bytes),
        ("file_from", Kind::Int),
        ("file_root", Kind::Int),
        ("summary", Kind::Text),
        ("state", Kind::Text),
        ("reserved_at", Kind::Int),
    ];
    let mut given = Given::new(tx.dialect(), COLUMNS);
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
            Cell::from(&segment.payload[..]),
            Cell::from(&segment.operations[..]),
            Cell::count(segment.file_from)?,
            Cell::count(segment.file_root)?,
            Cell::from(&segment.summary[..]),
            Cell::from(segment.state.name()),
            Cell::from(segment.reserved_at.as_micros()),
        ]);
    }
    // In the order of their references, so that two crowds with the same ones never wait for each other in a circle.
    let rows = given
        .insert_into(
            "segment",
            "WHERE NOT EXISTS (SELECT 1 FROM refused_reference WHERE refused_reference.firm_code = \
             given.firm_code AND refused_reference.reference = given.reference) ORDER BY firm_code, reference \
             ON CONFLICT (firm_code, reference) DO NOTHING RETURNING container_id, firm_code",
        )
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(|row| key_of(row, "segment")).collect()
}

/// The new end of a chain.
#[derive(Clone, Debug)]
pub struct End<'a> {
    /// Whose.
    pub key: ChainKey,
    /// Newest counter whose bytes are fixed.
    pub reserved: u64,
    /// Counter before the newest checkpoint.
    pub file_base: u64,
    /// Vendor-owned state there, encoded.
    pub state: &'a [u8],
}

/// Moves the ends of chains.
pub async fn advance(tx: &mut Tx, ends: &[End<'_>]) -> Result<(), StorageError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("container_id", Kind::Text),
        ("firm_code", Kind::Int),
        ("reserved", Kind::Int),
        ("file_base", Kind::Int),
        ("state", Kind::Bytes),
    ];
    let mut given = Given::new(tx.dialect(), COLUMNS);
    for end in ends {
        let [container, firm] = key_cells(&end.key);
        let (reserved, file_base) = (Cell::count(end.reserved)?, Cell::count(end.file_base)?);
        given.push(vec![container, firm, reserved, file_base, Cell::from(end.state)]);
    }
    let moved = given
        .query(
            "UPDATE container SET reserved = given.reserved, file_base = given.file_base, state = given.state \
             FROM given WHERE container.container_id = given.container_id \
             AND container.firm_code = given.firm_code",
        )
        .execute(tx.conn())
        .await?
        .rows_affected();
    if moved == ends.len() as u64 {
        return Ok(());
    }
    Err(StorageError::inconsistent("container", "a chain under its lock is gone"))
}

/// The segments that an update file needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of which chain.
    pub key: ChainKey,
    /// Of which epoch.
    pub epoch: u32,
    /// Above this counter.
    pub above: u64,
    /// Up to this one.
    pub through: u64,
}

/// The signed bytes of issued segments, in order, for each of several files.
pub async fn envelopes(db: &Database, wanted: &[Wanted]) -> Result<Vec<Vec<Vec<u8>>>, StorageError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("place", Kind::Int),
        ("container_id", Kind::Text),
        ("firm_code", Kind::Int),
        ("epoch", Kind::Int),
        ("above", Kind::Int),
        ("through", Kind::Int),
    ];
    let mut given = Given::new(db.dialect(), COLUMNS);
    for (place, wanted) in wanted.iter().enumerate() {
        let [container, firm] = key_cells(&wanted.key);
        let (above, through) = (Cell::count(wanted.above)?, Cell::count(wanted.through)?);
        given.push(vec![Cell::count(place as u64)?, container, firm, Cell::from(wanted.epoch), above, through]);
    }
    let rows = given
        .query(
            "SELECT given.place, segment_envelope.envelope FROM given JOIN segment_envelope \
             ON segment_envelope.container_id = given.container_id AND segment_envelope.firm_code = given.firm_code \
             AND segment_envelope.epoch = given.epoch AND segment_envelope.k > given.above \
             AND segment_envelope.k <= given.through ORDER BY given.place, segment_envelope.k",
        )
        .fetch_all(db.pool())
        .await?;
    let mut found: Vec<Vec<Vec<u8>>> = wanted.iter().map(|_| Vec::new()).collect();
    for row in &rows {
        let columns = Columns::of(row, "segment_envelope");
        let place = usize::try_from(columns.count("place")?).ok().and_then(|place| found.get_mut(place));
        place.ok_or_else(|| columns.wrong("place"))?.push(columns.bytes("envelope")?);
    }
    Ok(found)
}
