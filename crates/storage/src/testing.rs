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
//!
//! Migrating takes PostgreSQL most of a second, so a process does it once per list of migrations: on SQLite the migrated
//! file is copied, on PostgreSQL the schema of a test that ended is emptied for the next one. So a handful of schemas
//! stays behind on a server of one's own; `with-servers` takes its server along.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use lictor_clock::Timestamp;
use sqlx::{AssertSqlSafe, Row as _};

use crate::{Database, DatabaseOptions, Migration, StorageError, sqlite_url};

/// Where the tests' PostgreSQL server is.
pub const POSTGRES_URL: &str = "LICTOR_TEST_POSTGRES_URL";

/// 2026-01-01T00:00:00Z, when test databases are made.
const MADE_AT: Timestamp = Timestamp::from_seconds(1_767_225_600);

static COUNTER: AtomicU32 = AtomicU32::new(0);
/// Migrated SQLite files by their migrations.
static FILES: LazyLock<Mutex<HashMap<u64, Arc<Vec<u8>>>>> = LazyLock::new(Mutex::default);
/// PostgreSQL schemas whose test has ended.
static SCHEMAS: Mutex<Vec<Schema>> = Mutex::new(Vec::new());

/// A migrated schema on the tests' PostgreSQL server.
#[derive(Debug)]
struct Schema {
    name: String,
    /// Of its migrations.
    kind: u64,
    /// What the migrations themselves wrote: a table, its columns, its rows as JSON.
    seeds: Vec<(String, String, String)>,
}

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
    reusable: Option<Schema>,
}

impl TestDatabase {
    /// A SQLite file in a folder of its own.
    pub async fn sqlite(migrations: &[Migration]) -> Self {
        let folder = make_folder();
        let (path, schema, kind) = (folder.join("test.db"), "test".to_owned(), kind_of(migrations));
        let url = sqlite_url(&path);
        let made = lock(&FILES).get(&kind).cloned();
        let db = match made {
            Some(bytes) => {
                if let Err(error) = std::fs::write(&path, &*bytes) {
                    panic!("the test database cannot be copied: {error}");
                }
                connect(&url, &schema).await
            }
            None => {
                let db = open(&url, &schema, migrations).await;
                if let Some(bytes) = whole_file(&db, &path).await {
                    lock(&FILES).insert(kind, Arc::new(bytes));
                }
                db
            }
        };
        Self { db, url, schema, folder: Some(folder), reusable: None }
    }

    /// A schema of its own on the tests' PostgreSQL server; nothing when there is no server.
    pub async fn postgres(migrations: &[Migration]) -> Option<Self> {
        let url = std::env::var(POSTGRES_URL).ok().filter(|url| !url.is_empty())?;
        let kind = kind_of(migrations);
        let spare = {
            let mut spares = lock(&SCHEMAS);
            let place = spares.iter().position(|spare| spare.kind == kind);
            place.map(|place| spares.swap_remove(place))
        };
        if let Some(spare) = spare {
            let (db, schema) = (connect(&url, &spare.name).await, spare.name.clone());
            match spare.empty(&db).await {
                Ok(()) => return Some(Self { db, url, schema, folder: None, reusable: Some(spare) }),
                Err(error) => {
                    eprintln!("left behind: schema {schema} cannot be emptied ({error})");
                    db.close().await;
                }
            }
        }
        let schema = unique_name();
        let db = open(&url, &schema, migrations).await;
        let reusable = match Schema::seeds(&db).await {
            Ok(seeds) => Some(Schema { name: schema.clone(), kind, seeds }),
            Err(error) => panic!("the new test database cannot be read: {error}"),
        };
        Some(Self { db, url, schema, folder: None, reusable })
    }

    /// A second pool on the same database, as another replica would have.
    pub async fn second_pool(&self) -> Database {
        connect(&self.url, &self.schema).await
    }

    /// Closes it, and deletes it or keeps it for the next test. A failed test leaves it for a look.
    pub async fn remove(self) {
        self.db.close().await;
        if let Some(folder) = &self.folder {
            remove_folder(folder);
        }
        lock(&SCHEMAS).extend(self.reusable);
    }
}

impl Schema {
    async fn seeds(db: &Database) -> Result<Vec<(String, String, String)>, StorageError> {
        let tables = sqlx::query(
            "SELECT CAST(c.table_name AS TEXT), \
             CAST(string_agg(quote_ident(c.column_name), ',' ORDER BY c.ordinal_position) AS TEXT) \
             FROM information_schema.columns c JOIN information_schema.tables t \
             ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE' \
             WHERE c.table_schema = current_schema() AND c.is_generated = 'NEVER' \
             AND c.table_name <> 'schema_migration' GROUP BY c.table_name",
        )
        .fetch_all(db.pool())
        .await?;
        let mut seeds = Vec::new();
        for row in tables {
            let (table, columns): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let rows = format!("SELECT CAST(json_agg(row_to_json(t)) AS TEXT) FROM \"{table}\" t");
            let rows: Option<String> = sqlx::query(AssertSqlSafe(rows)).fetch_one(db.pool()).await?.try_get(0)?;
            seeds.extend(rows.map(|rows| (table, columns, rows)));
        }
        Ok(seeds)
    }

    /// Puts it back to what the migrations left. Triggers that refuse are asleep meanwhile, which takes a superuser.
    async fn empty(&self, db: &Database) -> Result<(), StorageError> {
        // What the test before left running must not write into this one.
        sqlx::query(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE application_name = $1 AND pid <> pg_backend_pid()",
        )
        .bind(format!("lictor_{}", self.name))
        .fetch_all(db.pool())
        .await?;
        let mut tx = db.begin().await?;
        sqlx::raw_sql(
            "SET LOCAL session_replication_role = replica; \
             DO $$ DECLARE one RECORD; BEGIN \
             FOR one IN SELECT tablename AS name FROM pg_tables \
             WHERE schemaname = current_schema() AND tablename <> 'schema_migration' \
             LOOP EXECUTE format('DELETE FROM %I', one.name); END LOOP; \
             FOR one IN SELECT sequencename AS name, start_value FROM pg_sequences \
             WHERE schemaname = current_schema() \
             LOOP PERFORM setval(quote_ident(one.name)::regclass, one.start_value, false); END LOOP; \
             END $$",
        )
        .execute(tx.conn())
        .await?;
        for (table, columns, rows) in &self.seeds {
            let fill = format!(
                "INSERT INTO \"{table}\" ({columns}) OVERRIDING SYSTEM VALUE \
                 SELECT {columns} FROM json_populate_recordset(NULL::\"{table}\", CAST($1 AS JSON))"
            );
            sqlx::query(AssertSqlSafe(fill)).bind(rows.clone()).execute(tx.conn()).await?;
        }
        tx.commit().await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kind_of(migrations: &[Migration]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for migration in migrations {
        (migration.name, migration.postgres, migration.sqlite).hash(&mut hasher);
    }
    hasher.finish()
}

/// The bytes of a SQLite database with everything in its main file; nothing when somebody else works with it.
async fn whole_file(db: &Database, path: &Path) -> Option<Vec<u8>> {
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(db.pool()).await.ok()?;
    let busy: i64 = row.try_get(0).ok()?;
    if busy == 0 { std::fs::read(path).ok() } else { None }
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
