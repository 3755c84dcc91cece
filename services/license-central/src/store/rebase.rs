//! Counting how often chains were begun anew.

use std::time::Duration;

use lictor_clock::{Timestamp, duration};
use lictor_licensing::{FirmCode, error::ErrorCode, id::ActivationId};
use lictor_storage::{
    Dialect, StorageError, Tx, retry,
    sqlx::{self, Row},
    to_i64, to_u64,
};

use super::{Store, assignment, order::request_id_reused};
use crate::failure::Failure;

/// How many a customer has by himself …
const FREE_REBASES: u64 = 3;
/// … in this time.
const REBASE_TIME: Duration = duration::days(365);

/// A chain that is to begin anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebaseNote {
    /// The activation.
    pub activation: ActivationId,
    /// The vendor.
    pub firm: FirmCode,
    /// SHA-256 of the container's device key, hex.
    pub container: String,
    /// Display serial of the container.
    pub serial: String,
    /// The vendor's staff asks, and may exceed the number.
    pub by_hand: bool,
}

/// How it was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedRebase {
    /// Id of the customer; the container when it is assigned to nobody.
    pub counted_for: String,
    /// How many in the last 365 days, this one included.
    pub count: u64,
}

impl Store {
    /// Counts a rebase for the container's customer, once per activation.
    pub async fn note_rebase(&self, note: &RebaseNote, now: Timestamp) -> Result<CountedRebase, Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let counted = count(&mut tx, note, now).await?;
            tx.commit().await?;
            Ok(counted)
        })
        .await
    }
}

async fn count(tx: &mut Tx, note: &RebaseNote, now: Timestamp) -> Result<CountedRebase, Failure> {
    let customer = assignment::customer_of(tx.conn(), note.firm, &note.serial).await?;
    let counted_for = customer.map_or_else(|| note.container.clone(), |customer| customer.to_string());
    if tx.dialect() == Dialect::Postgres {
        // One after the other per customer: two at once must not both be the last one that is free.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, $2))")
            .bind(counted_for.clone())
            .bind(i64::from(note.firm.get()))
            .execute(tx.conn())
            .await?;
    }
    if let Some(before) = counted_before(tx, note).await? {
        return Ok(before);
    }
    let row = sqlx::query(
        "SELECT COUNT(*) AS number FROM rebase WHERE firm_code = $1 AND counted_for = $2 AND created_at > $3 \
         AND taken_back_at IS NULL",
    )
    .bind(i64::from(note.firm.get()))
    .bind(counted_for.clone())
    .bind(now.saturating_sub(REBASE_TIME).as_micros())
    .fetch_one(tx.conn())
    .await?;
    let count = to_u64(row.try_get("number")?)? + 1;
    if count > FREE_REBASES && !note.by_hand {
        return Err(Failure::refused(
            ErrorCode::LicenseForbids,
            format!("this customer's containers were rebased {FREE_REBASES} times in 365 days already"),
            "ask the vendor's support",
        ));
    }
    sqlx::query(
        "INSERT INTO rebase (activation_id, firm_code, container_id, serial, counted_for, number, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(note.activation.to_string())
    .bind(i64::from(note.firm.get()))
    .bind(note.container.clone())
    .bind(note.serial.clone())
    .bind(counted_for.clone())
    .bind(to_i64(count)?)
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(CountedRebase { counted_for, count })
}

async fn counted_before(tx: &mut Tx, note: &RebaseNote) -> Result<Option<CountedRebase>, Failure> {
    let row = sqlx::query(
        "SELECT firm_code, container_id, counted_for, number, taken_back_at FROM rebase WHERE activation_id = $1",
    )
    .bind(note.activation.to_string())
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (firm, container): (i64, String) = (row.try_get("firm_code")?, row.try_get("container_id")?);
    if firm != i64::from(note.firm.get()) || container != note.container {
        return Err(request_id_reused());
    }
    let taken_back: Option<i64> = row.try_get("taken_back_at")?;
    if taken_back.is_some() {
        return Err(Failure::refused(ErrorCode::WrongState, "this rebase was refused before", "start it anew"));
    }
    let count = to_u64(row.try_get("number")?)?;
    Ok(Some(CountedRebase { counted_for: row.try_get("counted_for")?, count }))
}

/// A rebase was refused: it counts no more. Tells whether it had counted.
pub(super) async fn take_back(tx: &mut Tx, activation: ActivationId, now: Timestamp) -> Result<bool, StorageError> {
    let taken_back =
        sqlx::query("UPDATE rebase SET taken_back_at = $1 WHERE activation_id = $2 AND taken_back_at IS NULL")
            .bind(now.as_micros())
            .bind(activation.to_string())
            .execute(tx.conn())
            .await?;
    Ok(taken_back.rows_affected() == 1)
}
