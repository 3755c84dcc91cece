//! The RPCs: requests are parsed here, answers are put into words here, and nothing is decided here.

mod container;
mod parse;
mod present;
mod root;
mod update;
mod vendor;

pub(crate) use container::Containers;
pub(crate) use update::Updates;
pub(crate) use vendor::Vendors;
