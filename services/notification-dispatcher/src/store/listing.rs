//! Deliveries as people ask for them.

use std::cmp::Reverse;

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId};
use lictor_storage::{
    Database, StorageError,
    sqlx::{self, AssertSqlSafe, Row, any::AnyRow},
};

use crate::domain::delivery::DeliveryState;

/// What to look for; nothing set means everything.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Of this destination only.
    pub destination: Option<DestinationId>,
    /// In this state only.
    pub state: Option<DeliveryState>,
    /// Of the event with this id, or of events about this subject.
    pub event: Option<String>,
    /// This one only.
    pub delivery: Option<DeliveryId>,
    /// 1..=1000.
    pub limit: u32,
}

/// A delivery with its last attempt.
#[derive(Debug, Clone)]
pub struct Listed {
    /// `dlv_…`
    pub id: String,
    /// `dst_…`
    pub destination_id: String,
    /// `evt_…`
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// The event's subject.
    pub subject: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it may be tried next.
    pub next_attempt_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// Which record of the event; 0 for the whole.
    pub part: u32,
    /// The last attempt.
    pub last: Option<ListedAttempt>,
}

/// An attempt on record.
#[derive(Debug, Clone)]
pub struct ListedAttempt {
    /// 1, 2, 3 … per delivery.
    pub number: u32,
    /// When the call began.
    pub at: Timestamp,
    /// HTTP status; 0 without an answer.
    pub status: u32,
    /// Milliseconds.
    pub latency_ms: u32,
    /// The class.
    pub result: String,
    /// First bytes of the answer.
    pub answer: String,
}

/// Deliveries, newest first.
pub async fn deliveries(db: &Database, search: &Search) -> Result<Vec<Listed>, StorageError> {
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut texts: Vec<String> = Vec::new();
    let mut add = |condition: &str, text: String| {
        texts.push(text);
        conditions.push(condition.replace('?', &format!("${}", texts.len())));
    };
    if let Some(destination) = search.destination {
        add("delivery.destination_id = ? AND delivery.position > 0", destination.to_string());
    }
    if let Some(state) = search.state {
        add("delivery.state = ?", state.name().to_owned());
    }
    if let Some(event) = &search.event {
        add("(delivery.event_id = ? OR event.subject = ?)", event.clone());
    }
    if let Some(id) = search.delivery {
        add("delivery.id = ?", id.to_string());
    }
    // Ids begin with the time of their making; positions are indexed for each destination.
    let order = if search.destination.is_some() { "delivery.position" } else { "delivery.id" };
    // Only fixed texts are put together; what was asked for is bound.
    let text = format!(
        "SELECT delivery.id, delivery.destination_id, delivery.event_id, event.type, event.subject, delivery.state, \
         delivery.attempts, delivery.next_attempt_at, delivery.created_at, delivery.part, attempt.number, attempt.at, \
         attempt.status, attempt.latency_ms, attempt.result, attempt.answer, delivery.position FROM delivery JOIN event ON event.id = delivery.event_id \
         LEFT JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.number = delivery.attempts \
         WHERE {} ORDER BY {order} DESC LIMIT ${}",
        conditions.join(" AND "),
        texts.len() + 1
    );
    let mut query = sqlx::query(AssertSqlSafe(text));
    for text in texts {
        query = query.bind(text);
    }
    let mut rows = query.bind(i64::from(search.limit.clamp(1, 1_000))).fetch_all(db.pool()).await?;
    // Of those of the same instant too, the newest first.
    rows.sort_by_cached_key(|row| Reverse(row.try_get::<i64, _>("position").unwrap_or_default()));
    rows.iter().map(listed).collect()
}

/// All attempts of a delivery, oldest first, at most 1,000.
pub async fn attempts(db: &Database, id: DeliveryId) -> Result<Vec<ListedAttempt>, StorageError> {
    sqlx::query(
        "SELECT number, at, status, latency_ms, result, answer FROM attempt WHERE delivery_id = $1 ORDER BY number LIMIT 1000",
    )
    .bind(id.to_string())
    .fetch_all(db.pool())
    .await?
    .iter()
    .map(attempt)
    .collect()
}

/// The body of a delivery as it is sent.
pub async fn body(db: &Database, id: DeliveryId) -> Result<Vec<u8>, StorageError> {
    let row = sqlx::query(
        "SELECT delivery.body, event.body AS usual FROM delivery JOIN event ON event.id = delivery.event_id \
         WHERE delivery.id = $1",
    )
    .bind(id.to_string())
    .fetch_one(db.pool())
    .await?;
    let own: Option<Vec<u8>> = row.try_get("body")?;
    own.map_or_else(|| Ok(row.try_get("usual")?), Ok)
}

fn attempt(row: &AnyRow) -> Result<ListedAttempt, StorageError> {
    Ok(ListedAttempt {
        number: small(row, "number")?,
        at: Timestamp::from_micros(row.try_get("at")?),
        status: small(row, "status")?,
        latency_ms: small(row, "latency_ms")?,
        result: row.try_get("result")?,
        answer: row.try_get("answer")?,
    })
}

fn listed(row: &AnyRow) -> Result<Listed, StorageError> {
    let state: String = row.try_get("state")?;
    let at: Option<i64> = row.try_get("at")?;
    Ok(Listed {
        id: row.try_get("id")?,
        destination_id: row.try_get("destination_id")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("type")?,
        subject: row.try_get("subject")?,
        state: state.parse().map_err(|_| StorageError::inconsistent("delivery.state", state))?,
        attempts: small(row, "attempts")?,
        next_attempt_at: Timestamp::from_micros(row.try_get("next_attempt_at")?),
        created_at: Timestamp::from_micros(row.try_get("created_at")?),
        part: super::delivery::part(row)?,
        last: at.map(|_| attempt(row)).transpose()?,
    })
}

fn small(row: &AnyRow, column: &str) -> Result<u32, StorageError> {
    let value: i64 = row.try_get(column)?;
    Ok(u32::try_from(value.max(0)).unwrap_or(u32::MAX))
}
