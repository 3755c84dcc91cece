//! Containers that were blocked at the push-update-generator, as the activation service told.

use std::collections::HashSet;

use lictor_clock::Timestamp;
use lictor_licensing::{FirmCode, error::ErrorCode};
use lictor_storage::{
    StorageError, Tx, retry,
    sqlx::{self, Row},
};

use super::{
    Store,
    sql::{list, statement},
};
use crate::{
    domain::plan::{PlanRequest, Purpose},
    failure::Failure,
};

/// A container that gets withdrawals only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedContainer {
    /// The vendor.
    pub firm: FirmCode,
    /// SHA-256 of the container's device key, hex.
    pub container: String,
    /// Display serial of the container.
    pub serial: String,
    /// For people: why.
    pub reason: String,
}

impl Store {
    /// Notes that a container was blocked; the first word about it counts. True when it was news.
    pub async fn note_blocked(&self, blocked: &BlockedContainer, now: Timestamp) -> Result<bool, StorageError> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let noted = sqlx::query(
                "INSERT INTO blocked_container (firm_code, container_id, serial, reason, noted_at) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (firm_code, container_id) DO NOTHING",
            )
            .bind(i64::from(blocked.firm.get()))
            .bind(blocked.container.clone())
            .bind(blocked.serial.clone())
            .bind(blocked.reason.clone())
            .bind(now.as_micros())
            .execute(tx.conn())
            .await?;
            tx.commit().await?;
            Ok(noted.rows_affected() == 1)
        })
        .await
    }

    /// Those among the containers of a firm that are blocked.
    pub async fn blocked_among(&self, firm: FirmCode, containers: &[&str]) -> Result<HashSet<String>, StorageError> {
        let mut blocked = HashSet::new();
        for part in containers.chunks(500) {
            let mut query = statement(format!(
                "SELECT container_id FROM blocked_container WHERE firm_code = $1 AND container_id IN ({})",
                list(2, part.len())
            ))
            .bind(i64::from(firm.get()));
            for container in part {
                query = query.bind((*container).to_owned());
            }
            for row in query.fetch_all(self.db.pool()).await? {
                blocked.insert(row.try_get("container_id")?);
            }
        }
        Ok(blocked)
    }
}

/// Refuses plans that would put something into a blocked container, or wait for its word.
pub(super) async fn refuse(tx: &mut Tx, firm: FirmCode, request: &PlanRequest) -> Result<(), Failure> {
    let target = match &request.purpose {
        // The vendor's own withdrawals are still issued. For seats that arrive activation looks before it plans: they have
        // left one container already, so they have to be sent elsewhere, not refused.
        Purpose::Withdraw { .. } | Purpose::Activate { ticket: None, .. } | Purpose::Arrive { .. } => return Ok(()),
        Purpose::Depart(departure) => departure.target.as_ref(),
        _ => None,
    };
    let places: Vec<_> = request.place.iter().chain(target).collect();
    if places.is_empty() {
        return Ok(());
    }
    let mut query = statement(format!(
        "SELECT serial, reason FROM blocked_container WHERE firm_code = $1 AND container_id IN ({}) LIMIT 1",
        list(2, places.len())
    ))
    .bind(i64::from(firm.get()));
    for place in places {
        query = query.bind(place.id.clone());
    }
    let Some(row) = query.fetch_optional(tx.conn()).await? else { return Ok(()) };
    let (serial, reason): (String, String) = (row.try_get("serial")?, row.try_get("reason")?);
    let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    Err(Failure::refused(
        ErrorCode::WrongState,
        format!("container {serial} is blocked{why}, so it gets withdrawals only"),
        "use another container; what it held goes there with: lictor replace",
    ))
}
