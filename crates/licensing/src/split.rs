//! Splitting a license: a part of the product item's quantity goes, and every module goes along unchanged.

use crate::item::ProductItem;

/// Why a product item cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The vendor does not allow it.
    #[error("the vendor does not allow this license to be split")]
    Forbidden,
    /// No seat is to go.
    #[error("a split must take at least one seat")]
    Nothing,
    /// None would stay: that is a move of the whole.
    #[error("a split must leave at least one of {0} seats; move the whole license instead")]
    Everything(u32),
}

/// Divides a product item into what stays and what goes; together they have the quantity that it had.
///
/// # Errors
/// [`SplitError`] says why it cannot be divided so.
pub fn split(item: &ProductItem, take: u32) -> Result<(ProductItem, ProductItem), SplitError> {
    item.options().transfer.filter(|rule| rule.splittable).ok_or(SplitError::Forbidden)?;
    let quantity = item.options().license_quantity.ok_or(SplitError::Forbidden)?;
    if take == 0 {
        return Err(SplitError::Nothing);
    }
    let left = quantity.count().checked_sub(take).filter(|left| *left > 0);
    let left = left.ok_or(SplitError::Everything(quantity.count()))?;
    let part = |count| {
        let quantity = quantity.with_count(count).map_err(|_| SplitError::Nothing)?;
        item.with_quantity(quantity).map_err(|_| SplitError::Forbidden)
    };
    Ok((part(left)?, part(take)?))
}
