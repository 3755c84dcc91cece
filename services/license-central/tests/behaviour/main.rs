//! What license-central promises: the store on both engines, the whole service behind its sockets.

mod catalogue;
mod orders;
mod reservations;
mod service;
mod withdrawals;
mod world;
