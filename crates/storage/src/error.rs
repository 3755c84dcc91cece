//! What can go wrong in storage, sorted by what the caller can do about it.

/// An error of the storage layer. `Display` is one sentence for people; the driver's error is the source.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The URL or another setting is wrong; repeating does not help.
    #[error("{0}")]
    Settings(String),
    /// The database cannot be reached or is shutting down. At a commit the outcome is unknown.
    #[error("{what}")]
    Unavailable {
        /// One sentence that names the database without its password.
        what: String,
        /// The driver's error, if one was seen.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// The engine gave this transaction up and nothing of it happened: run it again as a whole.
    #[error("the transaction lost against another one")]
    Transient(#[source] sqlx::Error),
    /// A UNIQUE or PRIMARY KEY constraint refused the row.
    #[error("the row exists already")]
    Unique(#[source] sqlx::Error),
    /// Any other refusal by the engine: a foreign key, a check, a broken statement, a full disk.
    #[error("the database refused a statement")]
    Query(#[source] sqlx::Error),
    /// A migration failed or does not fit what was applied before.
    #[error("{0}")]
    Migration(String),
    /// A stored row breaks its own rules.
    #[error("inconsistent data in {place}: {what}")]
    Inconsistent {
        /// Table or column.
        place: &'static str,
        /// What is wrong with it; goes to the log, never outside.
        what: String,
    },
}

impl StorageError {
    /// A stored row that breaks its rules, for `TryFrom<Row>` of a store.
    pub fn inconsistent(place: &'static str, what: impl Into<String>) -> Self {
        Self::Inconsistent { place, what: what.into() }
    }

    /// True when the transaction surely did not happen and running it again may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// True when a UNIQUE or PRIMARY KEY constraint refused a row.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Unique(_))
    }

    /// True when the database could not be reached; a caller may try later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// The name of the violated constraint where the engine tells it (PostgreSQL), else the engine's message
    /// (SQLite names `table.column` there).
    pub fn constraint(&self) -> Option<String> {
        let (Self::Unique(error) | Self::Query(error)) = self else {
            return None;
        };
        let database = error.as_database_error()?;
        Some(database.constraint().map_or_else(|| database.message().to_owned(), str::to_owned))
    }
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        match class_of(&error) {
            Class::Transient => Self::Transient(error),
            Class::Unavailable => {
                Self::Unavailable { what: "the database cannot be reached".to_owned(), source: Some(error) }
            }
            Class::Unique => Self::Unique(error),
            Class::Other => Self::Query(error),
        }
    }
}

/// What a driver error means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Transient,
    Unavailable,
    Unique,
    Other,
}

pub(crate) fn class_of(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::Unavailable,
        sqlx::Error::Database(database) => {
            if database.is_unique_violation() {
                return Class::Unique;
            }
            match database.code() {
                Some(code) => class_of_code(&code),
                None => Class::Other,
            }
        }
        _ => Class::Other,
    }
}

/// PostgreSQL's codes have five characters, SQLite's are plain numbers: they never collide.
fn class_of_code(code: &str) -> Class {
    match code {
        // serialization failure, deadlock, lock not available within its time
        "40001" | "40P01" | "55P03" => Class::Transient,
        // shutdown, crash, cannot connect now, too many connections, idle transaction ended
        "57P01" | "57P02" | "57P03" | "53300" | "25P03" => Class::Unavailable,
        _ if code.len() == 5 && code.starts_with("08") => Class::Unavailable,
        // SQLITE_BUSY and SQLITE_LOCKED; the low byte of an extended code is the primary one
        _ if code.len() < 5 => match code.parse::<u32>() {
            Ok(number) if matches!(number & 0xff, 5 | 6) => Class::Transient,
            _ => Class::Other,
        },
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_engines_are_sorted() {
        for code in ["40001", "40P01", "55P03", "5", "6", "261", "517"] {
            assert_eq!(class_of_code(code), Class::Transient, "{code}");
        }
        for code in ["57P01", "08006", "53300"] {
            assert_eq!(class_of_code(code), Class::Unavailable, "{code}");
        }
        for code in ["42601", "23503", "13", "1", ""] {
            assert_eq!(class_of_code(code), Class::Other, "{code}");
        }
    }
}
