//! Reports: the rows that make each leave once, and the events that they are counted from.

use std::collections::{HashMap, HashSet};

use lictor_clock::Timestamp;
use lictor_licensing::id::EventId;
use lictor_storage::{
    Database, StorageError, Tx, inbox,
    sqlx::{self, AssertSqlSafe, Row, any::AnyRow},
    to_i64, to_u64,
};
use serde_json::Value;

use super::{CONSUMER, rows};
use crate::{
    events::SOURCE,
    report::{
        figures::Fact,
        period::{Period, Span},
    },
};

/// Events that are read at once.
const PAGE: i64 = 1_000;
/// The name under which the operator's mail remembers how far it has read.
const OPERATOR: &str = "operator-mail";
/// Events that the operator is told of at once.
const NOTICES: i64 = 20;

/// A report of the schedule.
#[derive(Debug, Clone)]
pub struct Run {
    /// How long its period is.
    pub period: Period,
    /// The period's first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
    /// Its name.
    pub name: String,
    /// Tries so far.
    pub attempts: u32,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// What the last failed try said.
    pub note: String,
}

/// Calls `each` for every event that happened in the span.
pub async fn facts(db: &Database, span: &Span, mut each: impl FnMut(Fact)) -> Result<(), StorageError> {
    // Ids begin with their time, so a span is a stretch of the primary key.
    let mut after = EventId::new(span.from, [0; 10]).to_string();
    let end = EventId::new(span.until, [0; 10]).to_string();
    let mut first = true;
    loop {
        let found = sqlx::query(
            "SELECT id, type, occurred_at, body FROM event \
             WHERE (id > $1 OR id = $2) AND id < $3 ORDER BY id LIMIT $4",
        )
        .bind(&after)
        .bind(if first { after.clone() } else { String::new() })
        .bind(&end)
        .bind(PAGE)
        .fetch_all(db.pool())
        .await?;
        first = false;
        for row in &found {
            each(fact(row)?);
        }
        match found.last() {
            Some(last) if found.len() == usize::try_from(PAGE).unwrap_or(usize::MAX) => after = last.try_get("id")?,
            _ => return Ok(()),
        }
    }
}

fn fact(row: &AnyRow) -> Result<Fact, StorageError> {
    let body: Vec<u8> = row.try_get("body")?;
    let mut body: Value =
        serde_json::from_slice(&body).map_err(|error| StorageError::inconsistent("event.body", error.to_string()))?;
    Ok(Fact {
        kind: row.try_get("type")?,
        at: Timestamp::from_micros(row.try_get("occurred_at")?),
        data: body.get_mut("data").map(Value::take).unwrap_or_default(),
    })
}

/// The item of each license, as far as the event of its making is still here.
pub async fn items_of(db: &Database, licenses: &HashSet<String>) -> Result<HashMap<String, String>, StorageError> {
    let ids: Vec<&String> = licenses.iter().collect();
    let mut items = HashMap::new();
    for piece in rows::pieces(&ids) {
        let text = format!(
            "SELECT subject, body FROM event WHERE subject IN {} AND type = 'lictor.license.created.v1'",
            rows::list(piece.len(), 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in piece {
            query = query.bind((*id).clone());
        }
        for row in query.fetch_all(db.pool()).await? {
            let body: Vec<u8> = row.try_get("body")?;
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            if let Some(item) = body.pointer("/data/item").and_then(Value::as_str) {
                items.insert(row.try_get("subject")?, item.to_owned());
            }
        }
    }
    Ok(items)
}

/// Notes the reports whose periods are over, each once. The first time of all there is nothing to catch up with.
pub async fn schedule(db: &Database, last_over: &Span, most: usize, now: Timestamp) -> Result<(), StorageError> {
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        let row = sqlx::query("SELECT MAX(from_at) FROM report WHERE period = $1")
            .bind(last_over.period.name())
            .fetch_one(tx.conn())
            .await?;
        let newest: Option<i64> = row.try_get(0)?;
        match newest.map(Timestamp::from_micros) {
            None => insert(&mut tx, last_over, "skipped", now).await?,
            Some(newest) if newest < last_over.from => {
                let mut missed = vec![*last_over];
                // From the newest known one on; a long time without reports is not caught up in full.
                let mut span = Span::containing(last_over.period, newest, last_over.offset()).next();
                let mut earlier = Vec::new();
                while span.from < last_over.from {
                    if span.from > newest {
                        earlier.push(span);
                    }
                    span = span.next();
                }
                let keep = earlier.len().saturating_sub(most.saturating_sub(1));
                missed.splice(0..0, earlier.drain(keep..));
                for span in &missed {
                    insert(&mut tx, span, "due", now).await?;
                }
            }
            Some(_) => return Ok(()),
        }
        tx.commit().await
    })
    .await
}

async fn insert(tx: &mut Tx, span: &Span, state: &str, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO report (period, from_at, until_at, name, state, attempts, next_attempt_at, note) \
         VALUES ($1, $2, $3, $4, $5, 0, $6, '') ON CONFLICT (period, from_at) DO NOTHING",
    )
    .bind(span.period.name())
    .bind(span.from.as_micros())
    .bind(span.until.as_micros())
    .bind(span.name())
    .bind(state.to_owned())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The report that is due for longest.
pub async fn due(db: &Database, now: Timestamp) -> Result<Option<Run>, StorageError> {
    sqlx::query(
        "SELECT period, from_at, until_at, name, attempts, sent_at, note FROM report \
         WHERE state = 'due' AND next_attempt_at <= $1 ORDER BY next_attempt_at, from_at LIMIT 1",
    )
    .bind(now.as_micros())
    .fetch_optional(db.pool())
    .await?
    .as_ref()
    .map(run)
    .transpose()
}

/// Writes that a report left.
pub async fn sent(db: &Database, run: &Run, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE report SET state = 'sent', sent_at = $1, attempts = attempts + 1, note = '' \
         WHERE period = $2 AND from_at = $3 AND state = 'due'",
    )
    .bind(now.as_micros())
    .bind(run.period.name())
    .bind(run.from.as_micros())
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Writes that a try failed, and when the next one is.
pub async fn failed(db: &Database, run: &Run, note: &str, next: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "UPDATE report SET attempts = attempts + 1, note = $1, next_attempt_at = $2 \
         WHERE period = $3 AND from_at = $4 AND state = 'due'",
    )
    .bind(note.to_owned())
    .bind(next.as_micros())
    .bind(run.period.name())
    .bind(run.from.as_micros())
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Reports of the schedule, newest first.
pub async fn list(db: &Database, limit: u32) -> Result<Vec<Run>, StorageError> {
    sqlx::query(
        "SELECT period, from_at, until_at, name, attempts, sent_at, note FROM report WHERE state <> 'skipped' \
         ORDER BY until_at DESC, period LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(run)
    .collect()
}

fn run(row: &AnyRow) -> Result<Run, StorageError> {
    let period: String = row.try_get("period")?;
    let sent_at: Option<i64> = row.try_get("sent_at")?;
    let attempts: i64 = row.try_get("attempts")?;
    Ok(Run {
        period: period.parse().map_err(|_| StorageError::inconsistent("report.period", period))?,
        from: Timestamp::from_micros(row.try_get("from_at")?),
        until: Timestamp::from_micros(row.try_get("until_at")?),
        name: row.try_get("name")?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        sent_at: sent_at.map(Timestamp::from_micros),
        note: row.try_get("note")?,
    })
}

/// A destination that was disabled, as the operator is told of it.
#[derive(Debug, Clone)]
pub struct Notice {
    /// The event's number in this service's own feed.
    pub sequence: u64,
    /// The event's id.
    pub event_id: String,
    /// When it happened.
    pub at: Timestamp,
    /// `dst_…`
    pub destination_id: String,
    /// Why.
    pub reason: String,
}

/// What the operator was not told of yet.
pub async fn notices(db: &Database) -> Result<Vec<Notice>, StorageError> {
    let told = inbox::cursor(db, OPERATOR, SOURCE).await?;
    // Behind a hole something earlier may still come.
    let whole = inbox::cursor(db, CONSUMER, SOURCE).await?;
    sqlx::query(
        "SELECT id, sequence, occurred_at, body FROM event WHERE source = $1 AND sequence > $2 AND sequence <= $3 \
         AND type = 'lictor.destination.disabled.v1' ORDER BY sequence LIMIT $4",
    )
    .bind(SOURCE)
    .bind(to_i64(told)?)
    .bind(to_i64(whole)?)
    .bind(NOTICES)
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(|row| {
        let body: Vec<u8> = row.try_get("body")?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Notice {
            sequence: to_u64(row.try_get("sequence")?)?,
            event_id: row.try_get("id")?,
            at: Timestamp::from_micros(row.try_get("occurred_at")?),
            destination_id: text("/data/destination_id"),
            reason: text("/data/reason"),
        })
    })
    .collect()
}

/// Remembers that the operator was told.
pub async fn told(db: &Database, sequence: u64) -> Result<(), StorageError> {
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        inbox::advance(&mut tx, OPERATOR, SOURCE, sequence).await?;
        tx.commit().await
    })
    .await
}
