//! The rules that this service alone owns. Nothing here reads a clock, a table or a socket.

pub mod container;
pub mod plan;
pub mod request;
pub mod segment;
pub mod suspicion;
pub mod verdict;
