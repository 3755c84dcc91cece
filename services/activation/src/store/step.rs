//! The steps of sagas, written only from the state that was read.

use lictor_broker::Announcement;
use lictor_clock::Timestamp;
use lictor_storage::{
    StorageError, outbox, retry,
    sqlx::{self, AnyConnection, AssertSqlSafe, any::AnyRow},
    to_i64,
};

use super::{Store, begin::insert, row, run::RUNNER_TIME};
use crate::domain::{saga::Saga, state::State};

/// Attempts to append an event whose number another activation of the same license took.
const NUMBER_ATTEMPTS: u32 = 8;

impl Store {
    /// Writes a saga's step from `before` to its present state, with what is announced by it and the sagas that it begins,
    /// all or nothing. Gives the saga back as it stands now, or nothing when it was no longer in `before`.
    pub async fn step(
        &self,
        saga: &Saga,
        before: State,
        announcement: Option<&Announcement>,
        begins: &[Saga],
        now: Timestamp,
    ) -> Result<Option<Saga>, StorageError> {
        let mut attempt = 1;
        loop {
            match retry(|| self.try_step(saga, before, announcement, begins, now)).await {
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
        begins: &[Saga],
        now: Timestamp,
    ) -> Result<Option<Saga>, StorageError> {
        if announcement.is_none() && begins.is_empty() {
            let mut alone = self.alone().await?;
            let saved = write(alone.conn(), saga, before, now).await?;
            alone.done().await?;
            return saved.as_ref().map(row::saga).transpose();
        }
        let mut tx = self.db.begin().await?;
        let Some(saved) = write(tx.conn(), saga, before, now).await? else {
            return Ok(None);
        };
        if let Some(announcement) = announcement {
            let number = outbox::next_aggregate_sequence(&mut tx, &announcement.subject).await?;
            let numbered = Announcement { aggregate_sequence: number, ..announcement.clone() };
            lictor_broker::announce(&mut tx, numbered).await?;
        }
        for next in begins {
            // One that was begun before, by this step's earlier attempt or by its time, is that one.
            insert(tx.conn(), next, None, None, now).await?;
        }
        tx.commit().await?;
        row::saga(&saved).map(Some)
    }
}

/// Writes the step itself. Where the saga comes to rest by it, nobody works on it any more.
async fn write(
    connection: &mut AnyConnection,
    saga: &Saga,
    before: State,
    now: Timestamp,
) -> Result<Option<AnyRow>, StorageError> {
    let container = saga.container.as_ref();
    let problem = saga.problem.as_ref();
    // A saga that waits for proof is due again at once when the proof came meanwhile; an end is never due.
    let (due, busy) = match saga.state {
        State::Confirmed | State::Refused => ("NULL", "CAST($13 AS BIGINT) * 0"),
        State::Completed => (
            "CASE WHEN proven_at IS NULL THEN NULL ELSE CAST($1 AS BIGINT) END",
            "CASE WHEN proven_at IS NULL THEN 0 ELSE CAST($13 AS BIGINT) END",
        ),
        _ => ("CAST($1 AS BIGINT)", "CAST($13 AS BIGINT)"),
    };
    sqlx::query(AssertSqlSafe(format!(
        "UPDATE activation SET changed_at = $1, next_attempt_at = {due}, state = $2, firm_code = $3, \
         container_id = $4, serial = $5, container_kind = $6, licenses = $7, counter_from = $8, counter_to = $9, \
         problem_code = $10, problem_message = $11, problem_next = $12, runner_until = {busy}, attempts = 0, \
         stalled_at = NULL, purpose = $14, virtual_machine = $15, proven_at = COALESCE(proven_at, $16) \
         WHERE activation_id = $17 AND state = $18 RETURNING {}",
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
    .bind(row::document(&saga.purpose)?)
    .bind(container.map_or(0, |container| i64::from(container.virtual_machine)))
    .bind(saga.proven.then_some(now.as_micros()))
    .bind(saga.id.to_string())
    .bind(before.name())
    .fetch_optional(connection)
    .await
    .map_err(StorageError::from)
}
