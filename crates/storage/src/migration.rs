//! Migrations: numbered SQL files in two folders, applied once, never edited afterwards.

use lictor_clock::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Row};

use crate::{Database, Dialect, StorageError, Tx};

/// One step of the schema, for both engines. Make a list with [`crate::migrations!`].
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Sorts and names it, such as `0001_order`.
    pub name: &'static str,
    /// The text for PostgreSQL.
    pub postgres: &'static str,
    /// The text for SQLite.
    pub sqlite: &'static str,
}

/// A list of [`Migration`]s read from `migrations/postgres/NAME.sql` and `migrations/sqlite/NAME.sql` of the calling
/// crate at build time: `static MIGRATIONS: &[Migration] = lictor_storage::migrations!["0001_order", "0002_ticket"];`
#[macro_export]
macro_rules! migrations {
    [$($name:literal),* $(,)?] => {
        &[$($crate::Migration {
            name: $name,
            postgres: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres/", $name, ".sql")),
            sqlite: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/", $name, ".sql")),
        }),*]
    };
}

/// Tables of the tools in this crate; `storage_` sorts apart from every service's own names.
static OWN: &[Migration] = crate::migrations!["storage_0001_tools", "storage_0002_published", "storage_0003_kept"];

pub(crate) async fn run(db: &Database, migrations: &[Migration], now: Timestamp) -> Result<(), StorageError> {
    check_names(migrations)?;
    // One transaction per migration, each under the same lock: a second process waits, then finds nothing left to do.
    prepare(db).await?;
    let known: Vec<&Migration> = OWN.iter().chain(migrations).collect();
    refuse_newer_database(db, &known).await?;
    for migration in known {
        let mut tx = locked(db).await?;
        apply(&mut tx, migration, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

fn check_names(migrations: &[Migration]) -> Result<(), StorageError> {
    let sorted = migrations.windows(2).all(|pair| pair[0].name < pair[1].name);
    if sorted && migrations.iter().all(|migration| !migration.name.starts_with("storage_")) {
        return Ok(());
    }
    Err(StorageError::Migration("migrations are listed in the order of their numbers, each once".to_owned()))
}

/// A write transaction that no other migrating process of this schema can hold at the same time.
async fn locked(db: &Database) -> Result<Tx, StorageError> {
    let mut tx = db.begin().await?;
    if tx.dialect() == Dialect::Postgres {
        // Waiting and building may take longer than a service's ordinary statements.
        sqlx::raw_sql("SET LOCAL statement_timeout = '15min'; SET LOCAL lock_timeout = '5min'")
            .execute(tx.conn())
            .await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock_id(db.schema())).execute(tx.conn()).await?;
    }
    Ok(tx)
}

/// A lock number of our own per schema: other users of advisory locks in the same database are not met by chance.
fn lock_id(schema: &str) -> i64 {
    let digest = Sha256::digest(format!("lictor migrations of {schema}"));
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

async fn prepare(db: &Database) -> Result<(), StorageError> {
    let mut tx = locked(db).await?;
    if tx.dialect() == Dialect::Postgres {
        // The name was checked when the database was opened. Asking first, because making a schema needs a right that
        // a prepared role may not have.
        let there = sqlx::query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1")
            .bind(db.schema())
            .fetch_optional(tx.conn())
            .await?;
        if there.is_none() {
            let make = format!("CREATE SCHEMA \"{}\"", db.schema());
            sqlx::raw_sql(AssertSqlSafe(make)).execute(tx.conn()).await?;
        }
    }
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_migration \
         (name TEXT PRIMARY KEY, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)",
    )
    .execute(tx.conn())
    .await?;
    tx.commit().await
}

async fn refuse_newer_database(db: &Database, known: &[&Migration]) -> Result<(), StorageError> {
    let rows = sqlx::query("SELECT name FROM schema_migration ORDER BY name").fetch_all(db.pool()).await?;
    for row in rows {
        let name: String = row.try_get(0)?;
        if !known.iter().any(|migration| migration.name == name) {
            return Err(StorageError::Migration(format!(
                "the database is newer than this program: it has migration {name}; next: start the newer program"
            )));
        }
    }
    Ok(())
}

async fn apply(tx: &mut Tx, migration: &Migration, now: Timestamp) -> Result<(), StorageError> {
    let text = match tx.dialect() {
        Dialect::Postgres => migration.postgres,
        Dialect::Sqlite => migration.sqlite,
    };
    let checksum = hex(&Sha256::digest(text));
    let row = sqlx::query("SELECT checksum FROM schema_migration WHERE name = $1")
        .bind(migration.name)
        .fetch_optional(tx.conn())
        .await?;
    if let Some(row) = row {
        let applied: String = row.try_get(0)?;
        if applied == checksum {
            return Ok(());
        }
        return Err(StorageError::Migration(format!(
            "migration {} was changed after it was applied; next: put its text back and add a new migration",
            migration.name
        )));
    }
    sqlx::raw_sql(text).execute(tx.conn()).await.map_err(|error| {
        tracing::error!(migration = migration.name, error = %error, "migration failed");
        StorageError::Migration(format!("migration {} failed: {error}", migration.name))
    })?;
    sqlx::query("INSERT INTO schema_migration (name, checksum, applied_at) VALUES ($1, $2, $3)")
        .bind(migration.name)
        .bind(checksum)
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
