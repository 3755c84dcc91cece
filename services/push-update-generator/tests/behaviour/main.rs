//! The behaviour of the push update generator, on every engine that there is.

mod archive;
mod backup;
mod block;
mod bulk;
mod contexts;
mod crash;
mod crowd;
mod issuing;
mod rebase;
mod rotation;
mod service;
mod statements;
mod tables;
mod token;
mod vendors;
mod world;
