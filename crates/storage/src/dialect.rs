//! The few places where one SQL text does not fit both engines.

use sqlx::AssertSqlSafe;

/// The engine behind a [`crate::Database`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Any server that speaks PostgreSQL's protocol.
    Postgres,
    /// A SQLite file in WAL mode.
    Sqlite,
}

impl Dialect {
    /// The statement with its rows locked until the transaction ends. SQLite needs nothing: its write transactions run
    /// one at a time.
    pub fn lock_rows(self, select: &'static str) -> AssertSqlSafe<String> {
        self.with_suffix(select, " FOR UPDATE")
    }

    /// The statement with its rows locked, leaving out rows that another transaction holds.
    pub fn skip_locked(self, select: &'static str) -> AssertSqlSafe<String> {
        self.with_suffix(select, " FOR UPDATE SKIP LOCKED")
    }

    /// `postgres` or `sqlite`: the folder of migrations and the label in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    fn with_suffix(self, select: &'static str, suffix: &str) -> AssertSqlSafe<String> {
        // Only static texts are put together here, so no outside text can become SQL.
        match self {
            Self::Postgres => AssertSqlSafe(format!("{select}{suffix}")),
            Self::Sqlite => AssertSqlSafe(select.to_owned()),
        }
    }
}
