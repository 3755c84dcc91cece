//! The tables of license-central. Statements are the same on both engines.

mod catalogue;
mod customer;
mod license;
mod order;
mod reservation;
mod reserve;
mod sql;
mod withdrawal;

pub use catalogue::{Applied, ItemRow};
pub use customer::CustomerRow;
pub use license::LicenseFilter;
pub use order::{MadeOrder, OrderRow, TicketRow};
pub use reservation::Reservation;
pub use reserve::{ReserveRequest, Reserved, ReservedLicense};
pub use withdrawal::{Withdrawal, WithdrawalRequest, WithdrawnLicense};

use lictor_storage::{Database, Migration};

/// What the tables are made from.
pub static MIGRATIONS: &[Migration] = lictor_storage::migrations!["0001_catalogue", "0002_order", "0003_license"];

/// The store of license-central. Cheap to clone.
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

impl From<lictor_storage::sqlx::Error> for crate::failure::Failure {
    fn from(error: lictor_storage::sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}
