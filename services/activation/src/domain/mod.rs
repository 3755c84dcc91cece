//! The rules that activation alone owns. Nothing here reads a clock, a random number or a database.

pub mod limit;
pub mod proxy;
pub mod purpose;
pub mod saga;
pub mod schedule;
pub mod state;
