//! Who works on a saga, and since when.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::{error::Problem, id::ActivationId};
use lictor_storage::{
    StorageError, retry,
    sqlx::{self, AssertSqlSafe},
};

use super::{Store, row};
use crate::domain::saga::Saga;

/// How long a process may work on a saga without making a step.
pub(super) const RUNNER_TIME: Duration = Duration::from_secs(60);
/// Sagas that wait for the container's proof or have ended.
pub(super) const RESTS: &str = "state IN ('confirmed', 'refused') OR (state = 'completed' AND proven_at IS NULL)";

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// It waits for proof, or has ended.
    AtRest,
    /// It could not go on, and is due again.
    Failed {
        /// Why.
        problem: &'a Problem,
        /// When.
        again_at: Timestamp,
        /// Somebody must look.
        stalled: bool,
    },
}

impl Store {
    /// Takes a saga to work on it, unless somebody does.
    pub async fn claim(&self, id: ActivationId, runner: &str, now: Timestamp) -> Result<Option<Saga>, StorageError> {
        retry(|| async {
            let mut alone = self.alone().await?;
            let taken = sqlx::query(AssertSqlSafe(format!(
                "UPDATE activation SET runner = $1, runner_until = $2 WHERE activation_id = $3 AND runner_until <= $4 \
                 RETURNING {}",
                row::COLUMNS
            )))
            .bind(runner.to_owned())
            .bind(now.saturating_add(RUNNER_TIME).as_micros())
            .bind(id.to_string())
            .bind(now.as_micros())
            .fetch_optional(alone.conn())
            .await?;
            alone.done().await?;
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

    /// Makes a saga due now, whatever it waited for; tells whether there is anything to do for it.
    pub async fn hurry(&self, id: ActivationId, now: Timestamp) -> Result<bool, StorageError> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let hurried = sqlx::query(AssertSqlSafe(format!(
                "UPDATE activation SET next_attempt_at = $1, attempts = 0 WHERE activation_id = $2 AND NOT ({RESTS})"
            )))
            .bind(now.as_micros())
            .bind(id.to_string())
            .execute(tx.conn())
            .await?;
            tx.commit().await?;
            Ok(hurried.rows_affected() > 0)
        })
        .await
    }

    /// Ends this runner's run: nobody works on the saga now. After a failure it is due again. One that waits for proof or
    /// has ended is never due, whatever the run believes: its last step may be stored without its knowing. A saga that
    /// another runner took over meanwhile is left alone. Why a saga is being refused is never written over.
    pub async fn put_down(&self, id: ActivationId, runner: &str, ended: Ended<'_>) -> Result<(), StorageError> {
        retry(|| async {
            let mut alone = self.alone().await?;
            let query = match ended {
                Ended::AtRest => sqlx::query(AssertSqlSafe(format!(
                    "UPDATE activation SET runner_until = 0, \
                     next_attempt_at = CASE WHEN {RESTS} THEN NULL ELSE next_attempt_at END \
                     WHERE activation_id = $1 AND runner = $2"
                )))
                .bind(id.to_string())
                .bind(runner.to_owned()),
                Ended::Failed { problem, again_at, stalled } => {
                    let keeps = "state IN ('refusing', 'refused')";
                    let stall = if stalled { "COALESCE(stalled_at, changed_at)" } else { "stalled_at" };
                    sqlx::query(AssertSqlSafe(format!(
                        "UPDATE activation SET runner_until = 0, attempts = attempts + 1, \
                         next_attempt_at = CASE WHEN {RESTS} THEN NULL ELSE CAST($1 AS BIGINT) END, \
                         stalled_at = CASE WHEN {RESTS} THEN NULL ELSE {stall} END, \
                         problem_code = CASE WHEN {RESTS} OR {keeps} THEN problem_code ELSE $2 END, \
                         problem_message = CASE WHEN {RESTS} OR {keeps} THEN problem_message ELSE $3 END, \
                         problem_next = CASE WHEN {RESTS} OR {keeps} THEN problem_next ELSE $4 END \
                         WHERE activation_id = $5 AND runner = $6"
                    )))
                    .bind(again_at.as_micros())
                    .bind(problem.code.name())
                    .bind(problem.message.clone())
                    .bind(problem.next.clone())
                    .bind(id.to_string())
                    .bind(runner.to_owned())
                }
            };
            query.execute(alone.conn()).await?;
            alone.done().await
        })
        .await
    }
}
