//! The pool: which engine, how its connections are set up, how it is reached at start.

use std::{
    io::ErrorKind,
    path::Path,
    sync::{Arc, Once},
    time::Duration,
};

use lictor_clock::Timestamp;
use sqlx::{
    AnyConnection, AnyPool, AssertSqlSafe, Connection,
    any::{AnyConnectOptions, AnyPoolOptions},
};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use crate::{Dialect, Migration, ReadTx, StorageError, Tx, migration};

/// Longest wait for a free connection before a call fails.
const ACQUIRE_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between attempts to reach the server at start.
const START_PAUSE: Duration = Duration::from_millis(300);

/// A connection that rested for longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Every statement of the services finds its rows by key. PostgreSQL keeps the plan of a statement per connection, and one
/// that was made while a table was new and small reads the whole table; it would be kept until the table is first analysed,
/// checks of foreign keys included. So plans that read whole tables are not on offer, nor is compiling them, which their
/// pretended cost would set off.
const BY_KEY: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
     SET enable_material = off; SET jit = off";

/// How to open a database.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// PostgreSQL schema that holds all tables of the service: lower-case letters, digits, `_`. SQLite has one file per
    /// service instead and ignores it.
    pub schema: String,
    /// Size of the pool, 1..=100; default 10.
    pub max_connections: u32,
    /// How long a start waits for a server that is down; default 30 s.
    pub start_deadline: Duration,
}

impl DatabaseOptions {
    /// The defaults for a service's schema.
    pub fn for_schema(schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), max_connections: 10, start_deadline: Duration::from_secs(30) }
    }
}

/// A pool of one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: AnyPool,
    dialect: Dialect,
    schema: Arc<str>,
    /// SQLite has one writer: waiting here is fair, waiting inside SQLite is a lottery with a time-out.
    writer: Option<Arc<Semaphore>>,
    outbox_filled: Arc<Notify>,
}

impl Database {
    /// Opens `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `sqlite:///ABSOLUTE/PATH` (made when missing; see
    /// [`sqlite_url`]). Waits up to `start_deadline` for a server that does not answer yet.
    ///
    /// # Errors
    /// `Settings` for a URL or a login that cannot work, `Unavailable` when the time is over.
    pub async fn connect(url: &str, options: &DatabaseOptions) -> Result<Self, StorageError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);

        check_schema(&options.schema)?;
        let target = Target::parse(url)?;
        let connect_options: AnyConnectOptions = target
            .url
            .parse()
            .map_err(|_| StorageError::Settings("the database URL is malformed; next: write postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:///PATH".to_owned()))?;
        let set_up = target.set_up(&options.schema);
        wait_until_reachable(&connect_options, &set_up, &target, options.start_deadline).await?;
        let pool = AnyPoolOptions::new()
            .max_connections(options.max_connections.clamp(1, 100))
            .acquire_timeout(ACQUIRE_DEADLINE)
            // The pool asks a connection when it comes back; asking it again before each use would double the questions.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    let fresh = meta.idle_for < TRUSTED_IDLE;
                    Ok(fresh || connection.ping().await.is_ok())
                })
            })
            .after_connect(move |connection, _| {
                let set_up = set_up.clone();
                Box::pin(async move {
                    sqlx::raw_sql(AssertSqlSafe(set_up)).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(connect_options);
        Ok(Self {
            pool,
            dialect: target.dialect,
            schema: options.schema.as_str().into(),
            writer: (target.dialect == Dialect::Sqlite).then(|| Arc::new(Semaphore::new(1))),
            outbox_filled: Arc::new(Notify::new()),
        })
    }

    /// Applies the tools' migrations and then `migrations`, each once, in order, in a transaction of its own. Only one
    /// process does it at a time.
    ///
    /// # Errors
    /// `Migration` when an applied one was edited since, when the database is newer than this program, or when one fails.
    pub async fn migrate(&self, migrations: &[Migration], now: Timestamp) -> Result<(), StorageError> {
        migration::run(self, migrations, now).await
    }

    /// The pool, for single reads.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// The engine.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Begins a write transaction (READ COMMITTED on PostgreSQL; the only writer on SQLite).
    pub async fn begin(&self) -> Result<Tx, StorageError> {
        let writer =
            match &self.writer {
                None => None,
                Some(writer) => Some(Arc::clone(writer).acquire_owned().await.map_err(|_| {
                    StorageError::Unavailable { what: "the database is closed".to_owned(), source: None }
                })?),
            };
        let inner = match self.dialect {
            Dialect::Postgres => self.pool.begin().await?,
            // Taking the write lock at once: a transaction that upgrades from reading cannot be retried by SQLite.
            Dialect::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await?,
        };
        Ok(Tx::new(inner, self.dialect, Arc::clone(&self.outbox_filled), writer))
    }

    /// Begins a read-only transaction in which all reads see the same moment.
    pub async fn begin_read(&self) -> Result<ReadTx, StorageError> {
        let inner = match self.dialect {
            Dialect::Postgres => self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?,
            Dialect::Sqlite => self.pool.begin().await?,
        };
        Ok(ReadTx::new(inner))
    }

    /// Asks the engine for an answer, for readiness checks.
    pub async fn ping(&self) -> Result<(), StorageError> {
        let mut connection = self.pool.acquire().await?;
        connection.ping().await?;
        Ok(())
    }

    /// Returns when a transaction with events was committed since the last call. One waiter only: the relay.
    pub async fn outbox_filled(&self) {
        self.outbox_filled.notified().await;
    }

    /// Waits for running statements and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The URL of a SQLite file, for a path with any characters.
pub fn sqlite_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => url.push(char::from(*byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

struct Target {
    dialect: Dialect,
    /// For the driver; holds the password.
    url: String,
    /// For people: no password.
    shown: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, StorageError> {
        if let Some(rest) = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) {
            let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
            let place = place.split('?').next().unwrap_or(place);
            return Ok(Self {
                dialect: Dialect::Postgres,
                url: url.to_owned(),
                shown: format!("the PostgreSQL server at {place}"),
            });
        }
        if let Some(path) = url.strip_prefix("sqlite://") {
            if !path.starts_with('/') || path.contains('?') || path.ends_with('/') {
                return Err(StorageError::Settings(
                    "a SQLite URL is sqlite:// and an absolute path to a file, nothing else; next: write sqlite:///PATH".to_owned(),
                ));
            }
            return Ok(Self {
                dialect: Dialect::Sqlite,
                url: format!("{url}?mode=rwc"),
                shown: format!("the SQLite file {path}"),
            });
        }
        Err(StorageError::Settings(
            "the database URL names no known engine; next: write postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:///PATH"
                .to_owned(),
        ))
    }

    /// Statements that every new connection runs first.
    fn set_up(&self, schema: &str) -> String {
        match self.dialect {
            Dialect::Postgres => format!(
                "SET search_path TO \"{schema}\"; SET lock_timeout = '10s'; SET statement_timeout = '30s'; \
                 SET idle_in_transaction_session_timeout = '60s'; SET application_name = 'lictor_{schema}'; {BY_KEY}"
            ),
            Dialect::Sqlite => "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF"
                .to_owned(),
        }
    }
}

/// The schema's name becomes part of SQL, so it may hold nothing that needs quoting.
fn check_schema(schema: &str) -> Result<(), StorageError> {
    let plain = schema.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain && (1..=50).contains(&schema.len()) && schema.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Ok(());
    }
    Err(StorageError::Settings(
        "a database schema is 1 to 50 lower-case letters, digits and underscores, starting with a letter".to_owned(),
    ))
}

/// Tries with a connection of its own, because the pool keeps the reason of a failed set-up to itself.
async fn wait_until_reachable(
    options: &AnyConnectOptions,
    set_up: &str,
    target: &Target,
    deadline: Duration,
) -> Result<(), StorageError> {
    let end = Instant::now() + deadline;
    let mut told = false;
    loop {
        let error = match tokio::time::timeout_at(end, try_once(options, set_up)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(too_late(target, deadline, None)),
        };
        if let Some(refused) = cannot_get_better(&error, target) {
            return Err(refused);
        }
        if Instant::now() + START_PAUSE >= end {
            return Err(too_late(target, deadline, Some(error)));
        }
        if !told {
            tracing::warn!(database = %target.shown, error = %error, "database does not answer yet, waiting");
            told = true;
        }
        tokio::time::sleep(START_PAUSE).await;
    }
}

async fn try_once(options: &AnyConnectOptions, set_up: &str) -> Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    sqlx::raw_sql(AssertSqlSafe(set_up.to_owned())).execute(&mut connection).await?;
    connection.close().await
}

fn too_late(target: &Target, deadline: Duration, source: Option<sqlx::Error>) -> StorageError {
    let seconds = deadline.as_secs_f32();
    StorageError::Unavailable {
        what: format!(
            "{} did not answer within {seconds} s; next: start it, or correct the database URL",
            target.shown
        ),
        source,
    }
}

/// Refusals that waiting does not cure: a wrong login, a missing database, a file that cannot be opened.
fn cannot_get_better(error: &sqlx::Error, target: &Target) -> Option<StorageError> {
    match error {
        sqlx::Error::Configuration(_) => {
            Some(StorageError::Settings(format!("{} cannot be used: {error}", target.shown)))
        }
        sqlx::Error::Tls(cause) => Some(untrusted(target, cause)),
        // What a handshake ends with: an unknown authority, another name, no TLS at all.
        sqlx::Error::Io(cause) if cause.kind() == ErrorKind::InvalidData => Some(untrusted(target, cause)),
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            let why = match (target.dialect, &*code) {
                (Dialect::Postgres, "28P01" | "28000") => {
                    "refuses this user or password; next: correct the database URL"
                }
                (Dialect::Postgres, "3D000") => "has no such database; next: create it, or correct the database URL",
                (Dialect::Sqlite, "14") => "cannot be opened; next: make its folder, writable for this program",
                (Dialect::Sqlite, "26") => "is not a SQLite database; next: restore it from a backup",
                (Dialect::Sqlite, "8" | "10") => "cannot be written; next: check the disk and the file's owner",
                _ => return None,
            };
            Some(StorageError::Settings(format!("{} {why}", target.shown)))
        }
        _ => None,
    }
}

fn untrusted(target: &Target, cause: &dyn std::fmt::Display) -> StorageError {
    StorageError::Settings(format!(
        "{} cannot be trusted over TLS: {cause}; next: correct sslmode and sslrootcert in the database URL, or the \
         server's certificate",
        target.shown
    ))
}
