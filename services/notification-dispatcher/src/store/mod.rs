//! Tables: what is stored and how it changes. Everything that changes deliveries does so in a transaction that begins
//! with [`ledger::lock`].

pub mod attempt;
pub mod delivery;
pub mod destination;
pub mod event;
pub mod feed;
pub mod forget;
pub mod fresh;
pub mod knowledge;
pub mod ledger;
pub mod listing;
pub mod measure;
pub mod page;
pub mod quarantine;
pub mod replay;
pub mod report;
mod rows;

use lictor_storage::Migration;

/// The tables of this service.
pub static MIGRATIONS: &[Migration] =
    lictor_storage::migrations!["0001_event", "0002_destination", "0003_delivery", "0004_replay", "0005_report"];

/// PostgreSQL schema of this service.
pub const SCHEMA: &str = "notification_dispatcher";

/// The name under which this service remembers how far it has read each source.
pub const CONSUMER: &str = "notification-dispatcher";
