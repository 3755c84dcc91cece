//! The rules that this service alone owns. Nothing here reads a clock, a table or a socket.

pub mod challenge;
pub mod container;
pub mod plan;
pub mod record;
pub mod request;
pub mod rotation;
pub mod segment;
pub mod suspicion;
pub mod verdict;
