//! The licence server with real keys, real files, real connections and, where it must die, a real process.

mod bad_input;
mod bad_keys;
mod clocks;
mod clones;
mod containers;
mod cost;
mod cut;
mod disk;
mod entries;
mod fake;
mod imports;
mod journal;
mod killed;
mod lying_clocks;
mod process;
mod programs;
mod quarantine;
mod rebase;
mod seats;
mod stage;
mod time;
mod verbs;
