//! The files of remote programming under everything that can happen to them.

mod support;

mod checkpoints;
mod confusion;
mod frames;
mod golden;
mod hostile;
mod imports;
mod mutations;
mod plans;
mod product_items;
mod rebase_world;
mod rebases;
mod replay;
mod rotation;
mod sleepers;
mod small_world;
mod targets;
