//! The last step of issuing, for many chains with the same few statements: signed bytes are kept, the segment and its
//! chain count as issued.

use lictor_clock::Timestamp;
use lictor_storage::{StorageError, Tx};

use super::{
    given::{Cell, Given, Kind, key_cells},
    row::Columns,
    segment::Segment,
};
use crate::domain::{container::ChainKey, segment::SegmentState};

/// A segment on its last step.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The segment, reserved.
    pub segment: Segment,
    /// Its signed bytes.
    pub envelope: Vec<u8>,
    /// Version of the newest root document when it was signed.
    pub root_through: u64,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
}

/// What the events about an issued segment need of its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextEvent {
    /// Display name of the container.
    pub serial: String,
    /// The number of the last event about this segment.
    pub version: u64,
}

/// Counts each segment as issued that is the next one of its chain, and tells which ones these were: nothing for those
/// that another run counted before, or that an earlier one is still on its way for. At most one per chain. Crowds of two
/// processes may wait for each other in a circle here; the database then ends one, which is tried again.
pub async fn mark(tx: &mut Tx, issues: &[Issue], now: Timestamp) -> Result<Vec<Option<NextEvent>>, StorageError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("container_id", Kind::Text),
        ("firm_code", Kind::Int),
        ("epoch", Kind::Int),
        ("k", Kind::Int),
        ("from_k", Kind::Int),
        ("events", Kind::Int),
    ];
    let mut given = Given::new(tx.dialect(), COLUMNS);
    for issue in issues {
        let [container, firm, epoch, k] = place_cells(&issue.segment)?;
        let events = Cell::count(issue.segment.purpose.events())?;
        given.push(vec![container, firm, epoch, k, Cell::count(issue.segment.from)?, events]);
    }
    let moved = given
        .query(
            "UPDATE container SET issued = given.k, version = version + given.events FROM given \
             WHERE container.container_id = given.container_id AND container.firm_code = given.firm_code \
             AND container.epoch = given.epoch AND container.issued = given.from_k \
             RETURNING container.container_id, container.firm_code, container.serial, container.version",
        )
        .fetch_all(tx.conn())
        .await?
        .iter()
        .map(|row| {
            let columns = Columns::of(row, "container");
            let key = ChainKey { container: columns.container_id("container_id")?, firm: columns.firm("firm_code")? };
            Ok((key, NextEvent { serial: columns.text("serial")?, version: columns.count("version")? }))
        })
        .collect::<Result<Vec<_>, StorageError>>()?;
    let next: Vec<_> = issues
        .iter()
        .map(|issue| moved.iter().find(|(key, _)| *key == issue.segment.key).map(|(_, next)| next.clone()))
        .collect();
    let counted: Vec<_> = issues.iter().zip(&next).filter(|(_, next)| next.is_some()).map(|(issue, _)| issue).collect();
    if !counted.is_empty() {
        keep(tx, &counted, now).await?;
        step(tx, &counted, now).await?;
    }
    Ok(next)
}

/// Keeps the signed bytes.
async fn keep(tx: &mut Tx, issues: &[&Issue], now: Timestamp) -> Result<(), StorageError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("container_id", Kind::Text),
        ("firm_code", Kind::Int),
        ("epoch", Kind::Int),
        ("k", Kind::Int),
        ("envelope", Kind::Bytes),
        ("stored_at", Kind::Int),
    ];
    let mut given = Given::new(tx.dialect(), COLUMNS);
    for issue in issues {
        let [container, firm, epoch, k] = place_cells(&issue.segment)?;
        given.push(vec![container, firm, epoch, k, Cell::from(&issue.envelope[..]), Cell::from(now.as_micros())]);
    }
    given.insert_into("segment_envelope", "").execute(tx.conn()).await?;
    Ok(())
}

async fn step(tx: &mut Tx, issues: &[&Issue], now: Timestamp) -> Result<(), StorageError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("container_id", Kind::Text),
        ("firm_code", Kind::Int),
        ("epoch", Kind::Int),
        ("k", Kind::Int),
        ("root_through", Kind::Int),
        ("was", Kind::Text),
        ("becomes", Kind::Text),
        ("issued_at", Kind::Int),
    ];
    let to =
        SegmentState::Reserved.issue().map_err(|refused| StorageError::inconsistent("segment", refused.to_string()))?;
    let mut given = Given::new(tx.dialect(), COLUMNS);
    for issue in issues {
        let [container, firm, epoch, k] = place_cells(&issue.segment)?;
        let (was, becomes) = (Cell::from(SegmentState::Reserved.name()), Cell::from(to.name()));
        let root = Cell::count(issue.root_through)?;
        given.push(vec![container, firm, epoch, k, root, was, becomes, Cell::from(now.as_micros())]);
    }
    let done = given
        .query(
            "UPDATE segment SET state = given.becomes, issued_at = given.issued_at, \
             root_through = given.root_through FROM given \
             WHERE segment.container_id = given.container_id AND segment.firm_code = given.firm_code \
             AND segment.epoch = given.epoch AND segment.k = given.k AND segment.state = given.was",
        )
        .execute(tx.conn())
        .await?
        .rows_affected();
    if done == issues.len() as u64 {
        return Ok(());
    }
    Err(StorageError::inconsistent("segment", "the chain counts it as not issued, the segment itself as issued"))
}

fn place_cells(segment: &Segment) -> Result<[Cell; 4], StorageError> {
    let [container, firm] = key_cells(&segment.key);
    Ok([container, firm, Cell::from(segment.epoch), Cell::count(segment.to)?])
}
