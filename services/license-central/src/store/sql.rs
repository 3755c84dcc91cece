//! Lists of values in statements: the driver-neutral layer binds no arrays, so batches are multi-row values.

use lictor_storage::{
    StorageError,
    sqlx::{Any, AssertSqlSafe, Row, any::AnyArguments, any::AnyRow, query::Query},
};

/// `($1,$2),($3,$4)` for 2 rows of 2 columns.
pub(super) fn rows(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        text.push_str(&list(row * columns + 1, columns));
        text.push(')');
    }
    text
}

/// `$3,$4,$5` for 3 values from the third on.
pub(super) fn list(from: usize, count: usize) -> String {
    let marks: Vec<String> = (from..from + count).map(|place| format!("${place}")).collect();
    marks.join(",")
}

/// A statement that was put together from texts of this crate and place holders alone.
pub(super) fn statement<'q>(text: String) -> Query<'q, Any, AnyArguments> {
    lictor_storage::sqlx::query(AssertSqlSafe(text))
}

/// Reads a column of text that the domain has a type for.
pub(super) fn parsed<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StorageError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| StorageError::inconsistent(column, text))
}

/// Reads a column of text that may be empty and that the domain has a type for.
pub(super) fn maybe<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StorageError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| StorageError::inconsistent(column, text))).transpose()
}

/// Reads a column that holds a number of 32 bits.
pub(super) fn small(row: &AnyRow, column: &'static str) -> Result<u32, StorageError> {
    let value: i64 = row.try_get(column)?;
    u32::try_from(value).map_err(|_| StorageError::inconsistent(column, value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_holders_are_counted_through() {
        assert_eq!(rows(2, 2), "($1,$2),($3,$4)");
        assert_eq!(list(3, 3), "$3,$4,$5");
    }
}
