//! Product items as deterministic CBOR: how they travel between services, lie in tables and go into containers.

mod options;

use std::collections::BTreeMap;

use lictor_licensing::item::{ModuleItem, Part, ProductItem};
use lictor_licensing::options::UnitCounter;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};

use crate::FileError;
use crate::limits::{MAX_ITEM_BYTES, MAX_MODULES};

/// The bytes of a product item with its modules.
///
/// # Errors
/// [`FileError::TooLarge`] when they exceed 48 KiB.
pub fn encode(item: &ProductItem) -> Result<Vec<u8>, FileError> {
    let bytes = cbor::encode(&Wire(item.clone()));
    if bytes.len() > MAX_ITEM_BYTES {
        return Err(FileError::TooLarge { what: "the product item with its modules", limit: MAX_ITEM_BYTES });
    }
    Ok(bytes)
}

/// Reads a product item; every item has exactly one spelling.
///
/// # Errors
/// When the bytes are no product item, break a rule of the licence model, or exceed 48 KiB.
pub fn decode(bytes: &[u8]) -> Result<ProductItem, FileError> {
    if bytes.len() > MAX_ITEM_BYTES {
        return Err(FileError::TooLarge { what: "the product item with its modules", limit: MAX_ITEM_BYTES });
    }
    Ok(cbor::decode::<Wire>(bytes)?.0)
}

/// The item as it holds in one container: with the number of seats that lie there and the units granted so far.
///
/// # Errors
/// As [`decode`], and when quantity or units do not fit the item.
pub fn effective(bytes: &[u8], quantity: u32, raised: &BTreeMap<Part, u64>) -> Result<ProductItem, FileError> {
    let item = decode(bytes)?;
    let (mut options, mut modules) = item.into_parts();
    options.license_quantity = match (options.license_quantity, quantity) {
        (None, 0) => None,
        (Some(sold), seats) => {
            Some(sold.with_count(seats).map_err(|_| FileError::Operation("a counted license needs seats"))?)
        }
        (None, _) => return Err(FileError::Operation("a license that is not counted cannot have seats")),
    };
    for (part, units) in raised {
        let target = match part {
            Part::Parent => Some(&mut options),
            Part::Module(place) => modules.get_mut(usize::from(*place)).map(|module| &mut module.options),
        };
        let counter = target
            .and_then(|options| options.unit_counter.as_mut())
            .ok_or(FileError::Operation("units are raised where no unit counter is set"))?;
        let sum = counter.0.checked_add(*units);
        *counter = UnitCounter(sum.ok_or(FileError::Operation("a unit counter would exceed its range"))?);
    }
    ProductItem::new(options, modules).map_err(|_| FileError::Operation("the product item breaks a rule"))
}

struct Wire(ProductItem);

impl Canonical for Wire {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| options::write(w, self.0.options()));
            let modules = (!self.0.modules().is_empty()).then_some(self.0.modules());
            fields.option(1, modules, |w, modules| {
                w.list(modules, |w, module| {
                    w.record(|fields| {
                        fields.field(0, |w| options::write(w, &module.options));
                        fields.option(1, module.requires_parent.then_some(true), Writer::bool);
                    });
                });
            });
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let own = fields.required(0, options::read)?;
        let modules = fields
            .optional(1, |r| {
                r.list(MAX_MODULES, |r| {
                    let mut fields = r.fields()?;
                    let options = fields.required(0, options::read)?;
                    let requires_parent = fields.optional(1, Reader::bool)?.unwrap_or(false);
                    fields.end()?;
                    Ok(ModuleItem { options, requires_parent })
                })
            })?
            .unwrap_or_default();
        fields.end()?;
        ProductItem::new(own, modules).map(Self).map_err(|_| CborError::Value("a product item that breaks a rule"))
    }
}
