//! The vendor-owned state of one container for one firm: what the chain says that the container holds.
//!
//! Nothing in here is a secret: product keys appear as fingerprints, and the keys themselves go from the segment to the
//! container's own store. Device-owned counters are elsewhere, see [`crate::device::DeviceCounters`], so that local use
//! never changes what the vendor predicts.

use std::collections::BTreeMap;

use lictor_licensing::id::{FirmCode, LicenseId, ProductCode};
use lictor_licensing::item::{Part, ProductItem};
use lictor_signing::PublicKey;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};

use crate::FileError;
use crate::chain::{ContainerId, Digest, genesis, next_head};
use crate::limits::{MAX_ITEM_BYTES, MAX_MODULES, MAX_PRODUCT_KEYS, MAX_SEGMENT_HASHES, MAX_STATE_BYTES};
use crate::product_item;
use crate::segment::{MAX_CERTIFICATE_BYTES, read_entries, read_firm, read_part, write_license, write_part};

/// One license in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its product item as the vendor encoded it.
    pub item: Vec<u8>,
    /// Seats of the license that lie in this container; 0 for a license that is not counted.
    pub quantity: u32,
    /// Units granted on top of what the item says, by part.
    pub raised: BTreeMap<Part, u64>,
}

impl Entry {
    /// The product item as it holds in this container: with the quantity that lies here and all units granted so far.
    ///
    /// # Errors
    /// When the item cannot be read, which an applied segment rules out.
    pub fn product_item(&self) -> Result<ProductItem, FileError> {
        product_item::effective(&self.item, self.quantity, &self.raised)
    }
}

impl Canonical for Entry {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(&self.item));
            fields.field(1, |w| w.uint(u64::from(self.quantity)));
            let raised = (!self.raised.is_empty()).then_some(&self.raised);
            fields.option(2, raised, |w, raised| {
                w.map(raised.len());
                for (part, units) in raised {
                    write_part(w, *part);
                    w.uint(*units);
                }
            });
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let entry = Self {
            item: fields.required(0, |r| r.bytes(MAX_ITEM_BYTES))?.to_vec(),
            quantity: fields.required(1, Reader::u32)?,
            raised: fields
                .optional(2, |r| {
                    let mut raised = BTreeMap::new();
                    for _ in 0..r.map(MAX_MODULES + 1)? {
                        raised.insert(read_part(r)?, r.uint()?);
                    }
                    Ok(raised)
                })?
                .unwrap_or_default(),
        };
        fields.end()?;
        Ok(entry)
    }
}

/// The vendor-owned state after segment `counter` of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorState {
    /// The container.
    pub container_id: ContainerId,
    /// The firm.
    pub firm_code: FirmCode,
    /// Epoch of the chain.
    pub epoch: u32,
    /// Number of the last applied segment, 0 when none was.
    pub counter: u64,
    /// Head of the chain at `counter`.
    pub head: Digest,
    /// Counter of the last checkpoint, 0 when there was none.
    pub base_counter: u64,
    /// Head at `base_counter`.
    pub base_head: Digest,
    /// Hashes of the segments after the base, in their order: `counter - base_counter` of them.
    pub segment_hashes: Vec<Digest>,
    /// All entries.
    pub entries: BTreeMap<LicenseId, Entry>,
    /// Envelope of the lease certificate.
    pub lease_certificate: Option<Vec<u8>>,
    /// Fingerprints of the product keys.
    pub product_keys: BTreeMap<ProductCode, Digest>,
}

impl VendorState {
    /// The state of a container that this firm has never changed.
    #[must_use]
    pub fn genesis(device_key: &PublicKey, firm_code: FirmCode) -> Self {
        let head = genesis(device_key, firm_code, 0, None);
        Self {
            container_id: ContainerId::of(device_key),
            firm_code,
            epoch: 0,
            counter: 0,
            head,
            base_counter: 0,
            base_head: head,
            segment_hashes: Vec::new(),
            entries: BTreeMap::new(),
            lease_certificate: None,
            product_keys: BTreeMap::new(),
        }
    }

    /// Digest over what the vendor owns: container, firm, epoch, counter, entries, certificate, product keys. The head
    /// is left out because it depends on the segment that carries this digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut writer = Writer::new();
        self.write_owned(&mut writer);
        Digest::labeled("lictor-vendor-state-v1", &writer.into_bytes())
    }

    /// The heads at `base_counter`, `base_counter + 1`, ... `counter`.
    #[must_use]
    pub fn heads(&self) -> Vec<Digest> {
        let mut heads = Vec::with_capacity(self.segment_hashes.len() + 1);
        heads.push(self.base_head);
        for hash in &self.segment_hashes {
            let previous = heads.last().copied().unwrap_or(self.base_head);
            heads.push(next_head(self.epoch, &previous, hash));
        }
        heads
    }

    /// The bytes of the state, for journals, snapshots and modified contexts.
    ///
    /// # Errors
    /// [`FileError::TooLarge`] when the state exceeds its limit.
    pub fn encode(&self) -> Result<Vec<u8>, FileError> {
        let bytes = cbor::encode(self);
        if bytes.len() > MAX_STATE_BYTES {
            return Err(FileError::TooLarge { what: "the state of the container", limit: MAX_STATE_BYTES });
        }
        Ok(bytes)
    }

    /// Reads a state back and checks that its chain adds up.
    ///
    /// # Errors
    /// When the bytes are not a state, or its hashes do not lead to its head.
    pub fn decode(bytes: &[u8]) -> Result<Self, FileError> {
        if bytes.len() > MAX_STATE_BYTES {
            return Err(FileError::TooLarge { what: "the state of the container", limit: MAX_STATE_BYTES });
        }
        let state: Self = cbor::decode(bytes)?;
        let steps = state.segment_hashes.len() as u64;
        if state.base_counter.checked_add(steps) != Some(state.counter) || state.heads().last() != Some(&state.head) {
            return Err(FileError::Damaged("the chain of the state does not add up"));
        }
        Ok(state)
    }

    fn write_owned(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| self.container_id.write(w));
            fields.field(1, |w| w.uint(u64::from(self.firm_code.get())));
            fields.field(2, |w| w.uint(u64::from(self.epoch)));
            fields.field(3, |w| w.uint(self.counter));
            fields.field(4, |w| {
                w.array(self.entries.len());
                for (license, entry) in &self.entries {
                    w.array(2);
                    write_license(w, *license);
                    entry.write(w);
                }
            });
            fields.option(5, self.lease_certificate.as_ref(), |w, bytes| w.bytes(bytes));
            fields.field(6, |w| {
                w.map(self.product_keys.len());
                for (product, fingerprint) in &self.product_keys {
                    w.uint(u64::from(product.get()));
                    fingerprint.write(w);
                }
            });
        });
    }
}

impl Canonical for VendorState {
    fn write(&self, writer: &mut Writer) {
        writer.array(5);
        self.write_owned(writer);
        self.head.write(writer);
        writer.uint(self.base_counter);
        self.base_head.write(writer);
        writer.list(&self.segment_hashes, |w, hash| hash.write(w));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if reader.array(5)? != 5 {
            return Err(CborError::Value("a state has five parts"));
        }
        let mut fields = reader.fields()?;
        let container_id = fields.required(0, ContainerId::read)?;
        let firm_code = fields.required(1, read_firm)?;
        let epoch = fields.required(2, Reader::u32)?;
        let counter = fields.required(3, Reader::uint)?;
        let entries = fields.required(4, read_entries)?;
        let lease_certificate = fields.optional(5, |r| r.bytes(MAX_CERTIFICATE_BYTES))?.map(<[u8]>::to_vec);
        let product_keys = fields.required(6, |r| {
            let mut keys = BTreeMap::new();
            for _ in 0..r.map(MAX_PRODUCT_KEYS)? {
                keys.insert(ProductCode(r.u32()?), Digest::read(r)?);
            }
            Ok(keys)
        })?;
        fields.end()?;
        Ok(Self {
            container_id,
            firm_code,
            epoch,
            counter,
            head: Digest::read(reader)?,
            base_counter: reader.uint()?,
            base_head: Digest::read(reader)?,
            segment_hashes: reader.list(MAX_SEGMENT_HASHES, Digest::read)?,
            entries,
            lease_certificate,
            product_keys,
        })
    }
}
