//! Plans: what one activation changes in one container, for every purpose for which a container ever changes.
//!
//! A plan is drawn on a [`Board`]: the licenses concerned with all their parts, and who holds them. Drawing it marks what
//! leaves, adds what comes in, and gives the changes that have to be issued. Nothing of it is public before the update is
//! issued: a plan that is released or lapses leaves no trace.

mod activate;
mod board;
mod entry;
mod leave;
mod lost;
mod renew;
mod replace;
mod request;
mod step;
mod transfer;

use std::collections::BTreeSet;

use lictor_clock::Timestamp;
use lictor_licensing::{
    ProductItem,
    id::{ActivationId, AllocationId, LicenseId},
};

pub use board::{Board, Holder, Situation, holding};
pub use lost::{GoesBack, lose_awaited, written_off_by};
pub use request::{Departure, Pick, Place, PlanRequest, Purpose};
pub use step::{Fact, Outcome, Stepping};

use super::{
    license::{Allocation, License, Planned},
    transfer::Transfer,
};

/// Where ids of new parts come from.
pub struct Fresh<'a>(pub &'a mut (dyn FnMut() -> AllocationId + Send));

impl Fresh<'_> {
    fn id(&mut self) -> AllocationId {
        (self.0)()
    }
}

impl std::fmt::Debug for Fresh<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fresh")
    }
}

/// Most licenses that one plan touches on its own wish.
pub const MAX_LICENSES: usize = 100;

/// A license with the product item that it was sold as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sold {
    /// The license.
    pub license: License,
    /// Its product item, as modelled.
    pub item: ProductItem,
}

/// A part that a plan is going to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The part.
    pub part: AllocationId,
    /// What is planned for it.
    pub planned: Planned,
    /// The license that its days go to when it is merged.
    pub merges_into: Option<LicenseId>,
}

/// What the container's entry of a license becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Add(Entry),
    /// It is there and becomes this.
    Replace(Entry),
    /// It goes.
    Withdraw,
}

/// An entry as it has to be programmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Deterministic CBOR of the product item, its quantity and end set.
    pub product_item: Vec<u8>,
    /// Seats; 0 when it is not counted.
    pub quantity: u32,
}

/// One change that has to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The license.
    pub license: LicenseId,
    /// What becomes of its entry.
    pub what: What,
}

/// A part that another activation's issued update takes out already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnItsWay {
    /// The license.
    pub license: LicenseId,
    /// SHA-256 of the container's device key, hex.
    pub container: String,
    /// The container's serial.
    pub serial: String,
    /// The activation.
    pub activation: ActivationId,
}

/// A plan, drawn and not yet written down.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Draft {
    /// The container that is changed; empty when none is.
    pub container: String,
    /// Its serial.
    pub serial: String,
    /// What has to be issued: what leaves, then what changes, then what comes in; each by license id.
    pub changes: Vec<Change>,
    /// Parts that come in.
    pub puts: Vec<Allocation>,
    /// Parts that are there and change.
    pub marks: Vec<Mark>,
    /// Parts that have left their container by date alone.
    pub gone: Vec<AllocationId>,
    /// Parts that are on their way out already.
    pub on_their_way: Vec<OnItsWay>,
    /// Containers that need a plan of their own.
    pub others: BTreeSet<(String, String)>,
    /// The container that must be blocked first.
    pub block_serial: String,
    /// The transfer that it begins.
    pub begins: Option<Transfer>,
    /// When the vendor took licenses back with this plan, whether anything is issued for it or not.
    pub withdrawn: Vec<LicenseId>,
}

impl Draft {
    /// Whether nothing is left to be done for it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.changes.is_empty() && self.on_their_way.is_empty() && self.others.is_empty()
    }
}

/// The earlier of two ends; an end that is not there never comes.
pub(crate) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
