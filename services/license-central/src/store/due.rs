//! What has become due: seats that wait for their second leg, loans that are over, technical ends that come near.

use lictor_clock::Timestamp;
use lictor_licensing::id::TransferId;
use lictor_storage::{
    StorageError,
    sqlx::{self, AnyConnection, any::AnyRow},
};

use super::{
    Store,
    renewal::{self, DueRenewal},
    sql::parsed,
};

/// One thing that has become due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueWork {
    /// Seats left their old container and are to be carried into the new one.
    Arrival(TransferId),
    /// A loan is over and its seats are to go back.
    Loan(TransferId),
    /// The technical end of licenses is to be moved.
    Renewal(DueRenewal),
}

impl Store {
    /// At most `limit` things that have become due: arrivals, then loans, then renewals, each oldest first.
    pub async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<DueWork>, StorageError> {
        let mut read = self.db.begin_read().await?;
        let mut work: Vec<DueWork> =
            arrivals(read.conn(), now, limit).await?.into_iter().map(DueWork::Arrival).collect();
        let left = |work: &[DueWork]| limit.saturating_sub(u32::try_from(work.len()).unwrap_or(u32::MAX));
        work.extend(loans(read.conn(), now, left(&work)).await?.into_iter().map(DueWork::Loan));
        let rest = left(&work);
        if rest > 0 {
            work.extend(renewal::due(read.conn(), now, rest).await?.into_iter().map(DueWork::Renewal));
        }
        Ok(work)
    }
}

/// Transfers whose seats wait, or whose old container need not prove anything any more, and that nobody carries in.
async fn arrivals(conn: &mut AnyConnection, now: Timestamp, limit: u32) -> Result<Vec<TransferId>, StorageError> {
    let rows = sqlx::query(
        "SELECT t.transfer_id FROM transfer t JOIN reservation d ON d.activation_id = t.depart_by \
         JOIN license l ON l.license_id = t.license_id \
         LEFT JOIN reservation a ON a.activation_id = t.arrive_by \
         WHERE t.state IN ('departing', 'departed', 'arriving') AND l.withdrawn_at IS NULL \
         AND (t.state = 'departed' \
         OR (t.state = 'departing' AND t.gone_by <= $1 AND d.state IN ('committed', 'confirmed')) \
         OR (t.state = 'arriving' AND a.state = 'reserved' AND a.reserved_until <= $2)) \
         ORDER BY t.changed_at, t.transfer_id LIMIT $3",
    )
    .bind(now.as_micros())
    .bind(now.as_micros())
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.iter().map(id).collect()
}

/// Loans that are over and whose seats lie with the borrower, with nothing issued that takes them out.
async fn loans(conn: &mut AnyConnection, now: Timestamp, limit: u32) -> Result<Vec<TransferId>, StorageError> {
    let rows = sqlx::query(
        "SELECT t.transfer_id FROM transfer t JOIN license l ON l.license_id = t.license_id \
         WHERE t.state = 'arrived' AND t.lend_until <= $1 AND l.withdrawn_at IS NULL \
         AND EXISTS (SELECT 1 FROM allocation a LEFT JOIN reservation r ON r.activation_id = a.planned_by \
         WHERE a.license_id = t.license_id AND a.transfer_id = t.transfer_id AND a.state IN ('collected', 'confirmed') \
         AND (a.planned_by IS NULL OR (r.state = 'reserved' AND r.reserved_until <= $2))) \
         ORDER BY t.lend_until, t.transfer_id LIMIT $3",
    )
    .bind(now.as_micros())
    .bind(now.as_micros())
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    rows.iter().map(id).collect()
}

fn id(row: &AnyRow) -> Result<TransferId, StorageError> {
    parsed(row, "transfer_id")
}
