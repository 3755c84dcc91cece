//! Remote programming as every verb needs it: the vendor's activation service on one side, the licence server with its
//! containers on the other, and the steps between them, each in one place.
//!
//! A verb says what it wants ([`Change`]) and how it asks for it; [`Online`] does the rest: fresh context, request, import,
//! receipt, and going on after an interruption. [`by_files`] is the vendor's half of the same for files.

mod by_files;
mod choice;
mod online;
mod site;
mod tell;
mod vendor;

pub(crate) use by_files::{FilePair, FileWay, by_files};
pub(crate) use choice::{Pick, picks};
pub(crate) use online::{Change, Online, Step, silent};
pub(crate) use site::{HeldFirm, Site};
pub(crate) use tell::{activation_object, activation_row, activation_text, inspected};
pub(crate) use vendor::{Vendor, opened};
