//! The sealed body of a segment.

use std::collections::BTreeMap;

use lictor_licensing::id::{LicenseId, ProductCode};
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};

use super::operation::{MAX_CERTIFICATE_BYTES, Operation, ProductKey, read_license, write_license};
use crate::chain::Digest;
use crate::device::DeviceCounters;
use crate::limits::{MAX_ENTRIES, MAX_NOTE_BYTES, MAX_OPERATIONS, MAX_PRODUCT_KEYS};
use crate::state::Entry;

/// What the body changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Operations, done in their order.
    Operations(Vec<Operation>),
    /// The whole vendor-owned state, in place of whatever was there.
    Checkpoint(Checkpoint),
    /// The same, and what the container must at least have counted: a restored one may have forgotten.
    Rebase {
        /// The whole vendor-owned state.
        state: Checkpoint,
        /// The device-owned counters that the vendor has seen. They merge into the container's own, and only raise them.
        floor: DeviceCounters,
    },
}

/// The vendor-owned state as a checkpoint carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// All entries.
    pub entries: BTreeMap<LicenseId, Entry>,
    /// Envelope of the lease certificate.
    pub lease_certificate: Option<Vec<u8>>,
    /// All product keys.
    pub product_keys: BTreeMap<ProductCode, ProductKey>,
}

/// The body of a segment before it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// What it changes.
    pub content: Content,
    /// Digest of the vendor-owned state afterwards; see [`crate::state::VendorState::digest`].
    pub state_digest: Digest,
    /// One line for people; empty when there is none.
    pub note: String,
}

impl Canonical for Body {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            match &self.content {
                Content::Operations(list) => {
                    fields.field(0, |w| w.list(list, |w, operation| operation.write(w)));
                }
                Content::Checkpoint(state) | Content::Rebase { state, .. } => fields.field(1, |w| state.write(w)),
            }
            fields.field(2, |w| self.state_digest.write(w));
            let note = (!self.note.is_empty()).then_some(&self.note);
            fields.option(3, note, |w, note| w.text(note));
            if let Content::Rebase { floor, .. } = &self.content {
                fields.field(4, |w| floor.write(w));
            }
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let operations = fields.optional(0, |r| r.list(MAX_OPERATIONS, Operation::read))?;
        let state = if operations.is_none() { Some(fields.required(1, Checkpoint::read)?) } else { None };
        let state_digest = fields.required(2, Digest::read)?;
        let note = fields.optional(3, |r| r.text(MAX_NOTE_BYTES))?.unwrap_or_default().to_owned();
        let floor = if state.is_some() { fields.optional(4, DeviceCounters::read)? } else { None };
        fields.end()?;
        let content = match (state, floor) {
            (Some(state), Some(floor)) => Content::Rebase { state, floor },
            (Some(state), None) => Content::Checkpoint(state),
            (None, _) => Content::Operations(operations.unwrap_or_default()),
        };
        Ok(Self { content, state_digest, note })
    }
}

impl Canonical for Checkpoint {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| {
                w.array(self.entries.len());
                for (license, entry) in &self.entries {
                    w.array(2);
                    write_license(w, *license);
                    entry.write(w);
                }
            });
            fields.option(1, self.lease_certificate.as_ref(), |w, bytes| w.bytes(bytes));
            fields.field(2, |w| {
                w.map(self.product_keys.len());
                for (product, key) in &self.product_keys {
                    w.uint(u64::from(product.get()));
                    w.bytes(key.expose());
                }
            });
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let checkpoint = Self {
            entries: fields.required(0, read_entries)?,
            lease_certificate: fields.optional(1, |r| r.bytes(MAX_CERTIFICATE_BYTES))?.map(<[u8]>::to_vec),
            product_keys: fields.required(2, |r| {
                let mut keys = BTreeMap::new();
                for _ in 0..r.map(MAX_PRODUCT_KEYS)? {
                    let product = ProductCode(r.u32()?);
                    if keys.insert(product, ProductKey::new(r.fixed()?)).is_some() {
                        return Err(CborError::NotCanonical);
                    }
                }
                Ok(keys)
            })?,
        };
        fields.end()?;
        Ok(checkpoint)
    }
}

/// Entries with their licenses, ascending.
pub(crate) fn read_entries(reader: &mut Reader<'_>) -> Result<BTreeMap<LicenseId, Entry>, CborError> {
    let mut entries = BTreeMap::new();
    for _ in 0..reader.array(MAX_ENTRIES)? {
        if reader.array(2)? != 2 {
            return Err(CborError::Value("an entry has two parts"));
        }
        let license = read_license(reader)?;
        if entries.insert(license, Entry::read(reader)?).is_some() {
            return Err(CborError::NotCanonical);
        }
    }
    Ok(entries)
}
