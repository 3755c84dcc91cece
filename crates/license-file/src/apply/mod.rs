//! Importing an update in two passes.
//!
//! [`verify`] is the first: it checks the frame, the root documents, every signature, who the file is for, the order of
//! its segments and where the container stands, and opens and reads every body that will be applied. It changes
//! nothing, and whatever it refuses stays good for later.
//!
//! [`Import::next_step`] is the second: it works on a copy, one segment after the other, and gives one [`Step`] for the
//! caller's journal each time. It stops at the first segment that does not fit the state; the steps before it hold.

mod position;
mod rebase;
mod step;

use std::collections::VecDeque;

use lictor_licensing::id::FirmCode;
use lictor_signing::TrustedRoot;

pub use crate::transition::KeyChange;
pub use step::Step;

use crate::FileError;
use crate::device::DeviceProfile;
use crate::roots;
use crate::seal::SealingKey;
use crate::segment::{Body, Question, Segment, SegmentHeader};
use crate::state::VendorState;
use crate::transition::Surroundings;
use crate::update::UpdateFile;
use crate::verdict::{SegmentResult, VerdictCode};

/// The container that an update is imported into.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Keys, kind and program.
    pub profile: &'a DeviceProfile,
    /// The private sealing key.
    pub sealing: &'a SealingKey,
}

/// A verified import, ready to be applied step by step.
#[derive(Clone, Debug)]
pub struct Import {
    profile: DeviceProfile,
    root: TrustedRoot,
    root_changed: bool,
    state: VendorState,
    results: Vec<SegmentResult>,
    waiting: VecDeque<(Segment, Body)>,
    stopped: bool,
}

/// First pass over the bytes of an update file. `root` and `state` are those of the firm that the file is of, see
/// [`UpdateFile::info`].
///
/// # Errors
/// The first reason to refuse the whole file. Nothing was changed.
pub fn verify(file: &[u8], device: Device<'_>, root: &TrustedRoot, state: &VendorState) -> Result<Import, FileError> {
    verify_answering(file, device, root, state, &[])
}

/// The same for a container that has asked for a rebase. `questions` are the contexts with a challenge that it wrote for
/// this firm in its present epoch and remembers; only a rebase that answers one of them is taken. After the rebase all of
/// them are spent.
///
/// # Errors
/// As [`verify`].
pub fn verify_answering(
    file: &[u8],
    device: Device<'_>,
    root: &TrustedRoot,
    state: &VendorState,
    questions: &[Question],
) -> Result<Import, FileError> {
    let update = UpdateFile::read(file)?;
    let newest = roots::follow(root, &update.roots)?;
    let heads = position::KnownHeads::of(state);
    let rebase = rebase::ahead(&update.segments, state);
    let epoch = rebase.map_or(state.epoch, |segment| segment.header().epoch);
    for segment in &update.segments {
        // What was applied before is known by its hash; its key may have been retired since.
        if !heads.contains(segment) {
            verify_segment(segment, device.profile, &newest, state, epoch)?;
        }
    }
    require_sequence(&update.segments)?;
    let located = match rebase {
        Some(segment) => {
            rebase::check(segment, device.profile, state, questions)?;
            position::Located { skipped: Vec::new(), apply: update.segments.iter().collect() }
        }
        None => position::locate(&update.segments, state, &heads)?,
    };
    let mut waiting = VecDeque::new();
    for segment in located.apply {
        let body = open(segment, device)?;
        waiting.push_back((segment.clone(), body));
    }
    Ok(Import {
        profile: device.profile.clone(),
        root_changed: newest.version() != root.version(),
        root: newest,
        state: state.clone(),
        results: located.skipped.into_iter().map(|header| result(header, VerdictCode::AlreadyApplied)).collect(),
        waiting,
        stopped: false,
    })
}

impl Import {
    /// The newer root document that the file brought, if it did. Journal it before the first step.
    #[must_use]
    pub fn new_root(&self) -> Option<&TrustedRoot> {
        self.root_changed.then_some(&self.root)
    }

    /// The root document that holds after this import.
    #[must_use]
    pub const fn root(&self) -> &TrustedRoot {
        &self.root
    }

    /// Whether there is anything left to apply. An import without news is a success that writes nothing.
    #[must_use]
    pub fn has_steps(&self) -> bool {
        !self.stopped && !self.waiting.is_empty()
    }

    /// How many segments are left.
    #[must_use]
    pub fn steps_left(&self) -> usize {
        if self.stopped { 0 } else { self.waiting.len() }
    }

    /// The state after the steps so far.
    #[must_use]
    pub const fn state(&self) -> &VendorState {
        &self.state
    }

    /// What became of the segments so far, for the receipt.
    #[must_use]
    pub fn results(&self) -> &[SegmentResult] {
        &self.results
    }

    /// Applies the next segment to a copy of the state. Journal the step, then ask for the next; none means the end.
    ///
    /// # Errors
    /// When the segment does not fit the state. The state stays as it was, and no further step follows.
    pub fn next_step(&mut self) -> Option<Result<Step, FileError>> {
        if self.stopped {
            return None;
        }
        let (segment, body) = self.waiting.pop_front()?;
        let around = Surroundings { profile: &self.profile, certifier: None };
        match Step::take(&self.state, &segment, &body, around) {
            Ok(step) => {
                self.results.push(result(segment.header(), VerdictCode::Applied));
                self.state = step.state.clone();
                Some(Ok(step))
            }
            Err(error) => {
                self.results.push(result(segment.header(), error.verdict()));
                self.stopped = true;
                Some(Err(error))
            }
        }
    }
}

fn result(header: &SegmentHeader, verdict: VerdictCode) -> SegmentResult {
    SegmentResult { from: header.from, to: header.to, verdict }
}

/// Signature first, then whom the segment is for.
fn verify_segment(
    segment: &Segment,
    profile: &DeviceProfile,
    root: &TrustedRoot,
    state: &VendorState,
    epoch: u32,
) -> Result<(), FileError> {
    let header = segment.header();
    if let Err(error) = segment.verify(root) {
        // Another vendor's file never verifies here. Saying whose it claims to be helps people; it is refused anyway.
        return Err(if header.firm_code == state.firm_code { error } else { wrong_vendor(state.firm_code, header) });
    }
    if header.firm_code != state.firm_code {
        return Err(wrong_vendor(state.firm_code, header));
    }
    if header.container_id != state.container_id || header.device_keys != profile.keys.id() {
        return Err(FileError::WrongContainer);
    }
    if header.epoch != epoch {
        return Err(FileError::WrongEpoch { have: state.epoch, found: header.epoch });
    }
    Ok(())
}

fn wrong_vendor(expected: FirmCode, header: &SegmentHeader) -> FileError {
    FileError::WrongVendor { expected, found: header.firm_code.get() }
}

/// Every segment must sign the head that the one before it in the file leads to.
fn require_sequence(segments: &[Segment]) -> Result<(), FileError> {
    let linked = segments.windows(2).all(|pair| {
        let (before, after) = (pair[0].header(), pair[1].header());
        before.to == after.from && pair[0].head() == after.previous_head && before.epoch == after.epoch
    });
    if linked { Ok(()) } else { Err(FileError::BadSequence) }
}

/// Checks what this program must be able to do, then opens the sealed body.
fn open(segment: &Segment, device: Device<'_>) -> Result<Body, FileError> {
    let header = segment.header();
    if header.min_runtime > device.profile.runtime {
        return Err(FileError::RuntimeTooOld { need: header.min_runtime, have: device.profile.runtime });
    }
    // This version knows no extension at all.
    if let Some(unknown) = header.critical.first() {
        return Err(FileError::UnknownCritical(format!("extension {unknown}")));
    }
    segment.open(device.sealing)
}
