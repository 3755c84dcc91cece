//! From columns to the domain's types; a value that breaks its rules names its table and stops there.

use lictor_clock::Timestamp;
use lictor_license_file::{ContainerId, Digest};
use lictor_licensing::id::FirmCode;
use lictor_signing::PublicKey;
use lictor_storage::{
    StorageError,
    sqlx::{Row, any::AnyRow},
    to_u64,
};

/// Reads the columns of one table.
pub(crate) struct Columns<'r> {
    row: &'r AnyRow,
    table: &'static str,
}

impl<'r> Columns<'r> {
    pub(crate) const fn of(row: &'r AnyRow, table: &'static str) -> Self {
        Self { row, table }
    }

    pub(crate) fn wrong(&self, column: &str) -> StorageError {
        StorageError::inconsistent(self.table, format!("column {column} breaks its rules"))
    }

    pub(crate) fn int(&self, column: &str) -> Result<i64, StorageError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn count(&self, column: &str) -> Result<u64, StorageError> {
        to_u64(self.int(column)?)
    }

    pub(crate) fn small(&self, column: &str) -> Result<u32, StorageError> {
        u32::try_from(self.int(column)?).map_err(|_| self.wrong(column))
    }

    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, StorageError> {
        Ok(Timestamp::from_micros(self.int(column)?))
    }

    pub(crate) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, StorageError> {
        let micros: Option<i64> = self.row.try_get(column)?;
        Ok(micros.map(Timestamp::from_micros))
    }

    pub(crate) fn optional_count(&self, column: &str) -> Result<Option<u64>, StorageError> {
        let count: Option<i64> = self.row.try_get(column)?;
        count.map(to_u64).transpose()
    }

    pub(crate) fn text(&self, column: &str) -> Result<String, StorageError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn bytes(&self, column: &str) -> Result<Vec<u8>, StorageError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn fixed(&self, column: &str) -> Result<[u8; 32], StorageError> {
        self.bytes(column)?.try_into().map_err(|_| self.wrong(column))
    }

    pub(crate) fn digest(&self, column: &str) -> Result<Digest, StorageError> {
        Ok(Digest(self.fixed(column)?))
    }

    pub(crate) fn public_key(&self, column: &str) -> Result<PublicKey, StorageError> {
        PublicKey::from_bytes(&self.fixed(column)?).map_err(|_| self.wrong(column))
    }

    pub(crate) fn container_id(&self, column: &str) -> Result<ContainerId, StorageError> {
        ContainerId::from_hex(&self.text(column)?).ok_or_else(|| self.wrong(column))
    }

    pub(crate) fn firm(&self, column: &str) -> Result<FirmCode, StorageError> {
        FirmCode::new(self.small(column)?).map_err(|_| self.wrong(column))
    }

    pub(crate) fn parsed<T>(&self, column: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StorageError> {
        parse(&self.text(column)?).ok_or_else(|| self.wrong(column))
    }
}
