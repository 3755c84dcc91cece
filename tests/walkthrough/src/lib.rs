//! Runs pages of documentation: every command that a page shows, in order, and compares what it prints with what the page
//! says that it prints. CONTRIBUTING.md has the rules for whoever writes such a page.

pub mod form;
pub mod page;
pub mod run;
pub mod shell;
