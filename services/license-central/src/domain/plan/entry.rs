//! The product item of an entry: as modelled, with the seats and the end that it has in its container.

use lictor_clock::Timestamp;
use lictor_licensing::{
    ModuleItem, Options, ProductItem,
    error::{ErrorCode, Problem},
};

use super::Entry;

/// An entry with so many seats that ends at `end`, if it ends by date. A module that sets an end of its own never outlives
/// an earlier end of the entry.
///
/// # Errors
/// A [`Problem`] when the entry would end before it becomes active; a fault of the store when numbers break the model.
pub(super) fn entry(item: &ProductItem, seats: u32, end: Option<Timestamp>) -> Result<Entry, Problem> {
    let item = with_seats(item, seats).map_err(|what| fault(&what))?;
    let item = match end {
        Some(end) if item.options().expiration_time != Some(end) => until(item, end)?,
        _ => item,
    };
    let product_item = lictor_license_file::product_item::encode(&item).map_err(|error| fault(&error.to_string()))?;
    Ok(Entry { product_item, quantity: seats })
}

/// The product item of a license: as modelled, with so many seats.
///
/// # Errors
/// Text for the log, when stored numbers break the model's rules.
pub(super) fn with_seats(item: &ProductItem, seats: u32) -> Result<ProductItem, String> {
    match item.options().license_quantity {
        Some(own) if seats != 0 && own.count() != seats => {
            let quantity = own.with_count(seats).map_err(|error| error.to_string())?;
            item.with_quantity(quantity).map_err(|error| error.to_string())
        }
        Some(_) => Ok(item.clone()),
        None if seats == 0 => Ok(item.clone()),
        None => Err(format!("{seats} seats of an item that is not counted")),
    }
}

fn until(item: ProductItem, end: Timestamp) -> Result<ProductItem, Problem> {
    let (options, modules) = item.into_parts();
    let options = Options { expiration_time: Some(end), ..options };
    let modules = modules
        .into_iter()
        .map(|module| {
            let expiration_time = module.options.expiration_time.map(|own| own.min(end));
            ModuleItem { options: Options { expiration_time, ..module.options }, ..module }
        })
        .collect();
    ProductItem::new(options, modules).map_err(|error| {
        Problem::new(
            ErrorCode::LicenseForbids,
            format!("the license cannot end on that date: {error}"),
            "use a later date",
        )
    })
}

fn fault(what: &str) -> Problem {
    tracing::error!(what, "a stored product item breaks the license model");
    Problem::new(ErrorCode::Internal, "license-central failed", "look into its log")
}
