//! Where the segments of a file meet the chain of a container.

use crate::FileError;
use crate::chain::Digest;
use crate::segment::{Segment, SegmentHeader, SegmentKind};
use crate::state::VendorState;

/// The heads that a container can still name: from its last checkpoint to where it stands.
pub(super) struct KnownHeads {
    base: u64,
    heads: Vec<Digest>,
    hashes: Vec<Digest>,
}

impl KnownHeads {
    pub(super) fn of(state: &VendorState) -> Self {
        Self { base: state.base_counter, heads: state.heads(), hashes: state.segment_hashes.clone() }
    }

    fn at(&self, counter: u64) -> Option<&Digest> {
        self.heads.get(usize::try_from(counter.checked_sub(self.base)?).ok()?)
    }

    /// Hash of the applied segment that led to `counter`.
    fn segment(&self, counter: u64) -> Option<Digest> {
        let place = counter.checked_sub(self.base)?.checked_sub(1)?;
        self.hashes.get(usize::try_from(place).ok()?).copied()
    }

    /// Whether exactly this segment was applied: the same place in the same chain, by hash.
    pub(super) fn contains(&self, segment: &Segment) -> bool {
        self.at(segment.header().to).is_some_and(|head| *head == segment.head())
    }
}

/// A file against a position: what is already there, and what is to be applied.
pub(super) struct Located<'f> {
    pub(super) skipped: Vec<&'f SegmentHeader>,
    pub(super) apply: Vec<&'f Segment>,
}

/// `segments` are verified and follow each other.
pub(super) fn locate<'f>(
    segments: &'f [Segment],
    state: &VendorState,
    known: &KnownHeads,
) -> Result<Located<'f>, FileError> {
    // Up to the container's counter every segment must be one that was applied. Before the last checkpoint the
    // container knows no hashes any more; there the segments commit to the later ones, which are compared.
    for segment in segments.iter().filter(|segment| segment.header().to <= state.counter) {
        let at = segment.header().to;
        if known.at(at).is_some_and(|head| *head != segment.head()) {
            return Err(fork(segment, known));
        }
    }
    let start = segments.iter().position(|segment| segment.header().to > state.counter);
    let (skipped, ahead) = segments.split_at(start.unwrap_or(segments.len()));
    let Some(first) = ahead.first() else {
        return Ok(Located { skipped: skipped.iter().map(Segment::header).collect(), apply: Vec::new() });
    };
    if let Some(entry) = ahead.iter().position(|segment| segment.header().accepts(state.counter, &state.head)) {
        // Whatever lies between the container and a checkpoint that accepts it is folded into that checkpoint.
        let (folded, apply) = ahead.split_at(entry);
        let skipped = skipped.iter().chain(folded).map(Segment::header).collect();
        return Ok(Located { skipped, apply: apply.iter().collect() });
    }
    Err(refusal(first, ahead, state, known))
}

/// Nothing in the file continues from here: either something is missing, or the histories differ.
fn refusal(first: &Segment, ahead: &[Segment], state: &VendorState, known: &KnownHeads) -> FileError {
    let header = first.header();
    if header.from == state.counter && header.previous_head != state.head {
        return fork(first, known);
    }
    let other_history = |segment: &&Segment| match &segment.header().kind {
        SegmentKind::Ordinary | SegmentKind::Rebase { .. } => false,
        SegmentKind::Checkpoint { accepts } => {
            accepts.iter().any(|(counter, head)| *counter == state.counter && *head != state.head)
        }
    };
    match ahead.iter().find(other_history) {
        Some(segment) => fork(segment, known),
        None => FileError::Gap { have: state.counter, need: header.from },
    }
}

fn fork(segment: &Segment, known: &KnownHeads) -> FileError {
    let at = segment.header().to;
    FileError::Fork { at, known: known.segment(at), other: segment.to_bytes() }
}
