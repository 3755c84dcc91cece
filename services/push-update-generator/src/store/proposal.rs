//! Root documents that wait for their signatures, and their installation.

use lictor_broker::Announcement;
use lictor_clock::Timestamp;
use lictor_licensing::id::FirmCode;
use lictor_storage::{Database, StorageError, Tx, sqlx, to_i64};

use super::{row::Columns, vendor::Vendor};

/// A proposal as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Whose.
    pub firm: FirmCode,
    /// Version of the document.
    pub version: u64,
    /// The document with the signatures so far.
    pub envelope: Vec<u8>,
    /// SHA-256 of what was asked for.
    pub request: [u8; 32],
}

/// The proposal of a firm, if one waits.
pub async fn find(db: &Database, firm: FirmCode) -> Result<Option<Proposal>, StorageError> {
    sqlx::query("SELECT version, envelope, request FROM root_proposal WHERE firm_code = $1")
        .bind(i64::from(firm.get()))
        .fetch_optional(db.pool())
        .await?
        .map(|row| {
            let columns = Columns::of(&row, "root_proposal");
            Ok(Proposal {
                firm,
                version: columns.count("version")?,
                envelope: columns.bytes("envelope")?,
                request: columns.fixed("request")?,
            })
        })
        .transpose()
}

/// Puts a proposal in the place of `before`, or where none is. False when something else lies there by now.
pub async fn put(
    db: &Database,
    proposal: &Proposal,
    before: Option<&Proposal>,
    now: Timestamp,
) -> Result<bool, StorageError> {
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        let done = match before {
            None => {
                sqlx::query(
                    "INSERT INTO root_proposal (firm_code, version, envelope, request, proposed_at) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (firm_code) DO NOTHING",
                )
                .bind(i64::from(proposal.firm.get()))
                .bind(to_i64(proposal.version)?)
                .bind(proposal.envelope.clone())
                .bind(proposal.request.to_vec())
                .bind(now.as_micros())
                .execute(tx.conn())
                .await?
            }
            Some(before) => {
                sqlx::query(
                    "UPDATE root_proposal SET version = $1, envelope = $2, request = $3 \
                     WHERE firm_code = $4 AND envelope = $5",
                )
                .bind(to_i64(proposal.version)?)
                .bind(proposal.envelope.clone())
                .bind(proposal.request.to_vec())
                .bind(i64::from(proposal.firm.get()))
                .bind(before.envelope.clone())
                .execute(tx.conn())
                .await?
            }
        };
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    })
    .await
}

/// Makes a document the newest of its firm, tells of it, and ends its proposal. False when the firm is elsewhere by now.
pub async fn install(
    db: &Database,
    vendor: &Vendor,
    envelope: &[u8],
    announcement: &Announcement,
    now: Timestamp,
) -> Result<bool, StorageError> {
    if vendor.root_version == 1 {
        let new = super::vendor::insert(db, vendor, envelope, now).await?;
        let mut tx = db.begin().await?;
        forget(&mut tx, vendor).await?;
        tx.commit().await?;
        return Ok(new);
    }
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        let version = to_i64(vendor.root_version)?;
        let moved = sqlx::query("UPDATE vendor SET root_version = $1 WHERE firm_code = $2 AND root_version = $3")
            .bind(version)
            .bind(i64::from(vendor.firm.get()))
            .bind(version - 1)
            .execute(tx.conn())
            .await?
            .rows_affected();
        if moved == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        sqlx::query("INSERT INTO root_document (firm_code, version, envelope, digest) VALUES ($1, $2, $3, $4)")
            .bind(i64::from(vendor.firm.get()))
            .bind(version)
            .bind(envelope)
            .bind(&vendor.root_digest)
            .execute(tx.conn())
            .await?;
        forget(&mut tx, vendor).await?;
        lictor_broker::announce(&mut tx, announcement.clone()).await?;
        tx.commit().await?;
        Ok(true)
    })
    .await
}

async fn forget(tx: &mut Tx, vendor: &Vendor) -> Result<(), StorageError> {
    sqlx::query("DELETE FROM root_proposal WHERE firm_code = $1 AND version <= $2")
        .bind(i64::from(vendor.firm.get()))
        .bind(to_i64(vendor.root_version)?)
        .execute(tx.conn())
        .await?;
    Ok(())
}
