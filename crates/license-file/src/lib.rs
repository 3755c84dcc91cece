//! Files of remote programming: how a container tells its vendor what it holds, and how the vendor changes that.
//!
//! Everything here is pure. Time, random bytes and keys are arguments, so that the same code predicts a state at the
//! vendor's and reaches it in the container.
//!
//! | file | module | from, to |
//! |---|---|---|
//! | `.lif` | [`lif`] | vendor to customer: makes an empty container |
//! | `.rac` | [`context`] | container to vendor: what it holds, signed with its own key; also receipts |
//! | `.rau` | [`update`] | vendor to container: [`segment`]s, each one signed step of the [`chain`] |
//! | `.ram` | [`modified_context`] | stays with the vendor: what the container will hold |
//!
//! [`apply`] imports an update in two passes: the first verifies everything and changes nothing, the second gives one
//! step after the other for the caller's journal. [`issue`] is the vendor's side: planning a segment, and judging an
//! incoming context against the known chain. All bytes inside the [`frame`] are strict deterministic CBOR.

pub mod apply;
pub mod armor;
pub mod chain;
pub mod context;
pub mod device;
pub mod error;
pub mod evidence;
pub mod frame;
pub mod issue;
pub mod lif;
pub mod limits;
pub mod modified_context;
pub mod product_item;
mod roots;
pub mod seal;
pub mod segment;
pub mod state;
mod transition;
pub mod update;
pub mod verdict;
pub mod version;

pub use chain::{ContainerId, Digest};
pub use error::FileError;
pub use frame::FileType;
pub use version::RuntimeVersion;
