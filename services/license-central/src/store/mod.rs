//! The tables of license-central. Statements are the same on both engines.

mod allocation;
mod assignment;
mod block;
mod catalogue;
mod customer;
mod due;
mod expiry;
mod history;
mod license;
mod lost;
mod order;
mod plan;
mod rebase;
mod redirect;
mod renewal;
mod reservation;
mod sql;
mod transfer;
mod withdrawal;

pub use assignment::{Assignee, Assigning, AssignmentRow, MAX_SERIALS};
pub use block::BlockedContainer;
pub use catalogue::{Applied, Before, ItemRow};
pub use customer::CustomerRow;
pub use due::DueWork;
pub use expiry::Swept;
pub use history::{HistoryOf, MAX_FACTS};
pub use license::LicenseFilter;
pub use order::{MadeOrder, OrderRow, TicketRow};
pub use plan::Plan;
pub use rebase::{CountedRebase, RebaseNote};
pub use renewal::DueRenewal;
pub use reservation::Reservation;

use lictor_storage::{Database, Migration};

/// What the tables are made from.
pub static MIGRATIONS: &[Migration] = lictor_storage::migrations![
    "0001_catalogue",
    "0002_order",
    "0003_license",
    "0004_plan",
    "0005_dates",
    "0006_block"
];

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
