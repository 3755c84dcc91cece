//! What goes into a pool and what comes out.

use std::time::Duration;

use lictor_clock::Timestamp;
use serde::Serialize;

use crate::access::{AccessMode, ClientInstance, Seats, Station};
use crate::item::Part;

/// One access to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The entry that is used; several may share the pool.
    pub part: Part,
    /// The running program.
    pub client: ClientInstance,
    /// The machine it counts for.
    pub station: Station,
    /// How it counts.
    pub mode: AccessMode,
    /// How many seats it takes.
    pub seats: Seats,
    /// How long the seats stay taken after the release.
    pub linger: Duration,
}

/// Why a pool refuses an access. Nothing is changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolRefusal {
    /// Not enough seats are free.
    #[error("{needed} more seats are needed, {free} of {total} are free")]
    Full {
        /// Seats that the access would take in addition.
        needed: u32,
        /// Seats that are free.
        free: u32,
        /// Seats of the pool.
        total: u32,
    },
    /// The station holds the entry in a way that excludes this access.
    #[error("the station holds the entry already")]
    Exclusive,
    /// The client instance holds seats as part of another station.
    #[error("this client instance holds seats on another station")]
    OtherStation,
    /// The same access was granted before with other values.
    #[error("the same request id was used for another access")]
    Reused,
}

/// What an access brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Seats that it took in addition to those taken before.
    pub new_seats: u32,
    /// Whether this very access was held already.
    pub repeated: bool,
}

/// One holder, for refusals and lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// On which machine.
    pub station: Station,
    /// In which mode.
    pub mode: AccessMode,
    /// How many seats the access asked for.
    pub seats: u32,
    /// Since when.
    pub since: Timestamp,
}

/// The numbers of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PoolReport {
    /// Seats of the pool; none when it is not counted.
    pub total: Option<u32>,
    /// Seats taken, lingering ones included.
    pub used: u64,
    /// Seats that are free; none when the pool is not counted.
    pub free: Option<u32>,
    /// Accesses in mode user limit.
    pub user_limit: u32,
    /// Accesses in mode station share.
    pub station_share: u32,
    /// Accesses in mode exclusive.
    pub exclusive: u32,
    /// Accesses that take no seat.
    pub no_user_limit: u32,
}
