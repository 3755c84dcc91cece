//! References whose segment was refused for good. Read and written under the lock of the chain only.

use lictor_clock::Timestamp;
use lictor_license_file::Digest;
use lictor_licensing::{error::Problem, id::FirmCode};
use lictor_storage::{StorageError, Tx, sqlx};

use super::row::Columns;
use crate::domain::request::Job;

/// A refusal that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SHA-256 of what was asked for.
    pub request_hash: Digest,
    /// What the caller was told.
    pub problem: Problem,
}

/// The refusal of a reference, if it was refused for good.
pub async fn find(tx: &mut Tx, firm: FirmCode, reference: &str) -> Result<Option<Refusal>, StorageError> {
    sqlx::query(
        "SELECT request_hash, code, message, next FROM refused_reference WHERE firm_code = $1 AND reference = $2",
    )
    .bind(i64::from(firm.get()))
    .bind(reference)
    .fetch_optional(tx.conn())
    .await?
    .map(|row| {
        let columns = Columns::of(&row, "refused_reference");
        let code = columns.parsed("code", |text| text.parse().ok())?;
        Ok(Refusal {
            request_hash: columns.digest("request_hash")?,
            problem: Problem::new(code, columns.text("message")?, columns.text("next")?),
        })
    })
    .transpose()
}

/// Keeps a refusal.
pub async fn insert(tx: &mut Tx, job: Job<'_>, problem: &Problem, now: Timestamp) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO refused_reference (firm_code, reference, request_hash, code, message, next, refused_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (firm_code, reference) DO NOTHING",
    )
    .bind(i64::from(job.key().firm.get()))
    .bind(job.reference())
    .bind(job.hash().0.to_vec())
    .bind(problem.code.name())
    .bind(&problem.message)
    .bind(&problem.next)
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}
