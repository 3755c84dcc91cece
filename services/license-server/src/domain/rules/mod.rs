//! Access rules: who may take which seats, and for whom seats are kept free.
//!
//! The rules are one TOML file. They are read from top to bottom; the first `allow` or `deny` that fits decides, and
//! `default` does when none fits. `reserve` does not decide: it keeps seats free for the callers that fit it. The file
//! carries its own tests: a file whose tests fail is not taken, so that nobody locks himself out by a typing error.
//!
//! What a rule can rely on differs: addresses are those of the connection, labels and images come from the container
//! engine through the attestor, but `user` and `host` are what the program says about itself.

mod caller;
mod file;
mod pattern;
mod reserve;
mod verdict;

pub use caller::{Caller, Wish};
pub use file::{MAX_RULE_NAME_BYTES, MAX_RULES, MAX_RULES_BYTES, Problem, Rules};
pub use reserve::{Reservation, room_beside};
pub use verdict::{Decision, Effect};
