//! When a container takes a rebase: the only way into another epoch, and never without having asked for it.

use crate::FileError;
use crate::chain::genesis;
use crate::device::DeviceProfile;
use crate::limits::MAX_EPOCH_STEP;
use crate::segment::{Question, Segment, SegmentKind};
use crate::state::VendorState;

/// The rebase that a file begins with, when it leads into a later epoch than the container's. One of the container's own
/// epoch is a segment like every other: it was applied, or it is a fork.
pub(super) fn ahead<'f>(segments: &'f [Segment], state: &VendorState) -> Option<&'f Segment> {
    segments.first().filter(|segment| segment.is_rebase() && segment.header().epoch > state.epoch)
}

/// Checks a verified rebase against the container. The position in the old chain does not matter: that chain is what
/// went wrong.
pub(super) fn check(
    segment: &Segment,
    profile: &DeviceProfile,
    state: &VendorState,
    questions: &[Question],
) -> Result<(), FileError> {
    let header = segment.header();
    let SegmentKind::Rebase { closes, answers } = &header.kind else {
        return Err(FileError::BadSequence);
    };
    // A far leap would use up the epochs, and with them all ways back.
    if header.epoch.saturating_sub(state.epoch) > MAX_EPOCH_STEP {
        return Err(FileError::WrongEpoch { have: state.epoch, found: header.epoch });
    }
    if header.previous_head != genesis(&profile.keys.signing, header.firm_code, header.epoch, Some(closes)) {
        return Err(FileError::BadSequence);
    }
    if !questions.contains(answers) {
        return Err(FileError::NotAnAnswer);
    }
    Ok(())
}
