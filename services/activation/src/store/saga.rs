//! Sagas: begun once per request, worked on by one process at a time, changed only from the state that was read.

use std::time::Duration;

use lictor_broker::Announcement;
use lictor_clock::Timestamp;
use lictor_licensing::id::{ActivationId, TicketId};
use lictor_storage::{
    StorageError, outbox, retry,
    sqlx::{self, AssertSqlSafe, Row},
    to_i64,
};

use super::{Store, row};
use crate::domain::{saga::Saga, state::State};

/// How long a process may work on a saga without making a step.
const RUNNER_TIME: Duration = Duration::from_secs(60);
/// Attempts to append an event whose number another activation of the same license took.
const NUMBER_ATTEMPTS: u32 = 8;

/// What became of a request to begin a saga.
#[derive(Debug, Clone)]
pub enum Begun {
    /// It was begun now, and the caller works on it.
    Now(Saga),
    /// The same caller began it before under the same request id.
    Before(Saga),
}

fn select(rest: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT {} FROM activation {rest}", row::COLUMNS))
}

impl Store {
    /// Begins a saga unless this caller's request id began one; `runner` works on it from now on.
    pub async fn begin(&self, saga: &Saga, runner: &str, now: Timestamp) -> Result<Begun, StorageError> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let container = saga.container.as_ref();
            let begun = sqlx::query(
                "INSERT INTO activation (activation_id, kind, state, firm_code, caller, request_id, body_hash, ticket_id, \
                 ticket_masked, wanted, withdrawn, withdrawn_for, container_id, serial, container_kind, licenses, \
                 counter_from, counter_to, problem_code, problem_message, problem_next, runner, runner_until, \
                 next_attempt_at, attempts, traceparent, created_at, changed_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, '', 0, 0, '', '', '', \
                 $16, $17, $18, 0, $19, $20, $21) ON CONFLICT (caller, request_id) DO NOTHING",
            )
            .bind(saga.id.to_string())
            .bind(saga.kind.name())
            .bind(saga.state.name())
            .bind(i64::from(saga.firm))
            .bind(saga.caller.clone())
            .bind(saga.request_id.clone())
            .bind(saga.body_hash.to_vec())
            .bind(saga.ticket.map(|ticket| ticket.to_string()))
            .bind(saga.ticket_masked.clone())
            .bind(row::joined(&saga.wanted))
            .bind(row::joined(&saga.withdrawn))
            .bind(saga.withdrawn_for.clone())
            .bind(container.map_or_else(String::new, |container| container.id.clone()))
            .bind(container.map_or_else(String::new, |container| container.serial.clone()))
            .bind(container.and_then(|container| container.kind).map_or("", |kind| kind.name()))
            .bind(runner.to_owned())
            .bind(now.saturating_add(RUNNER_TIME).as_micros())
            .bind(now.as_micros())
            .bind(saga.traceparent.clone())
            .bind(now.as_micros())
            .bind(now.as_micros())
            .execute(tx.conn())
            .await?;
            tx.commit().await?;
            if begun.rows_affected() == 1 {
                return Ok(Begun::Now(saga.clone()));
            }
            let before = self.by_request(&saga.caller, &saga.request_id).await?;
            before.map(Begun::Before).ok_or_else(|| StorageError::inconsistent("activation", "neither there nor new"))
        })
        .await
    }

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

    /// The newest activation of a ticket into a container whose update is issued, proven or not.
    pub async fn newest_into(&self, ticket: TicketId, container: &str) -> Result<Option<Saga>, StorageError> {
        let found = sqlx::query(select(
            "WHERE ticket_id = $1 AND container_id = $2 AND state IN ('completed', 'confirmed') \
             ORDER BY activation_id DESC LIMIT 1",
        ))
        .bind(ticket.to_string())
        .bind(container.to_owned())
        .fetch_optional(self.db.pool())
        .await?;
        found.as_ref().map(row::saga).transpose()
    }

    /// Takes a saga to work on it, unless somebody does.
    pub async fn claim(&self, id: ActivationId, runner: &str, now: Timestamp) -> Result<Option<Saga>, StorageError> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let taken = sqlx::query(AssertSqlSafe(format!(
                "UPDATE activation SET runner = $1, runner_until = $2 WHERE activation_id = $3 AND runner_until <= $4 \
                 RETURNING {}",
                row::COLUMNS
            )))
            .bind(runner.to_owned())
            .bind(now.saturating_add(RUNNER_TIME).as_micros())
            .bind(id.to_string())
            .bind(now.as_micros())
            .fetch_optional(tx.conn())
            .await?;
            tx.commit().await?;
            taken.as_ref().map(row::saga).transpose()
        })
        .await
    }

    /// Takes back what this runner worked on before it was restarted.
    pub async fn take_over(&self, runner: &str) -> Result<u64, StorageError> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let freed = sqlx::query("UPDATE activation SET runner_until = 0 WHERE runner = $1 AND runner_until > 0")
                .bind(runner.to_owned())
                .execute(tx.conn())
                .await?;
            tx.commit().await?;
            Ok(freed.rows_affected())
        })
        .await
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
        rows.iter()
            .map(|row| {
                let text: String = row.try_get("activation_id")?;
                text.parse().map_err(|_| StorageError::inconsistent("activation.activation_id", text))
            })
            .collect()
    }

    /// How many sagas are not settled or proven and still to be worked on.
    pub async fn unfinished(&self) -> Result<u64, StorageError> {
        let row = sqlx::query("SELECT COUNT(*) FROM activation WHERE next_attempt_at IS NOT NULL")
            .fetch_one(self.db.pool())
            .await?;
        lictor_storage::to_u64(row.try_get(0)?)
    }

    /// Writes a saga's step from `before` to its present state, with what is announced by it. Gives the saga back as it
    /// stands now, or nothing when it was no longer in `before`.
    pub async fn step(
        &self,
        saga: &Saga,
        before: State,
        announcement: Option<&Announcement>,
        now: Timestamp,
    ) -> Result<Option<Saga>, StorageError> {
        let mut attempt = 1;
        loop {
            match retry(|| self.try_step(saga, before, announcement, now)).await {
                Err(error) if error.is_unique_violation() && attempt < NUMBER_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_step(
        &self,
        saga: &Saga,
        before: State,
        announcement: Option<&Announcement>,
        now: Timestamp,
    ) -> Result<Option<Saga>, StorageError> {
        let mut tx = self.db.begin().await?;
        let container = saga.container.as_ref();
        let problem = saga.problem.as_ref();
        // A saga that waits for proof is due again at once when the proof came meanwhile; an end is never due.
        let due = match saga.state {
            State::Confirmed | State::Refused => "NULL",
            State::Completed => "CASE WHEN proven_at IS NULL THEN NULL ELSE CAST($1 AS BIGINT) END",
            _ => "CAST($1 AS BIGINT)",
        };
        let saved = sqlx::query(AssertSqlSafe(format!(
            "UPDATE activation SET changed_at = $1, next_attempt_at = {due}, state = $2, firm_code = $3, \
             container_id = $4, serial = $5, container_kind = $6, licenses = $7, counter_from = $8, counter_to = $9, \
             problem_code = $10, problem_message = $11, problem_next = $12, runner_until = $13, attempts = 0 \
             WHERE activation_id = $14 AND state = $15 RETURNING {}",
            row::COLUMNS
        )))
        .bind(now.as_micros())
        .bind(saga.state.name())
        .bind(i64::from(saga.firm))
        .bind(container.map_or_else(String::new, |container| container.id.clone()))
        .bind(container.map_or_else(String::new, |container| container.serial.clone()))
        .bind(container.and_then(|container| container.kind).map_or("", |kind| kind.name()))
        .bind(row::joined(&saga.licenses))
        .bind(to_i64(saga.from)?)
        .bind(to_i64(saga.to)?)
        .bind(problem.map_or("", |problem| problem.code.name()))
        .bind(problem.map_or_else(String::new, |problem| problem.message.clone()))
        .bind(problem.map_or_else(String::new, |problem| problem.next.clone()))
        .bind(now.saturating_add(RUNNER_TIME).as_micros())
        .bind(saga.id.to_string())
        .bind(before.name())
        .fetch_optional(tx.conn())
        .await?;
        let Some(saved) = saved else {
            return Ok(None);
        };
        if let Some(announcement) = announcement {
            let number = outbox::next_aggregate_sequence(&mut tx, &announcement.subject).await?;
            let numbered = Announcement { aggregate_sequence: number, ..announcement.clone() };
            lictor_broker::announce(&mut tx, numbered).await?;
        }
        tx.commit().await?;
        row::saga(&saved).map(Some)
    }

    /// Ends this runner's run: nobody works on the saga now. After a failure it is due again at `again_at`. One that waits
    /// for proof or has ended is never due, whatever the run believes: its last step may be stored without its knowing.
    /// A saga that another runner took over meanwhile is left alone.
    pub async fn put_down(
        &self,
        id: ActivationId,
        runner: &str,
        again_at: Option<Timestamp>,
    ) -> Result<(), StorageError> {
        const RESTS: &str = "state IN ('confirmed', 'refused') OR (state = 'completed' AND proven_at IS NULL)";
        let (failed, due): (i64, &str) = match again_at {
            None => (0, "next_attempt_at"),
            Some(_) => (1, "CAST($4 AS BIGINT)"),
        };
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let query = sqlx::query(AssertSqlSafe(format!(
                "UPDATE activation SET runner_until = 0, attempts = attempts + $1, \
                 next_attempt_at = CASE WHEN {RESTS} THEN NULL ELSE {due} END \
                 WHERE activation_id = $2 AND runner = $3"
            )))
            .bind(failed)
            .bind(id.to_string())
            .bind(runner.to_owned());
            let query = match again_at {
                None => query,
                Some(at) => query.bind(at.as_micros()),
            };
            query.execute(tx.conn()).await?;
            tx.commit().await
        })
        .await
    }
}
