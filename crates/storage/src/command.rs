//! Idempotent commands: the same `request_id` with the same body gets the stored answer, with another body a refusal.
//!
//! ```no_run
//! # use lictor_clock::Timestamp;
//! # use lictor_storage::{Database, StorageError, command::{self, Begun, Command}};
//! # async fn handler(db: &Database, body: &[u8], now: Timestamp) -> Result<Vec<u8>, StorageError> {
//! let mut tx = db.begin().await?;
//! let command = Command { caller: "usr_7", method: "CreateOrder", request_id: "8f0…", body };
//! let answer = match command::begin(&mut tx, &command, now).await? {
//!     Begun::Replay(answer) => return Ok(answer),
//!     Begun::Conflict => return Ok(Vec::new()), // the service answers with `ErrorCode::RequestIdReused`
//!     Begun::Fresh(open) => {
//!         let answer = b"encoded response".to_vec(); // … the change itself, in the same transaction …
//!         command::finish(&mut tx, open, &answer).await?;
//!         answer
//!     }
//! };
//! tx.commit().await?;
//! # Ok(answer)
//! # }
//! ```

use lictor_clock::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::{StorageError, Tx};

/// Most characters of a `request_id`; check it at the edge with [`is_request_id`].
pub const REQUEST_ID_CHARS: usize = 64;

/// A command as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// Who sent it: ids of different callers never meet. For bearer-secret callers a hash of the secret.
    pub caller: &'a str,
    /// The RPC's name.
    pub method: &'a str,
    /// Made by the client, 1..=64 printable ASCII characters.
    pub request_id: &'a str,
    /// The encoded request (deterministic: protobuf without maps).
    pub body: &'a [u8],
}

/// What is known about a command.
#[derive(Debug)]
#[must_use]
pub enum Begun {
    /// Never seen: carry it out, then [`finish`].
    Fresh(Open),
    /// Carried out before with this answer.
    Replay(Vec<u8>),
    /// The id was used for something else.
    Conflict,
}

/// A command being carried out; give it to [`finish`].
#[derive(Debug)]
#[must_use = "a command without a stored answer cannot be repeated"]
pub struct Open {
    caller: String,
    request_id: String,
}

/// True for an id that may be stored: 1 to 64 printable ASCII characters without spaces.
pub fn is_request_id(text: &str) -> bool {
    (1..=REQUEST_ID_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Looks the command up and, when it is new, takes its place. A second copy running at the same time waits for the first
/// to end.
pub async fn begin(tx: &mut Tx, command: &Command<'_>, now: Timestamp) -> Result<Begun, StorageError> {
    let body_hash = Sha256::digest(command.body).to_vec();
    let taken = sqlx::query(
        "INSERT INTO command (caller, request_id, method, body_hash, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (caller, request_id) DO NOTHING",
    )
    .bind(command.caller)
    .bind(command.request_id)
    .bind(command.method)
    .bind(body_hash.clone())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?
    .rows_affected();
    if taken == 1 {
        return Ok(Begun::Fresh(Open { caller: command.caller.to_owned(), request_id: command.request_id.to_owned() }));
    }
    let row = sqlx::query("SELECT method, body_hash, answer FROM command WHERE caller = $1 AND request_id = $2")
        .bind(command.caller)
        .bind(command.request_id)
        .fetch_one(tx.conn())
        .await?;
    let method: String = row.try_get("method")?;
    let stored_hash: Vec<u8> = row.try_get("body_hash")?;
    if method != command.method || stored_hash != body_hash {
        return Ok(Begun::Conflict);
    }
    let answer: Option<Vec<u8>> = row.try_get("answer")?;
    answer.map(Begun::Replay).ok_or_else(|| StorageError::inconsistent("command", "committed without an answer"))
}

/// Stores the answer; commit the transaction afterwards.
pub async fn finish(tx: &mut Tx, open: Open, answer: &[u8]) -> Result<(), StorageError> {
    sqlx::query("UPDATE command SET answer = $1 WHERE caller = $2 AND request_id = $3")
        .bind(answer)
        .bind(open.caller)
        .bind(open.request_id)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Forgets commands that are older than `before`, at most `limit` rows, and tells how many went.
pub async fn forget_before(tx: &mut Tx, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
    let gone = sqlx::query(
        "DELETE FROM command WHERE (caller, request_id) IN \
         (SELECT caller, request_id FROM command WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
    )
    .bind(before.as_micros())
    .bind(i64::from(limit))
    .execute(tx.conn())
    .await?;
    Ok(gone.rows_affected())
}
