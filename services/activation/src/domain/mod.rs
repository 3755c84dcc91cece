//! The rules that activation alone owns. Nothing here reads a clock, a random number or a database.

pub mod guess;
pub mod saga;
pub mod state;
