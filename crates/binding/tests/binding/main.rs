//! Behaviour of seals.

mod bytes;
mod drift;
mod opening;
mod surroundings;
