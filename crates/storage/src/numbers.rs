//! Unsigned numbers of the domain as the signed 64-bit column that both engines have.

use crate::StorageError;

/// Turns a count into a column value; refuses what is above `i64::MAX`.
pub fn to_i64(value: u64) -> Result<i64, StorageError> {
    i64::try_from(value).map_err(|_| StorageError::inconsistent("a number", format!("{value} does not fit a column")))
}

/// Turns a column value back into a count; a negative one means a damaged row.
pub fn to_u64(value: i64) -> Result<u64, StorageError> {
    u64::try_from(value).map_err(|_| StorageError::inconsistent("a number", format!("{value} is negative")))
}
