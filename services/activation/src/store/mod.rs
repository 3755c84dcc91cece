//! The tables of activation. Statements are the same on both engines.

mod begin;
mod event;
mod find;
mod row;
mod run;
mod step;

use lictor_storage::{Database, Migration};

pub use begin::Begun;
pub use event::ProofOf;
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

    /// The database, for the outbox, the relay and readiness.
    #[must_use]
    pub fn db(&self) -> &Database {
        &self.db
    }
}
