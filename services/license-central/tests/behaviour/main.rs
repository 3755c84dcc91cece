//! What license-central promises: the store on both engines, the whole service behind its sockets.

mod assignments;
mod blocks;
mod catalogue;
mod doors;
mod expiry;
mod histories;
mod life;
mod lost;
mod orders;
mod plans;
mod quantities;
mod rebases;
mod renewals;
mod replacement;
mod reservations;
mod returns;
mod service;
mod statements;
mod subscriptions;
mod transfers;
mod withdrawals;
mod world;
