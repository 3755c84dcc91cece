//! A container as one firm knows it: its keys, and how far its chain is.

use lictor_clock::Timestamp;
use lictor_license_file::{
    ContainerId,
    device::{DeviceCounters, DeviceProfile},
};
use lictor_licensing::id::FirmCode;

use super::{
    suspicion::Suspicions,
    verdict::{Place, Standing},
};

/// Names one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainKey {
    /// The container.
    pub container: ContainerId,
    /// The firm whose chain it is; chains of different firms never meet.
    pub firm: FirmCode,
}

/// Who a container is, as far as the vendor knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which chain.
    pub key: ChainKey,
    /// Display name.
    pub serial: String,
    /// Keys, kind and the program that holds it.
    pub profile: DeviceProfile,
}

/// A chain with its modified context: what was proven, what was issued, and what the container will hold then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Whose chain.
    pub identity: Identity,
    /// Rises with a rebase only.
    pub epoch: u32,
    /// The place in the chain at counter 0.
    pub genesis: Place,
    /// Counter up to which there is proof.
    pub confirmed: u64,
    /// Newest counter that left the house.
    pub issued: u64,
    /// Newest counter whose bytes are fixed.
    pub reserved: u64,
    /// Counter before the newest checkpoint, 0 without one.
    pub file_base: u64,
    /// Vendor-owned state at `reserved`, encoded.
    pub state: Vec<u8>,
    /// Root version that the container proved to know.
    pub root_version: u64,
    /// Highest sequence number of a context so far.
    pub context_sequence: u64,
    /// The counter that this context showed.
    pub context_counter: u64,
    /// What support has to look at.
    pub suspicions: Suspicions,
    /// Highest device-owned counters that the container ever reported.
    pub counters: DeviceCounters,
    /// Name of the segment that blocked it, if it was blocked.
    pub blocked: Option<String>,
    /// Number of the newest event about this chain.
    pub version: u64,
    /// When its first context came in.
    pub first_seen_at: Timestamp,
    /// When the newest news of it came in.
    pub last_contact_at: Timestamp,
}

impl Chain {
    /// What verdicts start from.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        Standing {
            epoch: self.epoch,
            confirmed: self.confirmed,
            issued: self.issued,
            last_sequence: self.context_sequence,
            last_counter: self.context_counter,
        }
    }

    /// The counter that an update file has to start above: older segments are proven, or folded into a checkpoint.
    #[must_use]
    pub fn file_from(&self) -> u64 {
        self.confirmed.max(self.file_base)
    }

    /// Segments that an update file has to carry.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.reserved.saturating_sub(self.file_from())
    }

    /// Whether the container has proved nothing of the epoch that a rebase began. Until it does, every update file has to
    /// begin with the rebase.
    #[must_use]
    pub const fn awaits_rebase(&self) -> bool {
        self.epoch > 0 && self.confirmed == 0
    }

    /// The number for the next event about this chain; only under its lock.
    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}
