//! A copy of the tables at one moment, as last night's backup would be.

use lictor_push_update_generator::store::MIGRATIONS;
use lictor_storage::{
    Database, DatabaseOptions, Dialect, sqlite_url,
    sqlx::{self, AssertSqlSafe, Row as _},
    testing::TestDatabase,
};

/// Tables in an order in which they may be filled.
const TABLES: [&str; 10] = [
    "vendor",
    "root_document",
    "container",
    "segment",
    "segment_envelope",
    "rebase",
    "context",
    "accepted_context",
    "evidence",
    "refused_reference",
];

/// The tables as they are now, in a database of their own.
pub(crate) struct Backup {
    pub(crate) db: Database,
    _folder: tempfile::TempDir,
}

pub(crate) async fn take(db: &Database) -> Backup {
    let folder = tempfile::tempdir().expect("a folder");
    let db = match db.dialect() {
        Dialect::Sqlite => copy_file(db, &folder.path().join("backup.db")).await,
        Dialect::Postgres => copy_schema(db).await,
    };
    Backup { db, _folder: folder }
}

/// Empty tables, as after a restore of nothing.
pub(crate) async fn nothing(like: &Database) -> Backup {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = match like.dialect() {
        Dialect::Sqlite => TestDatabase::sqlite(MIGRATIONS).await,
        Dialect::Postgres => TestDatabase::postgres(MIGRATIONS).await.expect("the same server"),
    };
    Backup { db: empty.db, _folder: folder }
}

async fn copy_file(db: &Database, path: &std::path::Path) -> Database {
    let copy = format!("VACUUM INTO '{}'", path.display());
    sqlx::query(AssertSqlSafe(copy)).execute(db.pool()).await.expect("a copy");
    let options = DatabaseOptions { max_connections: 4, ..DatabaseOptions::for_schema("test") };
    Database::connect(&sqlite_url(path), &options).await.expect("the copy")
}

async fn copy_schema(db: &Database) -> Database {
    let row = sqlx::query("SELECT CAST(current_schema() AS TEXT)").fetch_one(db.pool()).await.expect("a schema");
    let from: String = row.get(0);
    let copy = TestDatabase::postgres(MIGRATIONS).await.expect("the same server");
    let mut tx = copy.db.begin().await.expect("a transaction");
    for table in TABLES.iter().copied().chain(["outbox"]) {
        let fill = format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM \"{from}\".{table}");
        sqlx::query(AssertSqlSafe(fill)).execute(tx.conn()).await.unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    let head = format!(
        "UPDATE outbox_head SET last_sequence = (SELECT last_sequence FROM \"{from}\".outbox_head WHERE id = 1)"
    );
    sqlx::query(AssertSqlSafe(head)).execute(tx.conn()).await.expect("the head");
    let place = "SELECT setval(pg_get_serial_sequence('outbox', 'position'), (SELECT MAX(position) FROM outbox))";
    sqlx::query(place).execute(tx.conn()).await.expect("the sequence");
    tx.commit().await.expect("a commit");
    copy.db
}
