//! The rules that this service alone owns. Nothing here reads a clock, a socket or a table: time and randomness come in
//! as arguments.

pub mod address;
pub mod allow;
pub mod cloud_event;
pub mod delivery;
pub mod destination;
pub mod event;
mod event_data;
pub mod filter;
pub mod kind;
pub mod limits;
pub mod modules;
pub mod options;
pub mod outcome;
pub mod pace;
pub mod record;
pub mod replay;
pub mod retry_after;
pub mod schedule;
pub mod scope;
pub mod seal;
pub mod secret;
pub mod target;
pub mod template;
