//! Looking sagas up.

use lictor_clock::Timestamp;
use lictor_licensing::id::{ActivationId, TicketId, TransferId};
use lictor_storage::{
    StorageError,
    sqlx::{self, AssertSqlSafe, Row},
};

use super::{Store, row};
use crate::domain::saga::Saga;

/// Sagas of a ticket in one container that are looked at.
const OF_A_TICKET: i64 = 200;

/// Which sagas a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of this firm.
    pub firm: u32,
    /// Also those that have ended.
    pub all: bool,
    /// Only those begun after this one.
    pub after: Option<ActivationId>,
    /// At most so many.
    pub limit: u32,
}

fn select(rest: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT {} FROM activation {rest}", row::COLUMNS))
}

impl Store {
    /// One saga.
    pub async fn saga(&self, id: ActivationId) -> Result<Option<Saga>, StorageError> {
        let found =
            sqlx::query(select("WHERE activation_id = $1")).bind(id.to_string()).fetch_optional(self.db.pool()).await?;
        found.as_ref().map(row::saga).transpose()
    }

    /// The saga that a caller's request began.
    pub async fn by_request(&self, caller: &str, request_id: &str) -> Result<Option<Saga>, StorageError> {
        let found = sqlx::query(select("WHERE caller = $1 AND request_id = $2"))
            .bind(caller.to_owned())
            .bind(request_id.to_owned())
            .fetch_optional(self.db.pool())
            .await?;
        found.as_ref().map(row::saga).transpose()
    }

    /// The newest attempt at what a caller asked for under this name or, after a refusal, under `name@…`.
    pub async fn newest_attempt(&self, caller: &str, name: &str) -> Result<Option<Saga>, StorageError> {
        let found = sqlx::query(select(
            "WHERE caller = $1 AND (request_id = $2 OR request_id LIKE $3) ORDER BY created_at DESC LIMIT 1",
        ))
        .bind(caller.to_owned())
        .bind(name.to_owned())
        .bind(format!("{name}@%"))
        .fetch_optional(self.db.pool())
        .await?;
        found.as_ref().map(row::saga).transpose()
    }

    /// All that one caller began, oldest first; at most 1000.
    pub async fn of_caller(&self, caller: &str) -> Result<Vec<Saga>, StorageError> {
        let rows = sqlx::query(select("WHERE caller = $1 ORDER BY activation_id LIMIT 1000"))
            .bind(caller.to_owned())
            .fetch_all(self.db.pool())
            .await?;
        rows.iter().map(row::saga).collect()
    }

    /// The legs of a transfer, oldest first: the leaving, and every attempt at the arrival.
    pub async fn of_transfer(&self, transfer: TransferId) -> Result<Vec<Saga>, StorageError> {
        let rows = sqlx::query(select("WHERE transfer_id = $1 ORDER BY activation_id"))
            .bind(transfer.to_string())
            .fetch_all(self.db.pool())
            .await?;
        rows.iter().map(row::saga).collect()
    }

    /// Activations of a ticket into a container whose update is issued, proven or not; newest first.
    pub async fn put_into(&self, ticket: TicketId, container: &str) -> Result<Vec<Saga>, StorageError> {
        let rows = sqlx::query(select(
            "WHERE ticket_id = $1 AND container_id = $2 AND state IN ('completed', 'confirmed') \
             AND kind IN ('activate', 'push', 'replace') ORDER BY activation_id DESC LIMIT $3",
        ))
        .bind(ticket.to_string())
        .bind(container.to_owned())
        .bind(OF_A_TICKET)
        .fetch_all(self.db.pool())
        .await?;
        rows.iter().map(row::saga).collect()
    }

    /// One page of a firm's sagas, oldest first.
    pub async fn list(&self, wanted: &Wanted) -> Result<Vec<Saga>, StorageError> {
        let open = if wanted.all { "" } else { "AND state NOT IN ('confirmed', 'refused')" };
        let rows = sqlx::query(select(&format!(
            "WHERE firm_code = $1 AND activation_id > $2 {open} ORDER BY activation_id LIMIT $3"
        )))
        .bind(i64::from(wanted.firm))
        .bind(wanted.after.map_or_else(String::new, |id| id.to_string()))
        .bind(i64::from(wanted.limit))
        .fetch_all(self.db.pool())
        .await?;
        rows.iter().map(row::saga).collect()
    }

    /// The context file that a rebase answers.
    pub async fn context(&self, id: ActivationId) -> Result<Option<Vec<u8>>, StorageError> {
        let found = sqlx::query("SELECT context FROM activation WHERE activation_id = $1")
            .bind(id.to_string())
            .fetch_optional(self.db.pool())
            .await?;
        Ok(found.map(|row| row.try_get("context")).transpose()?.flatten())
    }

    /// Sagas that are due and that nobody works on, longest due first.
    pub async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<ActivationId>, StorageError> {
        let rows = sqlx::query(
            "SELECT activation_id FROM activation WHERE next_attempt_at <= $1 AND runner_until <= $2 \
             ORDER BY next_attempt_at LIMIT $3",
        )
        .bind(now.as_micros())
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(self.db.pool())
        .await?;
        rows.iter().map(|row| row::parsed(row, "activation_id")).collect()
    }

    /// How many sagas have still to be worked on, and how many of them are stalled.
    pub async fn unfinished(&self) -> Result<(u64, u64), StorageError> {
        let row = sqlx::query("SELECT COUNT(*), COUNT(stalled_at) FROM activation WHERE next_attempt_at IS NOT NULL")
            .fetch_one(self.db.pool())
            .await?;
        Ok((lictor_storage::to_u64(row.try_get(0)?)?, lictor_storage::to_u64(row.try_get(1)?)?))
    }
}
