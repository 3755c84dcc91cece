//! How long the tools keep what they wrote, and the task that takes the rest away, so that no table grows for ever.
//!
//! What is never taken away: an event that the broker has not confirmed, a younger one than asked for, anything behind
//! such an event, and the newest event of each aggregate (it holds the aggregate's number). Readers of the feed are told
//! through [`crate::outbox::gone_through`].

use std::{convert::Infallible, future::Future, time::Duration};

use lictor_clock::{SharedClock, Timestamp};
use lictor_runtime::{Field, Reader};
use sqlx::Row;

use crate::{Database, StorageError, Tx, command, to_u64};

const EVENTS: Field = Field::with_default(
    "keep_events",
    "KEEP_EVENTS",
    "90d",
    "how long announced events stay readable, and taken ones known by their ids; 1h or more",
);
const COMMANDS: Field = Field::with_default(
    "keep_commands",
    "KEEP_COMMANDS",
    "90d",
    "how long the answer to a command is kept for its repetition; 1h or more",
);
const LEAST: Duration = Duration::from_secs(3_600);
const DAYS_90: Duration = Duration::from_secs(90 * 86_400);

/// Most rows of one transaction: small enough that nobody waits long behind it.
const BATCH: i64 = 500;
/// Pause between two looks when nothing was left to take away.
const EVERY: Duration = Duration::from_secs(600);
/// Pause between two batches, in which everybody else goes first.
const BREATH: Duration = Duration::from_millis(50);

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Announced events in the outbox, and the ids of taken ones.
    pub events: Duration,
    /// Answers to commands. A command that is repeated later is carried out again.
    pub commands: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { events: DAYS_90, commands: DAYS_90 }
    }
}

impl Keep {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Self {
        let mut at_least = |field: &Field| {
            let span = reader.duration(field);
            if span < LEAST {
                reader.mistake(field, "must be 1h or more");
            }
            span.max(LEAST)
        };
        Self { events: at_least(&EVENTS), commands: at_least(&COMMANDS) }
    }
}

/// Who has to have an event before it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// A relay runs: what the broker has not confirmed stays, however old it is.
    Broker,
    /// There is no relay; the feed alone is read, and age decides.
    FeedOnly,
}

/// Rows that one batch took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// Of the outbox.
    pub events: u64,
    /// Ids of taken events.
    pub taken: u64,
    /// Answers to commands.
    pub commands: u64,
    /// Whether there is surely nothing more to take away now.
    pub done: bool,
}

/// Takes away at most 500 rows of each kind that are older than `keep` says.
///
/// # Errors
/// The database's; nothing half is left behind.
pub async fn take_away(db: &Database, keep: Keep, readers: Readers, now: Timestamp) -> Result<Gone, StorageError> {
    let oldest_event = now.saturating_sub(keep.events);
    let oldest_command = now.saturating_sub(keep.commands);
    crate::retry(|| async {
        let mut tx = db.begin().await?;
        let (events, more) = events(&mut tx, oldest_event, readers).await?;
        let taken = taken(&mut tx, oldest_event).await?;
        let commands = command::forget_before(&mut tx, oldest_command, BATCH as u32).await?;
        tx.commit().await?;
        let full = |rows: u64| rows == BATCH as u64;
        Ok(Gone { events, taken, commands, done: !(more || full(taken) || full(commands)) })
    })
    .await
}

/// Tells how many events went, and whether there may be more.
async fn events(tx: &mut Tx, oldest: Timestamp, readers: Readers) -> Result<(u64, bool), StorageError> {
    let head = tx.dialect().lock_rows("SELECT gone_through, published_through FROM outbox_head WHERE id = 1");
    let head = sqlx::query(head).fetch_one(tx.conn()).await?;
    let (gone, published): (i64, i64) = (head.try_get(0)?, head.try_get(1)?);
    let limit = if readers == Readers::Broker { published } else { i64::MAX };
    let rows = sqlx::query(
        "SELECT sequence, occurred_at FROM outbox WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3",
    )
    .bind(gone)
    .bind(limit)
    .bind(BATCH)
    .fetch_all(tx.conn())
    .await?;
    let mut through = gone;
    for row in &rows {
        if row.try_get::<i64, _>("occurred_at")? >= oldest.as_micros() {
            break;
        }
        through = row.try_get("sequence")?;
    }
    if through == gone {
        return Ok((0, false));
    }
    sqlx::query("UPDATE outbox_head SET gone_through = $1 WHERE id = 1").bind(through).execute(tx.conn()).await?;
    // One of an earlier batch that stayed as the newest of its aggregate goes with the one that followed it.
    let went = sqlx::query(
        "DELETE FROM outbox WHERE sequence <= $1 AND aggregate IN \
         (SELECT aggregate FROM outbox WHERE sequence > $2 AND sequence <= $1) \
         AND EXISTS (SELECT 1 FROM outbox AS later WHERE later.aggregate = outbox.aggregate \
                     AND later.aggregate_sequence > outbox.aggregate_sequence)",
    )
    .bind(through)
    .bind(gone)
    .execute(tx.conn())
    .await?
    .rows_affected();
    let full =
        rows.len() as i64 == BATCH && rows.last().map(|row| row.try_get::<i64, _>(0)).transpose()? == Some(through);
    Ok((went, full))
}

async fn taken(tx: &mut Tx, oldest: Timestamp) -> Result<u64, StorageError> {
    let went = sqlx::query(
        "DELETE FROM inbox_event WHERE (consumer, event_id) IN \
         (SELECT consumer, event_id FROM inbox_event WHERE taken_at < $1 ORDER BY taken_at LIMIT $2)",
    )
    .bind(oldest.as_micros())
    .bind(BATCH)
    .execute(tx.conn())
    .await?;
    Ok(went.rows_affected())
}

/// Up to which number events are gone; 0 for none.
pub(crate) async fn gone_through(db: &Database) -> Result<u64, StorageError> {
    let row = sqlx::query("SELECT gone_through FROM outbox_head WHERE id = 1").fetch_one(db.pool()).await?;
    to_u64(row.try_get(0)?)
}

/// Takes away what is old, batch by batch, now and every ten minutes, until `stopped` resolves. Several replicas may do it.
///
/// # Errors
/// None; failures are logged and tried again. The result is there so that it can be spawned like other background tasks.
pub async fn keep_tidy(
    db: Database,
    keep: Keep,
    readers: Readers,
    clock: SharedClock,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), Infallible> {
    let working = async {
        loop {
            let pause = match take_away(&db, keep, readers, clock.now()).await {
                Ok(gone) => {
                    if gone.events + gone.taken + gone.commands > 0 {
                        tracing::debug!(gone.events, gone.taken, gone.commands, "old rows were taken away");
                    }
                    if gone.done { EVERY } else { BREATH }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "old rows cannot be taken away at the moment");
                    EVERY
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = stopped => {}
        () = working => {}
    }
    Ok(())
}
