//! Storage for services: one pool that is PostgreSQL or SQLite by its URL alone, and the tools every store needs.
//! No table of a service lives here; the tables of the tools do, and [`Database::migrate`] makes them first.
//!
//! # How a service uses it
//!
//! ```no_run
//! use lictor_clock::Timestamp;
//! use lictor_storage::{Database, DatabaseOptions, Migration, StorageError, retry};
//!
//! // One line per file pair `migrations/postgres/NAME.sql` and `migrations/sqlite/NAME.sql`.
//! // In a service: `lictor_storage::migrations!["0001_order"]`.
//! static MIGRATIONS: &[Migration] = &[Migration {
//!     name: "0001_purchase",
//!     postgres: "CREATE TABLE purchase (id TEXT PRIMARY KEY, state TEXT NOT NULL)",
//!     sqlite: "CREATE TABLE purchase (id TEXT PRIMARY KEY, state TEXT NOT NULL)",
//! }];
//!
//! async fn open(url: &str, now: Timestamp) -> Result<Database, StorageError> {
//!     let db = Database::connect(url, &DatabaseOptions::for_schema("license_central")).await?;
//!     db.migrate(MIGRATIONS, now).await?;
//!     Ok(db)
//! }
//!
//! // A change: begin, statements on `tx.conn()`, an explicit commit. `retry` runs the whole transaction again when the
//! // engine gave it up (deadlock, serialization, busy); dropping `tx` without commit undoes it.
//! async fn close_purchase(db: &Database, id: &str) -> Result<bool, StorageError> {
//!     retry(|| async {
//!         let mut tx = db.begin().await?;
//!         let done = sqlx::query("UPDATE purchase SET state = $1 WHERE id = $2")
//!             .bind("closed")
//!             .bind(id)
//!             .execute(tx.conn())
//!             .await?;
//!         tx.commit().await?;
//!         Ok(done.rows_affected() == 1)
//!     })
//!     .await
//! }
//! ```
//!
//! Reads outside a transaction go to `db.pool()`; several reads that must agree go through [`Database::begin_read`].
//!
//! # Portable SQL
//! - Ids are `TEXT`, times `BIGINT` microseconds UTC, flags `BIGINT` 0 / 1, JSON `TEXT`, bytes `BYTEA` / `BLOB`. Nothing
//!   else: the driver-neutral layer knows neither `BOOLEAN`, `TIMESTAMP`, `NUMERIC` nor arrays on SQLite.
//! - Bind `i64`, `&str`, `String`, `Vec<u8>`, `&[u8]` and `Option` of these. Counts are `u64` in the domain: [`to_i64`]
//!   and [`to_u64`] convert and refuse what does not fit.
//! - `SUM` of a `BIGINT` is `NUMERIC` on PostgreSQL: write `CAST(SUM(x) AS BIGINT)`.
//! - Placeholders are `$1`; `ON CONFLICT`, `RETURNING`, `UPDATE … FROM` work on both.
//! - Row locks: `tx.dialect().lock_rows("SELECT … WHERE id = $1")` adds `FOR UPDATE` where it exists; SQLite has one
//!   writer, so every write transaction is already alone. `skip_locked` is the same for claims.
//!
//! # The tools
//! - [`outbox`]: facts leave in the transaction of their change; sequence numbers are given after the commit.
//! - [`command`]: a repeated command gets its first answer, a changed one is refused.
//! - [`inbox`]: a consumer's dedupe by event id and its cursor per source.
//! - [`keeping`]: what is old goes, bounded, in the background.
//! - [`lease`]: one holder of a periodic job among replicas.
//! - [`testing`]: each test gets its own database on every engine.

pub mod command;
mod database;
mod dialect;
mod error;
pub mod inbox;
pub mod keeping;
pub mod lease;
mod migration;
mod numbers;
pub mod outbox;
mod retry;
mod settings;
pub mod testing;
mod tx;

pub use database::{Database, DatabaseOptions, sqlite_url};
pub use dialect::Dialect;
pub use error::StorageError;
pub use migration::Migration;
pub use numbers::{to_i64, to_u64};
pub use retry::{is_transient, retry};
pub use settings::DatabaseSettings;
pub use sqlx;
pub use tx::{ReadTx, Tx};
