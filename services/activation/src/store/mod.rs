//! The tables of activation. Statements are the same on both engines.

mod begin;
mod event;
mod find;
mod row;
mod run;
mod step;

use lictor_storage::{
    Database, Dialect, Migration, StorageError, Tx,
    sqlx::{Any, AnyConnection, pool::PoolConnection},
};

pub use begin::Begun;
pub use event::ReadThrough;
pub use find::Wanted;
pub use run::Ended;

/// What the tables are made from.
pub static MIGRATIONS: &[Migration] = lictor_storage::migrations!["0001_activation"];

/// The store of activation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    db: Database,
}

impl Store {
    /// A store on a migrated database.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// A connection for one statement, which is a transaction by itself. SQLite has one writer at a time, so there it is a
    /// transaction that waited for its turn.
    async fn alone(&self) -> Result<Alone, StorageError> {
        Ok(match self.db.dialect() {
            Dialect::Postgres => Alone::Statement(self.db.pool().acquire().await?),
            Dialect::Sqlite => Alone::Turn(self.db.begin().await?),
        })
    }

    /// The database, for the outbox, the relay and readiness.
    #[must_use]
    pub fn db(&self) -> &Database {
        &self.db
    }
}

/// Where one statement runs; lasting once [`Alone::done`].
enum Alone {
    Statement(PoolConnection<Any>),
    Turn(Tx),
}

impl Alone {
    fn conn(&mut self) -> &mut AnyConnection {
        match self {
            Self::Statement(connection) => connection,
            Self::Turn(tx) => tx.conn(),
        }
    }

    async fn done(self) -> Result<(), StorageError> {
        match self {
            Self::Statement(_) => Ok(()),
            Self::Turn(tx) => tx.commit().await,
        }
    }
}
