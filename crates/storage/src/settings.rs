//! Where a service's tables are, as settings; the same for every service.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_runtime::{Field, Reader, Secret, StartError};

use crate::{Database, DatabaseOptions, Migration, StorageError, keeping::Keep};

const URL: Field = Field::required(
    "database_url",
    "DATABASE_URL",
    "where the tables are: `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `sqlite:///PATH`",
)
.secret();
const CONNECTIONS: Field =
    Field::with_default("database_connections", "DATABASE_CONNECTIONS", "10", "size of the connection pool, 2 to 100");
const WAIT: Field =
    Field::with_default("database_wait", "DATABASE_WAIT", "30s", "how long a start waits for a database that is down");

/// A database and how it is used.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Where it is; decides the engine.
    pub url: Secret,
    /// Size of the connection pool, 2..=100.
    pub connections: u32,
    /// How long a start waits for it.
    pub wait: Duration,
    /// How long old rows are kept.
    pub keep: Keep,
}

impl DatabaseSettings {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            url: reader.secret(&URL),
            connections: u32::try_from(reader.number(&CONNECTIONS, 2..=100)).unwrap_or(10),
            wait: reader.duration(&WAIT),
            keep: Keep::read(reader),
        }
    }

    /// A database beside this process, as `lictor up` and tests have it: few connections, no long wait.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: Secret::new(url), connections: 4, wait: Duration::from_secs(5), keep: Keep::default() }
    }

    /// Connects, and brings the tables of `schema` up to date.
    ///
    /// # Errors
    /// A [`StartError`] that says whether the settings, the server or the tables are to blame.
    pub async fn open(&self, schema: &str, migrations: &[Migration], now: Timestamp) -> Result<Database, StartError> {
        let options = DatabaseOptions {
            max_connections: self.connections,
            start_deadline: self.wait,
            ..DatabaseOptions::for_schema(schema)
        };
        let database = Database::connect(self.url.expose(), &options).await.map_err(cannot_start)?;
        database.migrate(migrations, now).await.map_err(cannot_start)?;
        Ok(database)
    }
}

fn cannot_start(error: StorageError) -> StartError {
    match error {
        StorageError::Unavailable { .. } => StartError::unreachable(error),
        StorageError::Settings(_) => StartError::settings(error),
        StorageError::Migration(ref what) => StartError::failed(what.clone(), error),
        other => StartError::failed("the database cannot be used; next: look into the log", other),
    }
}
