//! The last step of issuing, for many chains with the same few statements: signed bytes are kept, the segment and its
//! chain count as issued.

use lictor_clock::Timestamp;
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, Any, query::Query},
    to_i64,
};

use super::{row::Columns, segment::Segment};
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

/// Rows of place holders, `columns` each.
fn rows(count: usize, columns: usize, first: usize) -> String {
    let row = |row: usize| {
        let start = first + row * columns;
        let places: Vec<_> = (start..start + columns).map(|place| format!("${place}")).collect();
        format!("({})", places.join(","))
    };
    (0..count).map(row).collect::<Vec<_>>().join(",")
}

fn bind_place<'q>(
    query: Query<'q, Any, sqlx::any::AnyArguments>,
    segment: &Segment,
) -> Result<Query<'q, Any, sqlx::any::AnyArguments>, StorageError> {
    Ok(query
        .bind(segment.key.container.to_string())
        .bind(i64::from(segment.key.firm.get()))
        .bind(i64::from(segment.epoch))
        .bind(to_i64(segment.to)?))
}

/// Counts each segment as issued that is the next one of its chain, and tells which ones these were: nothing for those
/// that another run counted before, or that an earlier one is still on its way for. At most one per chain, in the order of
/// the chains' keys, so that crowds of two processes never wait for each other in a circle.
pub async fn mark(tx: &mut Tx, issues: &[Issue], now: Timestamp) -> Result<Vec<Option<NextEvent>>, StorageError> {
    // Only place holders are put together here and below, so no outside text can become SQL.
    let statement = format!(
        "WITH next (container_id, firm_code, epoch, k, from_k, events) AS (VALUES {}) \
         UPDATE container SET issued = next.k, version = version + next.events FROM next \
         WHERE container.container_id = next.container_id AND container.firm_code = next.firm_code \
         AND container.epoch = next.epoch AND container.issued = next.from_k \
         RETURNING container.container_id, container.firm_code, container.serial, container.version",
        rows(issues.len(), 6, 1)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
    for issue in issues {
        query = bind_place(query, &issue.segment)?
            .bind(to_i64(issue.segment.from)?)
            .bind(to_i64(issue.segment.purpose.events())?);
    }
    let moved = query
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
    let statement = format!(
        "INSERT INTO segment_envelope (container_id, firm_code, epoch, k, envelope, stored_at) VALUES {}",
        rows(issues.len(), 6, 1)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
    for issue in issues {
        query = bind_place(query, &issue.segment)?.bind(issue.envelope.clone()).bind(now.as_micros());
    }
    query.execute(tx.conn()).await?;
    Ok(())
}

async fn step(tx: &mut Tx, issues: &[&Issue], now: Timestamp) -> Result<(), StorageError> {
    let to =
        SegmentState::Reserved.issue().map_err(|refused| StorageError::inconsistent("segment", refused.to_string()))?;
    let statement = format!(
        "WITH next (container_id, firm_code, epoch, k, root_through) AS (VALUES {}) \
         UPDATE segment SET state = $1, issued_at = $2, root_through = next.root_through FROM next \
         WHERE segment.container_id = next.container_id AND segment.firm_code = next.firm_code \
         AND segment.epoch = next.epoch AND segment.k = next.k AND segment.state = $3",
        rows(issues.len(), 5, 4)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(to.name())
        .bind(now.as_micros())
        .bind(SegmentState::Reserved.name());
    for issue in issues {
        query = bind_place(query, &issue.segment)?.bind(to_i64(issue.root_through)?);
    }
    let done = query.execute(tx.conn()).await?.rows_affected();
    if done == issues.len() as u64 {
        return Ok(());
    }
    Err(StorageError::inconsistent("segment", "the chain counts it as not issued, the segment itself as issued"))
}
