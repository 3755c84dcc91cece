//! Judging a context against what the vendor knows of the chain.

use crate::chain::{ContainerId, Digest, genesis};
use crate::context::VerifiedContext;
use crate::evidence::Evidence;

/// One known position of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// Counter after a segment, or 0 for the start.
    pub counter: u64,
    /// Head at that counter.
    pub head: Digest,
    /// Digest of the vendor-owned state there.
    pub state_digest: Digest,
}

/// What the vendor knows of one container's chain for one firm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainView {
    /// The container.
    pub container_id: ContainerId,
    /// Its epoch.
    pub epoch: u32,
    /// Counter up to which the vendor has proof.
    pub confirmed: u64,
    /// Known positions, ascending without gaps, at least from `confirmed` to the newest issued segment.
    pub links: Vec<ChainLink>,
    /// Highest context sequence seen, and the hash of that context; none before the first context.
    pub last_context: Option<(u64, Digest)>,
    /// Bytes that the vendor gave out for a fresh context and that were not used yet.
    pub open_nonce: Option<[u8; 32]>,
}

/// What a context means for the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextVerdict {
    /// The container is where the chain says; everything up to `counter` is proven.
    Confirms {
        /// The proven counter.
        counter: u64,
    },
    /// An earlier context: it proves nothing new, and its state is ignored.
    Old,
    /// The container knows segments that this vendor does not: the vendor lost something.
    AheadUnknown {
        /// Counter of the container.
        counter: u64,
    },
    /// The container stands behind what it once proved: a restored backup or a copy.
    RollbackSuspected {
        /// Counter of the container.
        counter: u64,
        /// What was proven before.
        confirmed: u64,
    },
    /// The container holds another history, or evidence of one.
    ForkReported {
        /// Counter where the histories differ, as far as known.
        counter: u64,
    },
    /// The position is right, but the state in it is not what the vendor computed.
    StateDiffers {
        /// Counter of the container.
        counter: u64,
    },
    /// The chain of another container, or of another epoch.
    UnknownContainer,
}

impl ContextVerdict {
    /// The name in interfaces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirms { .. } => "ok",
            Self::Old => "old",
            Self::AheadUnknown { .. } => "ahead-unknown",
            Self::RollbackSuspected { .. } => "rollback-suspected",
            Self::ForkReported { .. } => "fork-reported",
            Self::StateDiffers { .. } => "state-differs",
            Self::UnknownContainer => "unknown-container",
        }
    }
}

impl ChainView {
    /// The view of a container seen for the first time: nothing was ever issued for it.
    #[must_use]
    pub fn first(verified: &VerifiedContext) -> Self {
        let context = &verified.context;
        let state = crate::state::VendorState::genesis(&context.keys.signing, context.firm_code);
        let start = ChainLink { counter: 0, head: state.head, state_digest: state.digest() };
        Self {
            container_id: state.container_id,
            epoch: 0,
            confirmed: 0,
            links: vec![start],
            last_context: None,
            open_nonce: None,
        }
    }

    /// Judges a verified context. Nothing is changed; the caller records what the verdict tells it to.
    #[must_use]
    pub fn classify(&self, verified: &VerifiedContext) -> ContextVerdict {
        let context = &verified.context;
        let counter = context.counter;
        if context.container_id() != self.container_id || context.epoch != self.epoch {
            return ContextVerdict::UnknownContainer;
        }
        // The same file again, however often it is sent by mistake.
        if self.last_context.is_some_and(|(_, hash)| hash == verified.hash) {
            return if counter >= self.confirmed { ContextVerdict::Confirms { counter } } else { ContextVerdict::Old };
        }
        let newest = self.links.last().map_or(0, |link| link.counter);
        if counter > newest {
            return ContextVerdict::AheadUnknown { counter };
        }
        let link = self.links.iter().find(|link| link.counter == counter);
        if link.is_some_and(|link| link.head != context.head) {
            return ContextVerdict::ForkReported { counter };
        }
        if let Some(at) = reported_fork(&context.evidence) {
            return ContextVerdict::ForkReported { counter: at };
        }
        let rollback = ContextVerdict::RollbackSuspected { counter, confirmed: self.confirmed };
        let fresh = context.vendor_nonce.is_some() && context.vendor_nonce == self.open_nonce;
        let repeated = self.last_context.is_some_and(|(sequence, _)| context.sequence == sequence);
        let later = self.last_context.is_none_or(|(sequence, _)| context.sequence > sequence);
        if counter < self.confirmed {
            // Behind what was proven: an old file, unless it shows that it was written after that proof.
            return if fresh || later || repeated { rollback } else { ContextVerdict::Old };
        }
        if repeated {
            // One number of the sequence for two different contexts: the container lost its memory in between.
            return rollback;
        }
        if !later {
            // An honest container counts up; at the confirmed position an earlier number is only an older file.
            return if counter > self.confirmed || fresh { rollback } else { ContextVerdict::Old };
        }
        if link.is_some_and(|link| link.state_digest != context.state_digest) {
            return ContextVerdict::StateDiffers { counter };
        }
        ContextVerdict::Confirms { counter }
    }

    /// Whether a head is the start of this container's chain in its first epoch.
    #[must_use]
    pub fn is_genesis(verified: &VerifiedContext) -> bool {
        let context = &verified.context;
        context.epoch == 0
            && context.counter == 0
            && context.head == genesis(&context.keys.signing, context.firm_code, 0, None)
    }
}

fn reported_fork(evidence: &[Evidence]) -> Option<u64> {
    evidence.iter().find_map(|piece| match piece {
        Evidence::Fork { at, .. } => Some(*at),
        _ => None,
    })
}
