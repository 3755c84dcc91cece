//! Seats as many clients want them at once: waiting for them, access rules about them, events that tell of them.

mod crowd;
mod observing;
mod programs;
mod rules;
mod simulation;
#[expect(dead_code, reason = "shared with the other tests, which use more of it")]
#[path = "../it/stage/mod.rs"]
mod stage;
mod waiting;
