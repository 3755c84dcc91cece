//! The licence server with real keys, real files, real connections and, where it must die, a real process.

mod common;
mod containers;
mod cost;
mod disk;
mod fake;
mod journal;
mod process;
mod programs;
mod seats;
