//! The licence model, free of I/O: what a license says, which license serves a request, and why a request is refused.
//!
//! - [`item`]: product items with modules and their [`options`], as the vendor signs them.
//! - [`effective`]: what an entry says with everything it inherits, and where its state lives.
//! - [`state`]: what the device adds: usage start, used units, written data.
//! - [`pool`]: who holds which seats.
//! - [`mod@decide`]: a request against all candidates, giving a choice or a [`refusal`] with one reason for each.
//! - [`id`], [`ticket`], [`error`]: names and failures that all parts share.

pub mod access;
pub mod binding;
pub mod candidate;
mod crockford;
pub mod decide;
pub mod effective;
pub mod error;
pub mod feature;
pub mod id;
pub mod item;
pub mod options;
pub mod pool;
pub mod refusal;
mod set;
pub mod split;
pub mod state;
pub mod text;
pub mod ticket;

pub use access::{AccessId, AccessMode, AccessModes, ClientInstance, Location, Origin, Request, Seats, Station};
pub use binding::{Binding, Bindings, ContainerKind};
pub use decide::{Candidate, Choice, GrantError, Situation, decide, grant};
pub use effective::{EffectiveEntry, Source, StatePlaces};
pub use error::{ErrorCode, Problem};
pub use feature::FeatureMap;
pub use id::{FirmCode, ProductCode};
pub use item::{ItemError, ModuleItem, Part, ProductItem};
pub use options::{OptionKind, OptionKinds, Options, Quantity};
pub use pool::{ItemSeats, Pool, PoolRefusal};
pub use refusal::{Reason, Refusal, RefusalLine};
pub use state::{EntryState, PartState};
pub use text::Text;
pub use ticket::TicketCode;
