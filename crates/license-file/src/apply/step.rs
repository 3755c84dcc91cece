//! One applied segment.

use crate::FileError;
use crate::chain::Digest;
use crate::device::DeviceCounters;
use crate::segment::{Body, Content, Segment};
use crate::state::VendorState;
use crate::transition::{self, KeyChange, Surroundings};

/// What one segment did: everything that a journal has to make durable in one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Counter before; with a checkpoint or a rebase the container may have stood elsewhere than the segment's own start.
    pub from: u64,
    /// Counter after.
    pub to: u64,
    /// The whole vendor-owned state afterwards.
    pub state: VendorState,
    /// Digest of that state, equal to what the vendor signed.
    pub state_digest: Digest,
    /// Whether the step began a new epoch. Kept evidence of forks and rollbacks is settled by it.
    pub rebased: bool,
    /// What the device-owned counters must at least be from now on; empty but after a rebase. Merge it in, see
    /// [`DeviceCounters::merge`].
    pub floor: DeviceCounters,
    /// Changes of the secret store.
    pub keys: Vec<KeyChange>,
    /// The segment with its signatures: the proof of this step.
    pub segment: Vec<u8>,
    /// One line for people; may be empty.
    pub note: String,
}

impl Step {
    pub(super) fn take(
        state: &VendorState,
        segment: &Segment,
        body: &Body,
        around: Surroundings<'_>,
    ) -> Result<Self, FileError> {
        let (next, keys) = match &body.content {
            Content::Operations(list) => {
                let (mut next, keys) = transition::operations(state, list, around)?;
                transition::advance(&mut next, segment.hash())?;
                (next, keys)
            }
            Content::Checkpoint(whole) | Content::Rebase { state: whole, .. } => {
                let (mut next, keys) = transition::checkpoint(state, whole, around)?;
                transition::advance_to(&mut next, segment.header(), segment.hash());
                (next, keys)
            }
        };
        let state_digest = next.digest();
        if next.counter != segment.header().to || next.head != segment.head() || state_digest != body.state_digest {
            return Err(FileError::DigestMismatch);
        }
        Ok(Self {
            from: state.counter,
            to: next.counter,
            state: next,
            state_digest,
            rebased: segment.is_rebase(),
            floor: if let Content::Rebase { floor, .. } = &body.content { floor.clone() } else { <_>::default() },
            keys,
            segment: segment.to_bytes(),
            note: body.note.clone(),
        })
    }
}
