//! What a container is to its vendor: keys, kind, and the counters that only the container itself moves.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::id::LicenseId;
use lictor_licensing::item::Part;
use lictor_licensing::state::EntryState;
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};
use lictor_signing::{KeyId, PublicKey};

use crate::chain::ContainerId;
use crate::limits::{MAX_ENTRIES, MAX_MODULES};
use crate::seal::SealingPublicKey;
use crate::segment::{read_license, read_part, write_license, write_part};
use crate::version::RuntimeVersion;

/// The public halves of a container's three keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKeys {
    /// Signs contexts and receipts; its hash is the container id.
    pub signing: PublicKey,
    /// What segments are sealed for.
    pub sealing: SealingPublicKey,
    /// Signs grants once a vendor has certified it.
    pub lease: PublicKey,
}

impl DeviceKeys {
    /// The id of the container with these keys.
    #[must_use]
    pub fn container_id(&self) -> ContainerId {
        ContainerId::of(&self.signing)
    }

    /// Names the pair of keys that a segment is addressed to.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut bytes = b"lictor-device-keys-v1\0".to_vec();
        bytes.extend_from_slice(self.signing.as_bytes());
        bytes.extend_from_slice(&self.sealing.0);
        KeyId::of(&bytes)
    }
}

impl Canonical for DeviceKeys {
    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        writer.bytes(self.signing.as_bytes());
        writer.bytes(&self.sealing.0);
        writer.bytes(self.lease.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if reader.array(3)? != 3 {
            return Err(CborError::Value("a container has three keys"));
        }
        let key =
            |bytes| PublicKey::from_bytes(&bytes).map_err(|_| CborError::Value("public key that must not be used"));
        Ok(Self {
            signing: key(reader.fixed()?)?,
            sealing: SealingPublicKey(reader.fixed()?),
            lease: key(reader.fixed()?)?,
        })
    }
}

/// What decides whether and how a container can take an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceProfile {
    /// Its keys.
    pub keys: DeviceKeys,
    /// What it is bound to.
    pub kind: ContainerKind,
    /// Whether the machine below is a virtual one.
    pub virtual_machine: bool,
    /// The program that holds it.
    pub runtime: RuntimeVersion,
}

impl DeviceProfile {
    /// The id of the container.
    #[must_use]
    pub fn container_id(&self) -> ContainerId {
        self.keys.container_id()
    }
}

/// Counters of one part of an entry that the container alone moves, and only forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartCounters {
    /// Units used so far.
    pub units_used: u64,
    /// When the first successful access was.
    pub usage_start: Option<Timestamp>,
}

impl PartCounters {
    /// Takes the later of two reports about the same part: the higher count, the earlier start.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let usage_start = match (self.usage_start, other.usage_start) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        Self { units_used: self.units_used.max(other.units_used), usage_start }
    }
}

/// All device-owned counters of one firm, by license and part. Vendors read them; no update ever writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounters(pub BTreeMap<LicenseId, BTreeMap<Part, PartCounters>>);

impl DeviceCounters {
    /// Takes over the counters of an entry.
    pub fn record(&mut self, license: LicenseId, state: &EntryState) {
        for (part, state) in state.parts() {
            let counters = PartCounters { units_used: state.units_used, usage_start: state.usage_start };
            if counters != PartCounters::default() {
                let known = self.0.entry(license).or_default().entry(part).or_default();
                *known = known.merge(counters);
            }
        }
    }

    /// The counters of one part.
    #[must_use]
    pub fn part(&self, license: LicenseId, part: Part) -> PartCounters {
        self.0.get(&license).and_then(|parts| parts.get(&part)).copied().unwrap_or_default()
    }

    /// Merges a second report; the order of reports does not matter.
    pub fn merge(&mut self, other: &Self) {
        for (license, parts) in &other.0 {
            for (part, counters) in parts {
                let known = self.0.entry(*license).or_default().entry(*part).or_default();
                *known = known.merge(*counters);
            }
        }
    }
}

impl Canonical for DeviceCounters {
    fn write(&self, writer: &mut Writer) {
        writer.array(self.0.len());
        for (license, parts) in &self.0 {
            writer.array(2);
            write_license(writer, *license);
            writer.array(parts.len());
            for (part, counters) in parts {
                writer.record(|fields| {
                    fields.field(0, |w| write_part(w, *part));
                    fields.field(1, |w| w.uint(counters.units_used));
                    fields.option(2, counters.usage_start, Writer::time);
                });
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut counters = BTreeMap::new();
        for _ in 0..reader.array(MAX_ENTRIES)? {
            if reader.array(2)? != 2 {
                return Err(CborError::Value("counters of an entry have two parts"));
            }
            let license = read_license(reader)?;
            let mut parts = BTreeMap::new();
            for _ in 0..reader.array(MAX_MODULES + 1)? {
                let mut fields = reader.fields()?;
                let part = fields.required(0, read_part)?;
                let units_used = fields.required(1, Reader::uint)?;
                let usage_start = fields.optional(2, Reader::time)?;
                fields.end()?;
                parts.insert(part, PartCounters { units_used, usage_start });
            }
            counters.insert(license, parts);
        }
        Ok(Self(counters))
    }
}
