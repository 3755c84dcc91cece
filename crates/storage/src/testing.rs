//! For tests: the same behaviour suite on every engine, each run in a database of its own.
//!
//! ```no_run
//! use lictor_storage::testing::for_each_engine;
//!
//! #[tokio::test]
//! async fn closed_purchase_stays_closed() {
//!     for_each_engine(&[], async |db| {
//!         assert!(db.ping().await.is_ok());
//!     })
//!     .await;
//! }
//! ```
//!
//! SQLite runs always. PostgreSQL runs when `LICTOR_TEST_POSTGRES_URL` names a server on which the user may make
//! schemas; otherwise the run says loudly that it was skipped.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use lictor_clock::Timestamp;
use sqlx::AssertSqlSafe;

use crate::{Database, DatabaseOptions, Migration, sqlite_url};

/// Where the tests' PostgreSQL server is.
pub const POSTGRES_URL: &str = "LICTOR_TEST_POSTGRES_URL";

/// 2026-01-01T00:00:00Z, when test databases are made.
const MADE_AT: Timestamp = Timestamp::from_seconds(1_767_225_600);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Runs `test` with a fresh, migrated database of each engine. Panics when a database cannot be made: a test without
/// its database has not passed.
pub async fn for_each_engine(migrations: &[Migration], test: impl AsyncFn(Database)) {
    let database = TestDatabase::sqlite(migrations).await;
    test(database.db.clone()).await;
    database.remove().await;
    match TestDatabase::postgres(migrations).await {
        Some(database) => {
            test(database.db.clone()).await;
            database.remove().await;
        }
        None => eprintln!("SKIPPED on PostgreSQL: {POSTGRES_URL} is not set"),
    }
}

/// A database of one test.
#[derive(Debug)]
pub struct TestDatabase {
    /// The migrated database.
    pub db: Database,
    /// Its URL, for a process or a second pool that opens the same database.
    pub url: String,
    /// Its schema, which a second pool needs on PostgreSQL.
    pub schema: String,
    folder: Option<PathBuf>,
}

impl TestDatabase {
    /// A SQLite file in a folder of its own.
    pub async fn sqlite(migrations: &[Migration]) -> Self {
        let folder = make_folder();
        let url = sqlite_url(&folder.join("test.db"));
        let schema = "test".to_owned();
        let db = open(&url, &schema, migrations).await;
        Self { db, url, schema, folder: Some(folder) }
    }

    /// A schema of its own on the tests' PostgreSQL server; nothing when there is no server.
    pub async fn postgres(migrations: &[Migration]) -> Option<Self> {
        let url = std::env::var(POSTGRES_URL).ok().filter(|url| !url.is_empty())?;
        let schema = unique_name();
        let db = open(&url, &schema, migrations).await;
        Some(Self { db, url, schema, folder: None })
    }

    /// A second pool on the same database, as another replica would have.
    pub async fn second_pool(&self) -> Database {
        connect(&self.url, &self.schema).await
    }

    /// Closes and deletes it. A failed test leaves it for a look.
    pub async fn remove(self) {
        match &self.folder {
            Some(folder) => {
                self.db.close().await;
                remove_folder(folder);
            }
            None => {
                let drop = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.schema);
                if let Err(error) = sqlx::raw_sql(AssertSqlSafe(drop)).execute(self.db.pool()).await {
                    eprintln!("left behind: schema {} ({error})", self.schema);
                }
                self.db.close().await;
            }
        }
    }
}

async fn open(url: &str, schema: &str, migrations: &[Migration]) -> Database {
    let db = connect(url, schema).await;
    if let Err(error) = db.migrate(migrations, MADE_AT).await {
        panic!("the test database cannot be migrated: {error}");
    }
    db
}

async fn connect(url: &str, schema: &str) -> Database {
    let options =
        DatabaseOptions { schema: schema.to_owned(), max_connections: 4, start_deadline: Duration::from_secs(20) };
    match Database::connect(url, &options).await {
        Ok(db) => db,
        Err(error) => panic!("the test database cannot be opened: {error}"),
    }
}

fn unique_name() -> String {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    // The address of a fresh allocation would not tell runs apart; the monotonic clock of this process' start does.
    let moment = std::time::Instant::now();
    let noise: u32 =
        format!("{moment:?}").bytes().fold(17, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    format!("test_{}_{number}_{noise:08x}", std::process::id())
}

fn make_folder() -> PathBuf {
    for _ in 0..100 {
        let folder = std::env::temp_dir().join(format!("lictor-{}", unique_name()));
        if std::fs::create_dir(&folder).is_ok() {
            return folder;
        }
    }
    panic!("no folder for a test database can be made in {}", std::env::temp_dir().display());
}

fn remove_folder(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        eprintln!("left behind: {} ({error})", folder.display());
    }
}
