//! The beginning of sagas: once per request, whoever asks how often.

use lictor_clock::Timestamp;
use lictor_storage::{
    StorageError, retry,
    sqlx::{self, AnyConnection},
};

use super::{Store, row, run::RUNNER_TIME};
use crate::domain::saga::Saga;

/// What became of a request to begin a saga.
#[derive(Debug, Clone)]
pub enum Begun {
    /// It was begun now, and the caller works on it.
    Now(Saga),
    /// The same caller began it before under the same request id.
    Before(Saga),
}

impl Store {
    /// Begins a saga unless this caller's request id began one; `runner` works on it from now on. `context` is the file
    /// that a rebase answers.
    pub async fn begin(
        &self,
        saga: &Saga,
        context: Option<&[u8]>,
        runner: &str,
        now: Timestamp,
    ) -> Result<Begun, StorageError> {
        if self.insert_alone(saga, context, Some(runner), now).await? {
            return Ok(Begun::Now(saga.clone()));
        }
        self.by_request(&saga.caller, &saga.request_id)
            .await?
            .map(Begun::Before)
            .ok_or_else(|| StorageError::inconsistent("activation", "neither there nor new"))
    }

    /// Begins a saga that the resumer is to carry out; tells whether it is new.
    pub async fn begin_for_resumer(&self, saga: &Saga, now: Timestamp) -> Result<bool, StorageError> {
        self.insert_alone(saga, None, None, now).await
    }

    async fn insert_alone(
        &self,
        saga: &Saga,
        context: Option<&[u8]>,
        runner: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        retry(|| async {
            let mut alone = self.alone().await?;
            let begun = insert(alone.conn(), saga, context, runner, now).await?;
            alone.done().await?;
            Ok(begun)
        })
        .await
    }
}

/// Writes a saga down unless its caller's request id began one before. Without a runner it is due at once.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    saga: &Saga,
    context: Option<&[u8]>,
    runner: Option<&str>,
    now: Timestamp,
) -> Result<bool, StorageError> {
    let container = saga.container.as_ref();
    let done = sqlx::query(
        "INSERT INTO activation (activation_id, kind, state, firm_code, caller, request_id, body_hash, purpose, \
         ticket_id, transfer_id, context, ticket_masked, container_id, serial, container_kind, virtual_machine, \
         licenses, counter_from, counter_to, problem_code, problem_message, problem_next, runner, runner_until, \
         next_attempt_at, attempts, traceparent, created_at, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', 0, 0, '', '', '', \
         $17, $18, $19, 0, $20, $21, $22) ON CONFLICT (caller, request_id) DO NOTHING",
    )
    .bind(saga.id.to_string())
    .bind(saga.kind().name())
    .bind(saga.state.name())
    .bind(i64::from(saga.firm))
    .bind(saga.caller.clone())
    .bind(saga.request_id.clone())
    .bind(saga.body_hash.to_vec())
    .bind(row::document(&saga.purpose)?)
    .bind(saga.purpose.ticket().map(|ticket| ticket.to_string()))
    .bind(saga.purpose.transfer().map(|transfer| transfer.to_string()))
    .bind(context.map(<[u8]>::to_vec))
    .bind(saga.ticket_masked.clone())
    .bind(container.map_or_else(String::new, |container| container.id.clone()))
    .bind(container.map_or_else(String::new, |container| container.serial.clone()))
    .bind(container.and_then(|container| container.kind).map_or("", |kind| kind.name()))
    .bind(container.map_or(0, |container| i64::from(container.virtual_machine)))
    .bind(runner.unwrap_or_default().to_owned())
    .bind(runner.map_or(0, |_| now.saturating_add(RUNNER_TIME).as_micros()))
    .bind(now.as_micros())
    .bind(saga.traceparent.clone())
    .bind(now.as_micros())
    .bind(now.as_micros())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}
