//! The tables of activation. Statements are the same on both engines.

mod event;
mod row;
mod saga;

use lictor_storage::{Database, Migration};

pub use event::ProofOf;
pub use saga::Begun;

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

    /// The database, for the outbox, the relay and readiness.
    #[must_use]
    pub fn db(&self) -> &Database {
        &self.db
    }
}
