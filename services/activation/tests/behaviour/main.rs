//! What activation promises, with the real license-central and the real push update generator beside it.

mod activate;
mod bad_input;
mod blocked;
mod crash;
mod crash_kinds;
mod front;
mod give_back;
mod hostile;
mod lent_renewal;
mod limit;
mod pull;
mod push;
mod rebase;
mod replace;
mod schedule;
mod simulation;
mod stalled;
mod transfer;
mod whole;
mod withdraw;
mod world;
