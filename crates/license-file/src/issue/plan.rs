//! Planning one segment.

use std::collections::{BTreeMap, BTreeSet};

use lictor_clock::Timestamp;
use lictor_licensing::id::ProductCode;
use lictor_signing::cbor;
use lictor_signing::{Envelope, SignedPayload, Signer, SignerError, TrustedRoot};

use crate::FileError;
use crate::chain::Digest;
use crate::device::DeviceProfile;
use crate::limits::{
    MAX_ACCEPTED_HEADS, MAX_CHECKPOINT_BYTES, MAX_NOTE_BYTES, MAX_OPERATIONS, MAX_SEGMENT_BYTES, MAX_STATE_BYTES,
};
use crate::seal;
use crate::segment::{Body, Checkpoint, Content, Operation, ProductKey, SegmentHeader, SegmentKind, SegmentPayload};
use crate::state::VendorState;
use crate::transition::{self, Surroundings};
use crate::version::RuntimeVersion;

/// Room for the envelope around a payload with all its signatures.
pub(super) const ENVELOPE_BYTES: usize = 2048;

/// What a segment says besides its operations.
#[derive(Clone, Debug)]
pub struct Terms {
    /// When it is issued. Must lie in the window of the issue key.
    pub issued_at: Timestamp,
    /// Oldest program that may apply it.
    pub min_runtime: RuntimeVersion,
    /// One line for people, at most 256 bytes; empty for none.
    pub note: String,
    /// Fresh secret random bytes for sealing; stored with the plan until it is issued.
    pub seal_seed: [u8; 32],
}

/// A segment before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPlan {
    /// The exact bytes to sign with [`sign_payload`].
    pub payload: Vec<u8>,
    /// SHA-256 of the payload.
    pub hash: Digest,
    /// Counter before.
    pub from: u64,
    /// Counter after.
    pub to: u64,
    /// Head before.
    pub previous_head: Digest,
    /// Head after.
    pub head: Digest,
    /// The state that the container will be in.
    pub predicted: VendorState,
}

/// Plans an ordinary segment on top of `state`, the newest predicted one. Whatever the container would refuse is
/// refused here, before anything is issued.
///
/// # Errors
/// When an operation does not fit the state or the container, or a limit is exceeded.
pub fn plan(
    state: &VendorState,
    profile: &DeviceProfile,
    root: &TrustedRoot,
    operations: Vec<Operation>,
    terms: &Terms,
) -> Result<SegmentPlan, FileError> {
    let around = surroundings(state, profile, root, &operations, terms)?;
    let (mut next, _) = transition::operations(state, &operations, around)?;
    // The digest counts the step, the head does not enter it.
    next.counter = after(state)?;
    let digest = sized_digest(&next)?;
    let body = Body { content: Content::Operations(operations), state_digest: digest, note: terms.note.clone() };
    let header = header(state, profile, SegmentKind::Ordinary, Digest::of(&cbor::encode(&body)), terms)?;
    let payload = seal_under(&header, profile, &body, terms)?;
    if payload.len() + ENVELOPE_BYTES > MAX_SEGMENT_BYTES {
        return Err(FileError::TooLarge { what: "the segment", limit: MAX_SEGMENT_BYTES });
    }
    let hash = Digest::of(&payload);
    next.counter = state.counter;
    transition::advance(&mut next, hash)?;
    Ok(finish(&header, next, payload, hash))
}

/// Plans a checkpoint on top of `state`: it does `operations` and then carries the whole state, so that a container at
/// any of the `accepts` positions can take it without the segments between. `product_keys` are the keys of all products
/// that the resulting state names.
///
/// # Errors
/// As [`plan`], and when the product keys are not the ones that the state names.
pub fn plan_checkpoint(
    state: &VendorState,
    profile: &DeviceProfile,
    root: &TrustedRoot,
    operations: &[Operation],
    accepts: &[(u64, Digest)],
    product_keys: &BTreeMap<ProductCode, ProductKey>,
    terms: &Terms,
) -> Result<SegmentPlan, FileError> {
    let around = surroundings(state, profile, root, operations, terms)?;
    let (mut next, _) = transition::operations(state, operations, around)?;
    named_keys(&next, product_keys)?;
    let accepts: BTreeSet<_> = accepts.iter().copied().collect();
    if accepts.len() > MAX_ACCEPTED_HEADS {
        return Err(FileError::TooLarge { what: "the number of accepted heads", limit: MAX_ACCEPTED_HEADS });
    }
    let accepts: Vec<_> = accepts.into_iter().collect();
    let valid = accepts.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !valid || accepts.last().is_some_and(|(counter, _)| *counter > state.counter) {
        return Err(FileError::Operation("accepted heads must be one per counter and lie before the checkpoint"));
    }
    next.counter = after(state)?;
    let content = Content::Checkpoint(Checkpoint {
        entries: next.entries.clone(),
        lease_certificate: next.lease_certificate.clone(),
        product_keys: product_keys.clone(),
    });
    let body = Body { content, state_digest: sized_digest(&next)?, note: terms.note.clone() };
    let kind = SegmentKind::Checkpoint { accepts };
    let header = header(state, profile, kind, Digest::of(&cbor::encode(&body)), terms)?;
    let payload = seal_under(&header, profile, &body, terms)?;
    if payload.len() + ENVELOPE_BYTES > MAX_CHECKPOINT_BYTES {
        return Err(FileError::TooLarge { what: "the checkpoint", limit: MAX_CHECKPOINT_BYTES });
    }
    let hash = Digest::of(&payload);
    transition::advance_to(&mut next, &header, hash);
    Ok(finish(&header, next, payload, hash))
}

/// Signs the payload of a plan and gives the segment as it travels. After the retirement of a key the same payload may
/// be signed again with another one: the chain does not change.
///
/// # Errors
/// When a signer fails.
pub fn sign_payload(payload: &[u8], signers: &[&dyn Signer]) -> Result<Vec<u8>, SignerError> {
    Ok(Envelope::sign(SegmentPayload::PAYLOAD_TYPE, payload.to_vec(), signers)?.to_bytes())
}

pub(super) fn surroundings<'a>(
    state: &VendorState,
    profile: &'a DeviceProfile,
    root: &'a TrustedRoot,
    operations: &[Operation],
    terms: &Terms,
) -> Result<Surroundings<'a>, FileError> {
    if profile.container_id() != state.container_id {
        return Err(FileError::WrongContainer);
    }
    if root.firm_code() != state.firm_code.get() {
        return Err(FileError::WrongVendor { expected: state.firm_code, found: root.firm_code() });
    }
    if operations.len() > MAX_OPERATIONS {
        return Err(FileError::TooLarge { what: "the number of operations", limit: MAX_OPERATIONS });
    }
    if terms.note.len() > MAX_NOTE_BYTES {
        return Err(FileError::TooLarge { what: "the note", limit: MAX_NOTE_BYTES });
    }
    Ok(Surroundings { profile, certifier: Some(root) })
}

/// The keys that are carried must be those that the state names, no more and no less.
pub(super) fn named_keys(
    state: &VendorState,
    product_keys: &BTreeMap<ProductCode, ProductKey>,
) -> Result<(), FileError> {
    let named: BTreeMap<_, _> = product_keys.iter().map(|(product, key)| (*product, key.fingerprint())).collect();
    if named == state.product_keys {
        return Ok(());
    }
    Err(FileError::Operation("a whole state must carry exactly the product keys that it names"))
}

fn after(state: &VendorState) -> Result<u64, FileError> {
    state.counter.checked_add(1).ok_or(FileError::Operation("the counter is at its end"))
}

pub(super) fn sized_digest(state: &VendorState) -> Result<Digest, FileError> {
    // One more hash will join the state; the limit leaves room for it.
    if state.encode()?.len() + 64 > MAX_STATE_BYTES {
        return Err(FileError::TooLarge { what: "the state of the container", limit: MAX_STATE_BYTES });
    }
    Ok(state.digest())
}

fn header(
    state: &VendorState,
    profile: &DeviceProfile,
    kind: SegmentKind,
    body_digest: Digest,
    terms: &Terms,
) -> Result<SegmentHeader, FileError> {
    Ok(SegmentHeader {
        container_id: state.container_id,
        firm_code: state.firm_code,
        device_keys: profile.keys.id(),
        epoch: state.epoch,
        kind,
        from: state.counter,
        to: after(state)?,
        previous_head: state.head,
        issued_at: terms.issued_at,
        min_runtime: terms.min_runtime,
        critical: Vec::new(),
        body_digest,
        extensions: BTreeMap::new(),
    })
}

pub(super) fn seal_under(
    header: &SegmentHeader,
    profile: &DeviceProfile,
    body: &Body,
    terms: &Terms,
) -> Result<Vec<u8>, FileError> {
    let plain = zeroize::Zeroizing::new(cbor::encode(body));
    let (encapsulated, sealed) = seal::seal(&profile.keys.sealing, &cbor::encode(header), &plain, &terms.seal_seed)?;
    Ok(cbor::encode(&SegmentPayload::new(header.clone(), encapsulated, sealed)))
}

pub(super) fn finish(header: &SegmentHeader, predicted: VendorState, payload: Vec<u8>, hash: Digest) -> SegmentPlan {
    SegmentPlan {
        payload,
        hash,
        from: header.from,
        to: header.to,
        previous_head: header.previous_head,
        head: predicted.head,
        predicted,
    }
}
