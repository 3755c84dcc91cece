//! The verbs of the `lictor` program.
//!
//! Everything here goes over gRPC: this crate knows no table and no key. Two programs link it. The all-in-one program
//! `lictor` offers every verb and adds its own with [`Program::with`]; the licence server's binary offers what customers
//! need, so that one image serves both.
//!
//! The command line is a contract: names, flags, exit codes and the keys of `--json` stay as documented in `docs/cli.md`,
//! which [`reference()`] writes from the very definitions that parse the arguments.

mod args;
mod ask;
mod config;
mod connect;
mod environment;
mod failure;
mod files;
mod output;
mod program;
mod qr;
mod reference;
mod remote;
mod request;
mod resume;
mod show;
mod table;
mod verbs;

pub use config::{Addresses, ClientConfig, ServerConfig};
pub use program::{Extra, Frame, Program, Scope, run};
pub use reference::reference;
