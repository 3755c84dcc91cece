//! Rows that a statement is given, as the table `given`, so that one statement works on a whole crowd.
//!
//! PostgreSQL gets each column as one array: the text of the statement is the same for every size of a crowd, so it is
//! parsed and planned once per connection. The driver knows no arrays, so they travel in their text form. SQLite gets
//! plain rows.

use std::fmt::Write as _;

use lictor_storage::{
    Dialect, StorageError,
    sqlx::{
        self, Any, AssertSqlSafe,
        any::{AnyArguments, AnyRow},
        query::Query,
    },
    to_i64,
};

use crate::domain::container::ChainKey;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text without a zero byte.
    Text,
    /// A count, a code or a time; may be NULL.
    Int,
    /// Bytes.
    Bytes,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// For [`Kind::Text`].
    Text(String),
    /// For [`Kind::Int`].
    Int(Option<i64>),
    /// For [`Kind::Bytes`].
    Bytes(Vec<u8>),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Int(Some(i64::from(number)))
    }
}

impl From<&[u8]> for Cell {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl Cell {
    /// A count.
    ///
    /// # Errors
    /// When no column holds it.
    pub fn count(count: u64) -> Result<Self, StorageError> {
        Ok(Self::Int(Some(to_i64(count)?)))
    }
}

/// The rows of a crowd. Column names are ours, values go as parameters: no outside text can become SQL.
#[derive(Debug)]
pub struct Given {
    dialect: Dialect,
    columns: &'static [(&'static str, Kind)],
    rows: Vec<Vec<Cell>>,
}

impl Given {
    /// No rows yet, with these columns.
    #[must_use]
    pub fn new(dialect: Dialect, columns: &'static [(&'static str, Kind)]) -> Self {
        Self { dialect, columns, rows: Vec::new() }
    }

    /// Adds a row with a value for each column.
    pub fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a value for each column");
        self.rows.push(row);
    }

    /// The statement that inserts all rows into a table whose columns are called alike; `after` follows `FROM given`.
    pub fn insert_into(self, table: &'static str, after: &str) -> Query<'static, Any, AnyArguments> {
        let names = self.names();
        self.query(&format!("INSERT INTO {table} ({names}) SELECT {names} FROM given {after}"))
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// The statement that comes after `WITH given (…) AS (…)`, with all values bound. Call it with one row at least.
    pub fn query(self, after: &str) -> Query<'static, Any, AnyArguments> {
        let mut statement = format!("WITH given ({}) AS (", self.names());
        match self.dialect {
            Dialect::Postgres => {
                statement.push_str("SELECT * FROM unnest(");
                for (place, (_, kind)) in self.columns.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    let array = match kind {
                        Kind::Text => "TEXT[]",
                        Kind::Int => "BIGINT[]",
                        Kind::Bytes => "BYTEA[]",
                    };
                    let _ = write!(statement, "{comma}CAST(CAST(${} AS TEXT) AS {array})", place + 1);
                }
                statement.push_str(")) ");
                statement.push_str(after);
                let mut query = sqlx::query(AssertSqlSafe(statement));
                for column in 0..self.columns.len() {
                    query = query.bind(array(self.rows.iter().filter_map(|row| row.get(column))));
                }
                query
            }
            Dialect::Sqlite => {
                statement.push_str("VALUES ");
                let mut place = 0;
                for row in 0..self.rows.len() {
                    statement.push_str(if row == 0 { "(" } else { ", (" });
                    for column in 0..self.columns.len() {
                        place += 1;
                        let comma = if column == 0 { "" } else { ", " };
                        let _ = write!(statement, "{comma}${place}");
                    }
                    statement.push(')');
                }
                statement.push_str(") ");
                statement.push_str(after);
                let mut query = sqlx::query(AssertSqlSafe(statement));
                for cell in self.rows.into_iter().flatten() {
                    query = match cell {
                        Cell::Text(text) => query.bind(text),
                        Cell::Int(number) => query.bind(number),
                        Cell::Bytes(bytes) => query.bind(bytes),
                    };
                }
                query
            }
        }
    }
}

/// The text form of an array.
fn array<'c>(cells: impl Iterator<Item = &'c Cell>) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::from("{");
    for cell in cells {
        if text.len() > 1 {
            text.push(',');
        }
        match cell {
            Cell::Int(None) => text.push_str("NULL"),
            Cell::Int(Some(number)) => {
                let _ = write!(text, "{number}");
            }
            Cell::Text(part) => {
                text.push('"');
                for letter in part.chars() {
                    if matches!(letter, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(letter);
                }
                text.push('"');
            }
            Cell::Bytes(bytes) => {
                text.reserve(bytes.len() * 2 + 6);
                text.push_str("\"\\\\x");
                for byte in bytes {
                    text.push(char::from(HEX[usize::from(byte >> 4)]));
                    text.push(char::from(HEX[usize::from(byte & 15)]));
                }
                text.push('"');
            }
        }
    }
    text.push('}');
    text
}

/// The columns that name a chain, first in a row.
pub(crate) fn key_cells(key: &ChainKey) -> [Cell; 2] {
    [Cell::Text(key.container.to_string()), Cell::from(key.firm.get())]
}

/// Reads them back.
pub(crate) fn key_of(row: &AnyRow, table: &'static str) -> Result<ChainKey, StorageError> {
    let columns = super::row::Columns::of(row, table);
    Ok(ChainKey { container: columns.container_id("container_id")?, firm: columns.firm("firm_code")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_keep_what_would_end_them() {
        let cells = [Cell::from("a\"b\\c,{d}"), Cell::from("NULL"), Cell::from("")];
        assert_eq!(array(cells.iter()), r#"{"a\"b\\c,{d}","NULL",""}"#);
        assert_eq!(array([Cell::Int(None), Cell::from(-7_i64)].iter()), "{NULL,-7}");
        assert_eq!(array([Cell::from(&[0, 255][..]), Cell::from(&[][..])].iter()), r#"{"\\x00ff","\\x"}"#);
    }
}
