//! What a segment does to the vendor-owned state, written down without any secret, and done again from there. The archive
//! keeps it beside the signed bytes, whose body only the container can open.

use lictor_license_file::{
    Digest,
    chain::next_head,
    limits::{MAX_ENTRIES, MAX_ITEM_BYTES, MAX_PRODUCT_KEYS},
    segment::{Operation, SegmentHeader, SegmentKind},
    state::VendorState,
};
use lictor_licensing::{
    id::{LicenseId, ProductCode},
    item::Part,
};
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};

/// Most effects of one segment: blocking takes every entry and every key out at once.
const MAX_EFFECTS: usize = MAX_ENTRIES + MAX_PRODUCT_KEYS + 2;
/// Longest reason in bytes.
const MAX_REASON_BYTES: usize = 256;
/// Largest lease certificate.
const MAX_CERTIFICATE_BYTES: usize = 4096;

/// One change of the vendor-owned state.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    /// An entry is there with this item and quantity; units that were raised stay.
    Put { license: LicenseId, item: Vec<u8>, quantity: u32 },
    /// An entry is gone.
    Withdraw { license: LicenseId },
    /// A unit counter holds more.
    Raise { license: LicenseId, part: Part, by: u64 },
    /// The lease key is certified.
    Certify { certificate: Vec<u8> },
    /// The key with this fingerprint is there.
    SetKey { product: ProductCode, fingerprint: Digest },
    /// The key of a product is gone.
    DropKey { product: ProductCode },
    /// Nothing; why people asked for it. So it outlives the tables.
    Because { reason: String },
}

/// Everything that one segment does to the vendor-owned state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(Vec<Effect>);

/// Why a record does not lead from one state to the next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The segment is for another position of the chain.
    #[error("the segment does not follow the position that the chain is at")]
    Position,
    /// An effect has nothing to work on.
    #[error("an effect names a license or a product that is not there")]
    Missing,
    /// The result is not what was signed.
    #[error("the state after the segment is not the one that was signed")]
    State,
}

impl Record {
    /// What these operations do.
    #[must_use]
    pub fn of(operations: &[Operation]) -> Self {
        let effect = |operation: &Operation| match operation {
            Operation::AddEntry { license, item, quantity } | Operation::ReplaceEntry { license, item, quantity } => {
                Some(Effect::Put { license: *license, item: item.clone(), quantity: *quantity })
            }
            Operation::WithdrawEntry { license } => Some(Effect::Withdraw { license: *license }),
            Operation::RaiseUnits { license, part, by } => {
                Some(Effect::Raise { license: *license, part: *part, by: *by })
            }
            Operation::CertifyLeaseKey { certificate } => Some(Effect::Certify { certificate: certificate.clone() }),
            Operation::SetProductKey { product, key } => {
                Some(Effect::SetKey { product: *product, fingerprint: key.fingerprint() })
            }
            Operation::DropProductKey { product } => Some(Effect::DropKey { product: *product }),
            Operation::Nop => None,
        };
        Self(operations.iter().filter_map(effect).collect())
    }

    /// The same with the reason that people gave, if they gave one.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        if !reason.is_empty() {
            self.0.push(Effect::Because { reason: reason.to_owned() });
        }
        self
    }

    /// Why people asked for it; empty when they did not say.
    #[must_use]
    pub fn reason(&self) -> &str {
        let told = self.0.iter().find_map(|effect| match effect {
            Effect::Because { reason } => Some(reason.as_str()),
            _ => None,
        });
        told.unwrap_or_default()
    }

    /// The bytes of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// When the bytes are not a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes)
    }

    /// Licenses that the segment takes out.
    pub fn withdrawn(&self) -> impl Iterator<Item = LicenseId> {
        self.0.iter().filter_map(|effect| match effect {
            Effect::Withdraw { license } => Some(*license),
            _ => None,
        })
    }

    /// The state after the segment with this header and hash, on top of `state`.
    ///
    /// # Errors
    /// When the segment does not follow, or leads to another state than `signed`.
    pub fn replay(
        &self,
        state: &VendorState,
        header: &SegmentHeader,
        hash: Digest,
        signed: Digest,
    ) -> Result<VendorState, ReplayError> {
        let follows = match &header.kind {
            SegmentKind::Rebase { closes, .. } => {
                state.epoch.checked_add(1) == Some(header.epoch) && *closes == state.head
            }
            SegmentKind::Ordinary | SegmentKind::Checkpoint { .. } => {
                header.epoch == state.epoch && header.from == state.counter && header.previous_head == state.head
            }
        };
        if !follows {
            return Err(ReplayError::Position);
        }
        let mut next = state.clone();
        self.0.iter().try_for_each(|effect| effect.act(&mut next))?;
        next.epoch = header.epoch;
        next.counter = header.to;
        next.head = next_head(header.epoch, &header.previous_head, &hash);
        if matches!(header.kind, SegmentKind::Ordinary) {
            next.segment_hashes.push(hash);
        } else {
            (next.base_counter, next.base_head) = (next.counter, next.head);
            next.segment_hashes.clear();
        }
        if next.digest() == signed { Ok(next) } else { Err(ReplayError::State) }
    }
}

impl Effect {
    fn act(&self, state: &mut VendorState) -> Result<(), ReplayError> {
        match self {
            Self::Put { license, item, quantity } => {
                let entry = state.entries.entry(*license).or_default();
                entry.item.clone_from(item);
                entry.quantity = *quantity;
            }
            Self::Withdraw { license } => {
                state.entries.remove(license).ok_or(ReplayError::Missing)?;
            }
            Self::Raise { license, part, by } => {
                let entry = state.entries.get_mut(license).ok_or(ReplayError::Missing)?;
                let raised = entry.raised.entry(*part).or_default();
                *raised = raised.checked_add(*by).ok_or(ReplayError::Missing)?;
            }
            Self::Certify { certificate } => state.lease_certificate = Some(certificate.clone()),
            Self::SetKey { product, fingerprint } => {
                state.product_keys.insert(*product, *fingerprint);
            }
            Self::DropKey { product } => {
                state.product_keys.remove(product).ok_or(ReplayError::Missing)?;
            }
            Self::Because { .. } => {}
        }
        Ok(())
    }
}

impl Canonical for Record {
    fn write(&self, writer: &mut Writer) {
        writer.list(&self.0, |w, effect| effect.write(w));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.list(MAX_EFFECTS, Effect::read).map(Self)
    }
}

impl Canonical for Effect {
    fn write(&self, writer: &mut Writer) {
        let license = |w: &mut Writer, license: &LicenseId| w.bytes(&license.to_u128().to_be_bytes());
        writer.record(|fields| match self {
            Self::Put { license: id, item, quantity } => {
                fields.field(0, |w| w.uint(1));
                fields.field(1, |w| license(w, id));
                fields.field(2, |w| w.bytes(item));
                fields.field(3, |w| w.uint(u64::from(*quantity)));
            }
            Self::Withdraw { license: id } => {
                fields.field(0, |w| w.uint(2));
                fields.field(1, |w| license(w, id));
            }
            Self::Raise { license: id, part, by } => {
                fields.field(0, |w| w.uint(3));
                fields.field(1, |w| license(w, id));
                fields.field(2, |w| w.uint(part.index() as u64));
                fields.field(3, |w| w.uint(*by));
            }
            Self::Certify { certificate } => {
                fields.field(0, |w| w.uint(4));
                fields.field(1, |w| w.bytes(certificate));
            }
            Self::SetKey { product, fingerprint } => {
                fields.field(0, |w| w.uint(5));
                fields.field(1, |w| w.uint(u64::from(product.get())));
                fields.field(2, |w| fingerprint.write(w));
            }
            Self::DropKey { product } => {
                fields.field(0, |w| w.uint(6));
                fields.field(1, |w| w.uint(u64::from(product.get())));
            }
            Self::Because { reason } => {
                fields.field(0, |w| w.uint(7));
                fields.field(1, |w| w.text(reason));
            }
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let license = |reader: &mut Reader<'_>| Ok(LicenseId::from_u128(u128::from_be_bytes(reader.fixed()?)));
        let product = |reader: &mut Reader<'_>| reader.u32().map(ProductCode);
        let mut fields = reader.fields()?;
        let effect = match fields.required(0, Reader::uint)? {
            1 => Self::Put {
                license: fields.required(1, license)?,
                item: fields.required(2, |r| r.bytes(MAX_ITEM_BYTES))?.to_vec(),
                quantity: fields.required(3, Reader::u32)?,
            },
            2 => Self::Withdraw { license: fields.required(1, license)? },
            3 => Self::Raise {
                license: fields.required(1, license)?,
                part: fields.required(2, |r| {
                    Part::from_index(usize::from(r.u16()?)).ok_or(CborError::Value("place of a module above the limit"))
                })?,
                by: fields.required(3, Reader::uint)?,
            },
            4 => Self::Certify { certificate: fields.required(1, |r| r.bytes(MAX_CERTIFICATE_BYTES))?.to_vec() },
            5 => Self::SetKey { product: fields.required(1, product)?, fingerprint: fields.required(2, Digest::read)? },
            6 => Self::DropKey { product: fields.required(1, product)? },
            7 => Self::Because { reason: fields.required(1, |r| r.text(MAX_REASON_BYTES))?.to_owned() },
            kind => return Err(CborError::UnknownKind(kind)),
        };
        fields.end()?;
        Ok(effect)
    }
}

#[cfg(test)]
mod tests {
    use lictor_clock::Timestamp;
    use lictor_license_file::segment::ProductKey;

    use super::*;

    #[test]
    fn a_record_survives_its_bytes_and_holds_no_key() {
        let license = LicenseId::new(Timestamp::UNIX_EPOCH, [7; 10]);
        let key = ProductKey::new([0x5A; 32]);
        let record = Record::of(&[
            Operation::AddEntry { license, item: vec![1, 2, 3], quantity: 4 },
            Operation::ReplaceEntry { license, item: vec![9], quantity: 5 },
            Operation::RaiseUnits { license, part: Part::Module(3), by: 70 },
            Operation::CertifyLeaseKey { certificate: vec![8; 90] },
            Operation::SetProductKey { product: ProductCode(12), key },
            Operation::DropProductKey { product: ProductCode(13) },
            Operation::WithdrawEntry { license },
            Operation::Nop,
        ])
        .because("lost in a train");
        assert_eq!((record.reason(), Record::of(&[]).because("").reason()), ("lost in a train", ""));
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record.clone()));
        assert!(!bytes.windows(32).any(|window| window == [0x5A; 32]), "a key lies in the record");
        assert_eq!(record.withdrawn().collect::<Vec<_>>(), [license]);
        for end in 0..bytes.len() {
            assert!(Record::decode(&bytes[..end]).is_err());
        }
    }
}
