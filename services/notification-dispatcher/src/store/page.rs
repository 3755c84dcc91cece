//! What the operators' pages ask beyond the RPCs.

use lictor_storage::{
    Database, StorageError,
    sqlx::{self, Row},
};
use serde_json::Value;

/// Licenses of an order that a search follows.
const LICENSES: usize = 50;

/// The licenses that an order made, as far as its event is still here; none for anything that is no order.
pub async fn licenses_of_order(db: &Database, order: &str) -> Result<Vec<String>, StorageError> {
    if order.contains('\0') {
        return Ok(Vec::new());
    }
    let row = sqlx::query("SELECT body FROM event WHERE subject = $1 AND type = 'lictor.order.created.v1' LIMIT 1")
        .bind(order)
        .fetch_optional(db.pool())
        .await?;
    let Some(row) = row else {
        return Ok(Vec::new());
    };
    let body: Vec<u8> = row.try_get("body")?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let lines = body.pointer("/data/lines").and_then(Value::as_array).into_iter().flatten();
    let ids = lines.filter_map(|line| line.get("license_ids")?.as_array()).flatten();
    Ok(ids.filter_map(Value::as_str).take(LICENSES).map(str::to_owned).collect())
}
