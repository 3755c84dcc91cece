//! The facts that this service announces, as rows of its outbox.

mod feed;

pub use feed::EventFeed;

use lictor_api::{event::v1 as wire, types::v1 as types};
use lictor_broker::Announcement;
use lictor_clock::Timestamp;
use lictor_licensing::{binding::ContainerKind, id::EventId};
use lictor_storage::{StorageError, Tx};

use crate::domain::{
    container::{ChainKey, Identity},
    suspicion::Suspicion,
};

/// The name of this service in its events.
pub const SOURCE: &str = "push-update-generator";

/// What happened to a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Its container was seen for the first time.
    Registered {
        /// What the container is bound to.
        kind: ContainerKind,
    },
    /// A segment left the house.
    Issued {
        /// Epoch of the chain.
        epoch: u32,
        /// Counter before it.
        from: u64,
        /// Counter after it.
        to: u64,
        /// The caller's name for it.
        reference: String,
    },
    /// Everything up to a counter is in the container.
    Confirmed {
        /// Epoch of the chain.
        epoch: u32,
        /// The counter.
        counter: u64,
        /// The callers' names for what was proven, oldest first.
        references: Vec<String>,
    },
    /// Support has to look at it.
    Suspected {
        /// What is suspected.
        suspicion: Suspicion,
        /// One sentence: what was seen.
        evidence: String,
    },
    /// It began a new epoch.
    Rebased {
        /// The epoch.
        epoch: u32,
        /// For people: why.
        reason: String,
    },
    /// From now on it gets withdrawals only.
    Blocked {
        /// For people: why.
        reason: String,
    },
}

/// Where and when a fact happened.
#[derive(Clone, Copy, Debug)]
pub struct Happening<'a> {
    /// Whose chain.
    pub key: &'a ChainKey,
    /// Display name of the container.
    pub serial: &'a str,
    /// The number of this event about the chain.
    pub version: u64,
    /// When.
    pub now: Timestamp,
    /// Fresh random bytes for the event's id.
    pub random: [u8; 10],
}

impl<'a> Happening<'a> {
    /// A fact about the container with this identity.
    #[must_use]
    pub fn of(identity: &'a Identity, version: u64, now: Timestamp, random: [u8; 10]) -> Self {
        Self { key: &identity.key, serial: &identity.serial, version, now, random }
    }
}

/// Writes a fact as part of the change that makes it true.
///
/// # Errors
/// When the database refuses; the change is then undone with it.
pub async fn announce(tx: &mut Tx, happening: Happening<'_>, fact: Fact) -> Result<(), StorageError> {
    lictor_broker::announce(tx, telling(happening, fact)).await
}

/// A fact as it is announced.
#[must_use]
pub fn telling(happening: Happening<'_>, fact: Fact) -> Announcement {
    Announcement {
        id: EventId::new(happening.now, happening.random).to_string(),
        source: SOURCE,
        subject: subject(happening.key),
        aggregate_sequence: happening.version,
        firm_code: happening.key.firm.get(),
        time: happening.now,
        data: data(happening, fact),
    }
}

/// The subject of all events about a chain.
#[must_use]
pub fn subject(key: &ChainKey) -> String {
    format!("{}/{}", key.container, key.firm)
}

fn data(happening: Happening<'_>, fact: Fact) -> wire::event::Data {
    use wire::event::Data;

    let container_id = happening.key.container.to_string();
    let serial = happening.serial.to_owned();
    match fact {
        Fact::Registered { kind } => Data::ContainerRegistered(wire::ContainerRegistered {
            container_id,
            serial,
            kind: types::ContainerKind::from(kind).into(),
        }),
        Fact::Issued { epoch, from, to, reference } => {
            Data::UpdateIssued(wire::UpdateIssued { container_id, serial, epoch, from, to, reference })
        }
        Fact::Confirmed { epoch, counter, references } => {
            Data::UpdateConfirmed(wire::UpdateConfirmed { container_id, serial, epoch, counter, references })
        }
        Fact::Suspected { suspicion, evidence } => Data::ContainerSuspected(wire::ContainerSuspected {
            container_id,
            serial,
            suspicion: suspicion.name().to_owned(),
            evidence,
        }),
        Fact::Rebased { epoch, reason } => {
            Data::ContainerRebased(wire::ContainerRebased { container_id, serial, epoch, reason })
        }
        Fact::Blocked { reason } => Data::ContainerBlocked(wire::ContainerBlocked { container_id, serial, reason }),
    }
}
