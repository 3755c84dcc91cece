//! What may be reserved on a chain, decided without any I/O: the chain as it was locked goes in, a segment or the reason
//! why there is none yet comes out.

use std::sync::Arc;

use lictor_clock::Timestamp;
use lictor_license_file::{Digest, limits::MAX_SEGMENT_BYTES, state::VendorState};
use lictor_licensing::error::Problem;
use lictor_signing::TrustedRoot;

use crate::{
    archive::End,
    domain::{
        container::Chain,
        plan::{MOST_PENDING_BYTES, Means, Plan, certifies, must_fold, plan},
        request::Job,
        segment::{Purpose, SegmentState},
    },
    keys::ProductSecret,
    store::{container::Locked, segment::Segment},
};

/// What a request brings along to the chain's lock.
#[derive(Clone)]
pub(super) struct Prepared {
    /// The firm's newest root document, as far as this run knows.
    pub(super) root: Arc<TrustedRoot>,
    /// What product keys come from.
    pub(super) secret: ProductSecret,
    /// A certificate for the container's lease key, once one was asked for.
    pub(super) certificate: Option<Vec<u8>>,
}

/// Why nothing can be reserved at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The archive knows more than the tables.
    Behind,
    /// The archive lacks what was issued before it was there.
    Unarchived,
    /// A root document was made that this run does not know.
    NewRoot(u64),
    /// The chain needs a certificate first.
    Uncertified,
    /// Segments of the chain are on their way, and they have to end in this epoch.
    InWork,
}

/// What stands in the way of a job, if anything does. `archived` is how far the archive goes, read before the chain was
/// locked; nothing for an installation without one.
pub(super) fn obstacle(
    locked: &Locked,
    state: &VendorState,
    job: Job<'_>,
    prepared: &Prepared,
    archived: Option<Option<End>>,
) -> Option<Obstacle> {
    let chain = &locked.chain;
    if let Some(archived) = archived {
        if archived > Some(End { epoch: chain.epoch, to: chain.reserved }) {
            return Some(Obstacle::Behind);
        }
        if chain.issued > 0 && archived < Some(End { epoch: chain.epoch, to: chain.issued }) {
            return Some(Obstacle::Unarchived);
        }
    }
    if locked.newest_root > prepared.root.version() {
        return Some(Obstacle::NewRoot(locked.newest_root));
    }
    if job.purpose() != Purpose::Block && certifies(state, &prepared.root) && prepared.certificate.is_none() {
        return Some(Obstacle::Uncertified);
    }
    (job.purpose() == Purpose::Rebase && chain.reserved > chain.issued).then_some(Obstacle::InWork)
}

/// Whether the next ordinary segment of a chain surely folds nothing, whatever the bytes of those before it.
pub(super) fn surely_plain(chain: &Chain) -> bool {
    let pending = chain.pending();
    pending.saturating_mul(MAX_SEGMENT_BYTES as u64) < MOST_PENDING_BYTES && !must_fold(pending, 0)
}

/// Plans the segment. `fold` are the positions that it has to be taken from, when it folds.
///
/// # Errors
/// In the caller's words when the request does not fit the container.
pub(super) fn planned(
    chain: &Chain,
    state: &VendorState,
    job: Job<'_>,
    prepared: &Prepared,
    fold: Option<Vec<(u64, Digest)>>,
    (now, seal_seed): (Timestamp, [u8; 32]),
) -> Result<Plan, Problem> {
    let product_key = |product| prepared.secret.key(product);
    let means = Means {
        root: &prepared.root,
        certificate: prepared.certificate.clone(),
        product_key: &product_key,
        fold,
        now,
        seal_seed,
    };
    plan(chain, state, job, &means)
}

/// The planned segment as the tables keep it.
pub(super) fn segment(chain: &Chain, job: Job<'_>, planned: &Plan, now: Timestamp) -> Segment {
    let plan = &planned.segment;
    let epoch = plan.predicted.epoch;
    Segment {
        key: job.key(),
        epoch,
        from: plan.from,
        to: plan.to,
        prev_head: plan.previous_head,
        head: plan.head,
        state_digest: plan.predicted.digest(),
        reference: job.reference().to_owned(),
        request_hash: job.hash(),
        purpose: job.purpose(),
        payload: plan.payload.clone(),
        operations: planned.record.encode(),
        file_from: if epoch == chain.epoch { chain.confirmed.max(planned.file_base) } else { 0 },
        file_root: chain.root_version,
        root_through: None,
        summary: planned.summary.clone(),
        state: SegmentState::Reserved,
        reserved_at: now,
        issued_at: None,
        confirmed_at: None,
    }
}
