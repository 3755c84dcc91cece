//! Deliveries as people ask for them.

use lictor_clock::Timestamp;
use lictor_licensing::id::DestinationId;
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
    /// The last attempt.
    pub last: Option<ListedAttempt>,
}

/// An attempt on record.
#[derive(Debug, Clone)]
pub struct ListedAttempt {
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
        add("delivery.destination_id = ?", destination.to_string());
    }
    if let Some(state) = search.state {
        add("delivery.state = ?", state.name().to_owned());
    }
    if let Some(event) = &search.event {
        add("(delivery.event_id = ? OR event.subject = ?)", event.clone());
    }
    // Only fixed texts are put together; what was asked for is bound.
    let text = format!(
        "SELECT delivery.id, delivery.destination_id, delivery.event_id, event.type, event.subject, delivery.state, \
         delivery.attempts, delivery.next_attempt_at, attempt.at, attempt.status, attempt.latency_ms, attempt.result, \
         attempt.answer FROM delivery JOIN event ON event.id = delivery.event_id \
         LEFT JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.number = delivery.attempts \
         WHERE {} ORDER BY delivery.position DESC LIMIT ${}",
        conditions.join(" AND "),
        texts.len() + 1
    );
    let mut query = sqlx::query(AssertSqlSafe(text));
    for text in texts {
        query = query.bind(text);
    }
    query.bind(i64::from(search.limit.clamp(1, 1_000))).fetch_all(db.pool()).await?.iter().map(listed).collect()
}

fn listed(row: &AnyRow) -> Result<Listed, StorageError> {
    let state: String = row.try_get("state")?;
    let at: Option<i64> = row.try_get("at")?;
    let last = at
        .map(|at| {
            Ok::<_, StorageError>(ListedAttempt {
                at: Timestamp::from_micros(at),
                status: small(row, "status")?,
                latency_ms: small(row, "latency_ms")?,
                result: row.try_get("result")?,
                answer: row.try_get("answer")?,
            })
        })
        .transpose()?;
    Ok(Listed {
        id: row.try_get("id")?,
        destination_id: row.try_get("destination_id")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("type")?,
        subject: row.try_get("subject")?,
        state: state.parse().map_err(|_| StorageError::inconsistent("delivery.state", state))?,
        attempts: small(row, "attempts")?,
        next_attempt_at: Timestamp::from_micros(row.try_get("next_attempt_at")?),
        last,
    })
}

fn small(row: &AnyRow, column: &str) -> Result<u32, StorageError> {
    let value: i64 = row.try_get(column)?;
    Ok(u32::try_from(value.max(0)).unwrap_or(u32::MAX))
}
