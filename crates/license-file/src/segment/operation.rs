//! What a segment does to the vendor-owned state.

use std::fmt;

use lictor_licensing::id::{LicenseId, ProductCode};
use lictor_licensing::item::Part;
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};
use zeroize::Zeroize;

use crate::chain::Digest;
use crate::limits::MAX_ITEM_BYTES;

/// Largest envelope of a lease certificate.
pub(crate) const MAX_CERTIFICATE_BYTES: usize = 4096;

/// Key material of one product. It is wiped from memory when dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ProductKey([u8; 32]);

impl ProductKey {
    /// Takes key material.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key material.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What a state says about the key in place of the key.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        Digest::labeled("lictor-product-key-v1", &self.0)
    }
}

impl Drop for ProductKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for ProductKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProductKey(..)")
    }
}

/// One operation. All operations of a segment are done, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts a license into the container.
    AddEntry {
        /// The license.
        license: LicenseId,
        /// Its product item, encoded.
        item: Vec<u8>,
        /// Seats of the license that lie in this container; 0 for a license that is not counted.
        quantity: u32,
    },
    /// Gives an entry that is there another product item or quantity. Device-owned counters stay.
    ReplaceEntry {
        /// The license.
        license: LicenseId,
        /// Its new product item, encoded.
        item: Vec<u8>,
        /// Its new number of seats.
        quantity: u32,
    },
    /// Takes a license out of the container.
    WithdrawEntry {
        /// The license.
        license: LicenseId,
    },
    /// Grants more units of a unit counter.
    RaiseUnits {
        /// The license.
        license: LicenseId,
        /// Whose counter.
        part: Part,
        /// Units added.
        by: u64,
    },
    /// Certifies the container's lease key for this firm; replaces an earlier certificate.
    CertifyLeaseKey {
        /// Envelope of the certificate.
        certificate: Vec<u8>,
    },
    /// Gives the container the key of a product.
    SetProductKey {
        /// The product.
        product: ProductCode,
        /// Its key.
        key: ProductKey,
    },
    /// Takes the key of a product away.
    DropProductKey {
        /// The product.
        product: ProductCode,
    },
    /// Does nothing; fills a place in the chain.
    Nop,
}

impl Operation {
    /// One word for logs and lists.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Operation::AddEntry { .. } => "add-entry",
            Operation::ReplaceEntry { .. } => "replace-entry",
            Operation::WithdrawEntry { .. } => "withdraw-entry",
            Operation::RaiseUnits { .. } => "raise-units",
            Operation::CertifyLeaseKey { .. } => "certify-lease-key",
            Operation::SetProductKey { .. } => "set-product-key",
            Operation::DropProductKey { .. } => "drop-product-key",
            Operation::Nop => "nop",
        }
    }

    /// The license that the operation is about.
    #[must_use]
    pub const fn license(&self) -> Option<LicenseId> {
        match self {
            Operation::AddEntry { license, .. }
            | Operation::ReplaceEntry { license, .. }
            | Operation::WithdrawEntry { license }
            | Operation::RaiseUnits { license, .. } => Some(*license),
            _ => None,
        }
    }
}

pub(crate) fn write_license(writer: &mut Writer, license: LicenseId) {
    writer.bytes(&license.to_u128().to_be_bytes());
}

pub(crate) fn read_license(reader: &mut Reader<'_>) -> Result<LicenseId, CborError> {
    Ok(LicenseId::from_u128(u128::from_be_bytes(reader.fixed()?)))
}

/// A part of an entry by its place: 0 is the product item, then its modules in their order.
pub(crate) fn write_part(writer: &mut Writer, part: Part) {
    writer.uint(part.index() as u64);
}

pub(crate) fn read_part(reader: &mut Reader<'_>) -> Result<Part, CborError> {
    Part::from_index(usize::from(reader.u16()?)).ok_or(CborError::Value("place of a module above the limit"))
}

impl Canonical for Operation {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            let entry = |fields: &mut lictor_signing::cbor::FieldWriter, kind, license, item: &[u8], quantity: u32| {
                fields.field(0, |w| w.uint(kind));
                fields.field(1, |w| write_license(w, license));
                fields.field(2, |w| w.bytes(item));
                fields.field(3, |w| w.uint(u64::from(quantity)));
            };
            match self {
                Operation::Nop => fields.field(0, |w| w.uint(0)),
                Operation::AddEntry { license, item, quantity } => entry(fields, 1, *license, item, *quantity),
                Operation::ReplaceEntry { license, item, quantity } => entry(fields, 2, *license, item, *quantity),
                Operation::WithdrawEntry { license } => {
                    fields.field(0, |w| w.uint(3));
                    fields.field(1, |w| write_license(w, *license));
                }
                Operation::RaiseUnits { license, part, by } => {
                    fields.field(0, |w| w.uint(4));
                    fields.field(1, |w| write_license(w, *license));
                    fields.field(2, |w| write_part(w, *part));
                    fields.field(3, |w| w.uint(*by));
                }
                Operation::CertifyLeaseKey { certificate } => {
                    fields.field(0, |w| w.uint(5));
                    fields.field(1, |w| w.bytes(certificate));
                }
                Operation::SetProductKey { product, key } => {
                    fields.field(0, |w| w.uint(6));
                    fields.field(1, |w| w.uint(u64::from(product.get())));
                    fields.field(2, |w| w.bytes(key.expose()));
                }
                Operation::DropProductKey { product } => {
                    fields.field(0, |w| w.uint(7));
                    fields.field(1, |w| w.uint(u64::from(product.get())));
                }
            }
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let operation = match fields.required(0, Reader::uint)? {
            0 => Operation::Nop,
            kind @ (1 | 2) => {
                let license = fields.required(1, read_license)?;
                let item = fields.required(2, |r| r.bytes(MAX_ITEM_BYTES))?.to_vec();
                let quantity = fields.required(3, Reader::u32)?;
                if kind == 1 {
                    Operation::AddEntry { license, item, quantity }
                } else {
                    Operation::ReplaceEntry { license, item, quantity }
                }
            }
            3 => Operation::WithdrawEntry { license: fields.required(1, read_license)? },
            4 => Operation::RaiseUnits {
                license: fields.required(1, read_license)?,
                part: fields.required(2, read_part)?,
                by: fields.required(3, Reader::uint)?,
            },
            5 => Operation::CertifyLeaseKey {
                certificate: fields.required(1, |r| r.bytes(MAX_CERTIFICATE_BYTES))?.to_vec(),
            },
            6 => Operation::SetProductKey {
                product: ProductCode(fields.required(1, Reader::u32)?),
                key: ProductKey::new(fields.required(2, Reader::fixed)?),
            },
            7 => Operation::DropProductKey { product: ProductCode(fields.required(1, Reader::u32)?) },
            kind => return Err(CborError::UnknownKind(kind)),
        };
        fields.end()?;
        Ok(operation)
    }
}
