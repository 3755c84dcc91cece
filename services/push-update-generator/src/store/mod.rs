//! The tables of this service. One file per table or pair of tables; statements are the same text on both engines,
//! except how [`given`] hands them the rows of a crowd.

pub mod container;
pub mod context;
pub mod crowd;
pub mod given;
pub mod issued;
pub mod proposal;
pub mod rebase;
pub mod refusal;
pub mod resigned;
pub mod restore;
pub mod row;
pub mod segment;
pub mod vendor;

use lictor_storage::Migration;

/// The schema's name on PostgreSQL.
pub const SCHEMA: &str = "push_update_generator";

/// All steps of the schema.
pub static MIGRATIONS: &[Migration] = lictor_storage::migrations!["0001_chain", "0002_refusal", "0003_rotation"];
