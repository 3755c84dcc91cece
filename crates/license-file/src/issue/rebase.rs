//! Planning a rebase: the end of a chain that a container has lost, and the beginning of the next one.

use std::collections::BTreeMap;

use lictor_licensing::id::ProductCode;
use lictor_signing::{Envelope, SignedPayload as _, Signer, SignerError, TrustedRoot, cbor};

use super::plan::{ENVELOPE_BYTES, SegmentPlan, Terms, finish, named_keys, seal_under, sized_digest, surroundings};
use crate::FileError;
use crate::chain::{Digest, genesis};
use crate::device::{DeviceCounters, DeviceProfile};
use crate::limits::MAX_CHECKPOINT_BYTES;
use crate::segment::{
    Body, Checkpoint, Content, Operation, ProductKey, Question, RebasePayload, SegmentHeader, SegmentKind,
};
use crate::state::VendorState;
use crate::transition;

/// Plans the first segment of the next epoch on top of `state`, the newest predicted one of the present epoch, issued or
/// not confirmed: the container takes over what it says after `operations`, wherever it stands.
///
/// `answers` is what [`crate::context::Context::question`] gives for the context that asks; the vendor has to know that
/// the challenge is its own and unused. `product_keys` are the keys of all products that the resulting state names, and
/// `floor` the highest device-owned counters that the container has ever reported.
///
/// The plan starts at counter 0 of the new epoch. Sign its payload with [`sign_rebase`].
///
/// # Errors
/// As [`super::plan_checkpoint`], and when the epochs are used up.
pub fn plan_rebase(
    state: &VendorState,
    profile: &DeviceProfile,
    root: &TrustedRoot,
    operations: &[Operation],
    answers: Question,
    product_keys: &BTreeMap<ProductCode, ProductKey>,
    floor: &DeviceCounters,
    terms: &Terms,
) -> Result<SegmentPlan, FileError> {
    let around = surroundings(state, profile, root, operations, terms)?;
    let (mut next, _) = transition::operations(state, operations, around)?;
    named_keys(&next, product_keys)?;
    next.epoch = state.epoch.checked_add(1).ok_or(FileError::Operation("the epochs are used up"))?;
    next.counter = 1;
    let previous_head = genesis(&profile.keys.signing, state.firm_code, next.epoch, Some(&state.head));
    let mut floor = floor.clone();
    floor.0.retain(|license, _| next.entries.contains_key(license));
    let whole = Checkpoint {
        entries: next.entries.clone(),
        lease_certificate: next.lease_certificate.clone(),
        product_keys: product_keys.clone(),
    };
    let content = Content::Rebase { state: whole, floor };
    let body = Body { content, state_digest: sized_digest(&next)?, note: terms.note.clone() };
    let header = SegmentHeader {
        container_id: state.container_id,
        firm_code: state.firm_code,
        device_keys: profile.keys.id(),
        epoch: next.epoch,
        kind: SegmentKind::Rebase { closes: state.head, answers },
        from: 0,
        to: 1,
        previous_head,
        issued_at: terms.issued_at,
        min_runtime: terms.min_runtime,
        critical: Vec::new(),
        body_digest: Digest::of(&cbor::encode(&body)),
        extensions: BTreeMap::new(),
    };
    let payload = seal_under(&header, profile, &body, terms)?;
    if payload.len() + ENVELOPE_BYTES > MAX_CHECKPOINT_BYTES {
        return Err(FileError::TooLarge { what: "the rebase", limit: MAX_CHECKPOINT_BYTES });
    }
    let hash = Digest::of(&payload);
    transition::advance_to(&mut next, &header, hash);
    Ok(finish(&header, next, payload, hash))
}

/// Signs the payload of a rebase with keys of the support role, as many as its threshold needs.
///
/// # Errors
/// When a signer fails.
pub fn sign_rebase(payload: &[u8], signers: &[&dyn Signer]) -> Result<Vec<u8>, SignerError> {
    Ok(Envelope::sign(RebasePayload::PAYLOAD_TYPE, payload.to_vec(), signers)?.to_bytes())
}
