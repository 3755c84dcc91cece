//! The rules that license-central alone owns. Nothing here reads a clock, a random number or a database.

pub mod allocation;
pub mod catalogue;
pub mod choice;
pub mod diff;
pub mod expiry;
pub mod history;
pub mod license;
pub mod order;
pub mod page;
pub mod plan;
pub mod policy;
pub mod renewal;
pub mod reservation;
pub mod subscription;
pub mod ticket_key;
pub mod transfer;
