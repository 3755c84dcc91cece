//! What activation promises, with the real license-central and the real push update generator beside it.

mod activate;
mod bad_input;
mod crash;
mod device;
mod guess;
mod push;
mod whole;
mod world;
