//! Firms and their root documents.

use lictor_clock::Timestamp;
use lictor_licensing::id::FirmCode;
use lictor_storage::{Database, StorageError, sqlx, to_i64};

use super::row::Columns;

/// A firm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vendor {
    /// Its code.
    pub firm: FirmCode,
    /// Its name for people.
    pub name: String,
    /// Version of its newest root document.
    pub root_version: u64,
    /// SHA-256 of that document, hex.
    pub root_digest: String,
}

/// A signed root document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoot {
    /// Its version.
    pub version: u64,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// The firm, if it was made.
pub async fn find(db: &Database, firm: FirmCode) -> Result<Option<Vendor>, StorageError> {
    sqlx::query(
        "SELECT vendor.firm_code, name, root_version, digest FROM vendor \
         JOIN root_document ON root_document.firm_code = vendor.firm_code AND version = root_version \
         WHERE vendor.firm_code = $1",
    )
    .bind(i64::from(firm.get()))
    .fetch_optional(db.pool())
    .await?
    .map(|row| {
        let columns = Columns::of(&row, "vendor");
        Ok(Vendor {
            firm: columns.firm("firm_code")?,
            name: columns.text("name")?,
            root_version: columns.count("root_version")?,
            root_digest: columns.text("digest")?,
        })
    })
    .transpose()
}

/// All firms.
pub async fn list(db: &Database) -> Result<Vec<FirmCode>, StorageError> {
    sqlx::query("SELECT firm_code FROM vendor ORDER BY firm_code")
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(|row| Columns::of(row, "vendor").firm("firm_code"))
        .collect()
}

/// Stores the firm with its first root document, and tells whether it was not there before. Of two that do this at the
/// same time one wins, whole.
pub async fn insert(db: &Database, vendor: &Vendor, envelope: &[u8], now: Timestamp) -> Result<bool, StorageError> {
    lictor_storage::retry(|| async {
        let mut tx = db.begin().await?;
        let new = sqlx::query(
            "INSERT INTO vendor (firm_code, name, root_version, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (firm_code) DO NOTHING",
        )
        .bind(i64::from(vendor.firm.get()))
        .bind(&vendor.name)
        .bind(to_i64(vendor.root_version)?)
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?
        .rows_affected();
        if new == 0 {
            return Ok(false);
        }
        sqlx::query("INSERT INTO root_document (firm_code, version, envelope, digest) VALUES ($1, $2, $3, $4)")
            .bind(i64::from(vendor.firm.get()))
            .bind(to_i64(vendor.root_version)?)
            .bind(envelope)
            .bind(&vendor.root_digest)
            .execute(tx.conn())
            .await?;
        tx.commit().await?;
        Ok(true)
    })
    .await
}

/// The root documents of a firm with a version above `after`, oldest first.
pub async fn roots_after(db: &Database, firm: FirmCode, after: u64) -> Result<Vec<StoredRoot>, StorageError> {
    sqlx::query("SELECT version, envelope FROM root_document WHERE firm_code = $1 AND version > $2 ORDER BY version")
        .bind(i64::from(firm.get()))
        .bind(to_i64(after)?)
        .fetch_all(db.pool())
        .await?
        .iter()
        .map(|row| {
            let columns = Columns::of(row, "root_document");
            Ok(StoredRoot { version: columns.count("version")?, envelope: columns.bytes("envelope")? })
        })
        .collect()
}
