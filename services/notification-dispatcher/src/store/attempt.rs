//! The record of attempts.

use lictor_licensing::id::DeliveryId;
use lictor_storage::{
    StorageError, Tx,
    sqlx::{self, AssertSqlSafe},
};

use super::rows;
use crate::domain::outcome::Attempt;

/// Puts attempts on record: delivery, number, what came of it. A number that is there already stays as it is.
pub async fn insert(tx: &mut Tx, attempts: &[(DeliveryId, u32, Attempt)]) -> Result<(), StorageError> {
    for piece in rows::pieces(attempts) {
        let text = format!(
            "INSERT INTO attempt (delivery_id, number, at, status, latency_ms, result, answer) VALUES {} \
             ON CONFLICT (delivery_id, number) DO NOTHING",
            rows::values(piece.len(), 7, 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (delivery, number, attempt) in piece {
            query = query
                .bind(delivery.to_string())
                .bind(i64::from(*number))
                .bind(attempt.at.as_micros())
                .bind(i64::from(attempt.status))
                .bind(i64::try_from(attempt.latency.as_millis()).unwrap_or(i64::MAX))
                .bind(attempt.result.name())
                .bind(attempt.answer.clone());
        }
        query.execute(tx.conn()).await?;
    }
    Ok(())
}
