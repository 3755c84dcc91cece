//! The licence server with real keys, real files, real connections and, where it must die, a real process.

mod containers;
mod cost;
mod disk;
mod fake;
mod journal;
mod process;
mod programs;
mod seats;
mod stage;
mod time;
