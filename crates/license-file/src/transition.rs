//! One step of the state machine, the same code for the vendor's prediction and the container's import.

use lictor_licensing::binding::may_live;
use lictor_licensing::id::{LicenseId, ProductCode};
use lictor_licensing::item::Part;
use lictor_signing::cbor;
use lictor_signing::{Envelope, LeaseCertificate, SignedPayload, TrustedRoot};

use crate::FileError;
use crate::chain::{Digest, next_head};
use crate::device::DeviceProfile;
use crate::limits::{MAX_ENTRIES, MAX_PRODUCT_KEYS, MAX_SEGMENT_HASHES};
use crate::product_item;
use crate::segment::{Checkpoint, Operation, ProductKey, SegmentHeader};
use crate::state::{Entry, VendorState};

/// A change of the secret store that belongs to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// Store this key of a product, in place of an earlier one.
    Set(ProductCode, ProductKey),
    /// Remove the key of a product.
    Drop(ProductCode),
    /// Remove the keys of all products of this firm.
    DropAll,
}

/// What the rules of a step need to know about the container and its vendor.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) profile: &'a DeviceProfile,
    /// Whose keys must have signed a certificate that is planned. A container does not ask again when it applies the
    /// segment: the certifier's key may have been retired while the segment was on its way, and a chain that cannot
    /// move on would be worse than a certificate that nobody accepts. Whoever uses a certificate verifies it.
    pub(crate) certifier: Option<&'a TrustedRoot>,
}

/// Does the operations of a segment on a copy of the state.
pub(crate) fn operations(
    state: &VendorState,
    list: &[Operation],
    around: Surroundings<'_>,
) -> Result<(VendorState, Vec<KeyChange>), FileError> {
    let mut next = state.clone();
    let mut keys = Vec::new();
    for operation in list {
        one(&mut next, operation, around, &mut keys)?;
    }
    Ok((next, keys))
}

/// Puts the state of a checkpoint in place of what was there.
pub(crate) fn checkpoint(
    state: &VendorState,
    checkpoint: &Checkpoint,
    around: Surroundings<'_>,
) -> Result<(VendorState, Vec<KeyChange>), FileError> {
    let mut next = state.clone();
    for (license, entry) in &checkpoint.entries {
        if state.entries.get(license) != Some(entry) {
            check_entry(*license, entry, around)?;
        }
    }
    next.entries.clone_from(&checkpoint.entries);
    if let Some(certificate) = &checkpoint.lease_certificate {
        check_certificate(&next, certificate, around)?;
    }
    next.lease_certificate.clone_from(&checkpoint.lease_certificate);
    let mut keys = vec![KeyChange::DropAll];
    next.product_keys.clear();
    for (product, key) in &checkpoint.product_keys {
        next.product_keys.insert(*product, key.fingerprint());
        keys.push(KeyChange::Set(*product, key.clone()));
    }
    Ok((next, keys))
}

/// Moves the position of a state behind an ordinary segment.
pub(crate) fn advance(state: &mut VendorState, segment: Digest) -> Result<(), FileError> {
    if state.segment_hashes.len() >= MAX_SEGMENT_HASHES {
        return Err(FileError::Operation("a checkpoint is overdue"));
    }
    state.counter = state.counter.checked_add(1).ok_or(FileError::Operation("the counter is at its end"))?;
    state.head = next_head(state.epoch, &state.head, &segment);
    state.segment_hashes.push(segment);
    Ok(())
}

/// Moves the position of a state behind a segment that carries a whole state, from wherever it was.
pub(crate) fn advance_to(state: &mut VendorState, header: &SegmentHeader, segment: Digest) {
    state.epoch = header.epoch;
    state.counter = header.to;
    state.head = next_head(state.epoch, &header.previous_head, &segment);
    state.base_counter = state.counter;
    state.base_head = state.head;
    state.segment_hashes.clear();
}

fn one(
    state: &mut VendorState,
    operation: &Operation,
    around: Surroundings<'_>,
    keys: &mut Vec<KeyChange>,
) -> Result<(), FileError> {
    match operation {
        Operation::Nop => {}
        Operation::AddEntry { license, item, quantity } => {
            if state.entries.contains_key(license) {
                return Err(FileError::Operation("a license that is added is there already"));
            }
            if state.entries.len() >= MAX_ENTRIES {
                return Err(FileError::TooLarge { what: "the number of entries", limit: MAX_ENTRIES });
            }
            let entry = Entry { item: item.clone(), quantity: *quantity, ..Entry::default() };
            check_entry(*license, &entry, around)?;
            state.entries.insert(*license, entry);
        }
        Operation::ReplaceEntry { license, item, quantity } => {
            let known = state.entries.get_mut(license).ok_or(MISSING)?;
            let entry = Entry { item: item.clone(), quantity: *quantity, raised: known.raised.clone() };
            check_entry(*license, &entry, around)?;
            *known = entry;
        }
        Operation::WithdrawEntry { license } => {
            state.entries.remove(license).ok_or(MISSING)?;
        }
        Operation::RaiseUnits { license, part, by } => raise(state, *license, *part, *by)?,
        Operation::CertifyLeaseKey { certificate } => {
            check_certificate(state, certificate, around)?;
            state.lease_certificate = Some(certificate.clone());
        }
        Operation::SetProductKey { product, key } => {
            if state.product_keys.len() >= MAX_PRODUCT_KEYS && !state.product_keys.contains_key(product) {
                return Err(FileError::TooLarge { what: "the number of product keys", limit: MAX_PRODUCT_KEYS });
            }
            state.product_keys.insert(*product, key.fingerprint());
            keys.push(KeyChange::Set(*product, key.clone()));
        }
        Operation::DropProductKey { product } => {
            state
                .product_keys
                .remove(product)
                .ok_or(FileError::Operation("a product key that is dropped is not there"))?;
            keys.push(KeyChange::Drop(*product));
        }
    }
    Ok(())
}

const MISSING: FileError = FileError::Operation("a license that is changed is not there");

fn raise(state: &mut VendorState, license: LicenseId, part: Part, by: u64) -> Result<(), FileError> {
    let entry = state.entries.get_mut(&license).ok_or(MISSING)?;
    let item = product_item::decode(&entry.item)?;
    let granted =
        item.native(part).unit_counter.ok_or(FileError::Operation("units are raised where no unit counter is set"))?.0;
    let raised = entry.raised.entry(part).or_default();
    let sum = raised.checked_add(by).filter(|sum| sum.checked_add(granted).is_some());
    *raised = sum.ok_or(FileError::Operation("a unit counter would exceed its range"))?;
    Ok(())
}

/// An entry must be readable, fit its quantity, and be allowed to live in this container.
fn check_entry(license: LicenseId, entry: &Entry, around: Surroundings<'_>) -> Result<(), FileError> {
    let item = entry.product_item()?;
    may_live(item.bindings(), around.profile.kind, around.profile.virtual_machine)
        .map_err(|reason| FileError::BindingNotAllowed { license, reason: reason.to_string() })
}

fn check_certificate(state: &VendorState, bytes: &[u8], around: Surroundings<'_>) -> Result<(), FileError> {
    let envelope = Envelope::from_bytes(bytes)?;
    if let Some(root) = around.certifier {
        root.open::<LeaseCertificate>(&envelope)?;
    }
    let certificate: LeaseCertificate = cbor::decode(envelope.unverified_payload())?;
    let same_chain = certificate.container_id == state.container_id.0
        && certificate.firm_code == state.firm_code.get()
        && envelope.payload_type() == LeaseCertificate::PAYLOAD_TYPE.name();
    if !same_chain || certificate.lease_key != around.profile.keys.lease {
        return Err(FileError::Operation("a lease certificate is for another key"));
    }
    Ok(())
}
