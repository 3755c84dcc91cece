//! What earlier events said about licences and orders, for filters and for records about activations.

use std::collections::{BTreeSet, HashMap};

use lictor_licensing::id::{DestinationId, EventId};
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, AssertSqlSafe, Row},
};
use prost::bytes::Bytes;
use serde_json::Value;

use super::{delivery::destination_id, event::event_id, rows};
use crate::domain::{record::Seen, scope::Knowledge};

/// The last that is known about these licences and orders.
pub async fn of(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<Knowledge, StorageError> {
    let mut known = HashMap::new();
    let ids: Vec<&String> = ids.iter().collect();
    for piece in rows::pieces(&ids) {
        // A subject's events of one source are numbered; orders and licences are told of by one source.
        let text = format!(
            "SELECT subject, body FROM event WHERE subject IN {} \
             AND (type LIKE 'lictor.license.%' OR type = 'lictor.order.created.v1') ORDER BY aggregate_sequence",
            rows::list(piece.len(), 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in piece {
            query = query.bind((*id).clone());
        }
        for row in query.fetch_all(tx.conn()).await? {
            let body: Vec<u8> = row.try_get("body")?;
            let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
            known.insert(row.try_get("subject")?, body["data"].take());
        }
    }
    Ok(Knowledge(known))
}

/// Puts events aside of which nobody can say yet whether the destination wants them.
pub async fn leave_open(tx: &mut Tx, open: &[(EventId, DestinationId, String)]) -> Result<(), StorageError> {
    for piece in rows::pieces(open) {
        let text = format!(
            "INSERT INTO undecided_event (event_id, destination_id, waits_for) VALUES {} \
             ON CONFLICT (event_id, destination_id) DO UPDATE SET waits_for = excluded.waits_for",
            rows::values(piece.len(), 3, 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (event, destination, waits_for) in piece {
            query = query.bind(event.to_string()).bind(destination.to_string()).bind(waits_for.clone());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}

/// Takes back what waited for one of these ids, in the order in which it came.
pub async fn take_open(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<Vec<(Seen, DestinationId)>, StorageError> {
    let mut found = Vec::new();
    let ids: Vec<&String> = ids.iter().collect();
    for piece in rows::pieces(&ids) {
        let text = format!(
            "SELECT event.id, event.type, event.subject, event.body, event.position, undecided_event.destination_id \
             FROM undecided_event JOIN event ON event.id = undecided_event.event_id WHERE waits_for IN {}",
            rows::list(piece.len(), 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in piece {
            query = query.bind((*id).clone());
        }
        for row in query.fetch_all(tx.conn()).await? {
            let body: Vec<u8> = row.try_get("body")?;
            let seen =
                Seen::new(event_id(&row, "id")?, row.try_get("type")?, row.try_get("subject")?, Bytes::from(body));
            let position: Option<i64> = row.try_get("position")?;
            found.push((position, seen, destination_id(&row)?));
        }
        let text = format!("DELETE FROM undecided_event WHERE waits_for IN {}", rows::list(piece.len(), 1));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in piece {
            query = query.bind((*id).clone());
        }
        query.execute(tx.conn()).await?;
    }
    found.sort_by_key(|(position, ..)| *position);
    Ok(found.into_iter().map(|(_, seen, destination)| (seen, destination)).collect())
}
