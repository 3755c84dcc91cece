//! The verbs of remote programming, run as people run them: against real services, with real files and terminals.

mod files;
mod licenses;
mod loans;
mod pull;
mod remote;
mod requests;
mod resumed;
mod terminal;
mod wizard;
mod world;
