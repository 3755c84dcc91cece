//! The licence server with real keys, real files, real connections and, where it must die, a real process.

mod clocks;
mod containers;
mod cost;
mod disk;
mod entries;
mod fake;
mod journal;
mod process;
mod programs;
mod quarantine;
mod rebase;
mod seats;
mod stage;
mod time;
