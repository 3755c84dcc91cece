//! The behaviour of the push update generator, on every engine that there is.

mod contexts;
mod crash;
mod device;
mod issuing;
mod service;
mod statements;
mod tables;
mod vendors;
mod world;
