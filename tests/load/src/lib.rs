//! Benchmarks against bare twins of the same run: the licence server, the issuing of updates, notifications.
//!
//! The licence server's twin speaks the same messages over the same TLS and does nothing else, so a ratio tells what the
//! licence server adds to its transport. Figures are CPU seconds and bytes from `/proc`, taken in turns (A B A B …), as medians of the
//! ratios of the rounds; speeds are printed beside them and say little on a busy machine. Nothing is asserted about time.

pub mod bare;
pub mod blocks;
pub mod client;
pub mod cold;
pub mod crowd;
pub mod figures;
pub mod issuing;
pub mod notify;
pub mod process;
pub mod provision;
pub mod report;
pub mod scenario;
pub mod wish;
