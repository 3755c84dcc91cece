//! The all-in-one program `lictor`: all verbs of `lictor_cli`, every service in one process (`lictor up`), and the main
//! job from start to end, checked (`lictor demo`).
//!
//! Nothing depends on this crate. It is a library so that a test can read the whole command line.

mod demo;
mod installation;
mod up;

use lictor_cli::{Program, Scope};

/// The program with all of its verbs.
#[must_use]
pub fn program() -> Program {
    Program::new(Scope::All).with(up::verb()).with(installation::verb()).with(demo::verb()).with(demo::work_verb())
}
