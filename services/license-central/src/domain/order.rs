//! An order as it may be: parsed and inside all limits before anything is stored.

use std::{fmt, num::NonZeroU32};

use lictor_licensing::{
    FirmCode, ProductItem,
    error::{ErrorCode, Problem},
};

use super::catalogue::ItemName;

/// Most lines of an order.
pub const MAX_LINES: usize = 100;
/// Most seats of one line.
pub const MAX_QUANTITY: u32 = 1_000_000;
/// Most bytes of a customer's name and of the vendor's own order number.
pub const TEXT_BYTES: usize = 128;

/// The name of a customer: one line of 1 to 128 bytes, without white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerName(String);

impl CustomerName {
    /// Takes a name.
    ///
    /// # Errors
    /// A [`Problem`] when it is empty, too long or not one plain line.
    pub fn new(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Problem::new(ErrorCode::InvalidArgument, "an order needs a customer", "name the customer"));
        }
        plain_line("a customer's name", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CustomerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The vendor's own order number: free text of one line, may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reference(String);

impl Reference {
    /// Takes a text.
    ///
    /// # Errors
    /// A [`Problem`] when it is too long or not one plain line.
    pub fn new(text: &str) -> Result<Self, Problem> {
        plain_line("an order reference", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn plain_line(what: &str, text: &str) -> Result<(), Problem> {
    if text.len() > TEXT_BYTES {
        return Err(Problem::new(
            ErrorCode::LimitExceeded,
            format!("{what} has at most {TEXT_BYTES} bytes"),
            "shorten it",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::new(
            ErrorCode::InvalidArgument,
            format!("{what} is one line without control characters"),
            "remove line breaks and tabs",
        ));
    }
    Ok(())
}

/// One line: an item, and how many seats of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// Which item.
    pub item: ItemName,
    /// Seats, when not the item's own quantity is wanted.
    pub quantity: Option<NonZeroU32>,
}

impl OrderLine {
    /// Takes a line; a quantity of 0 means the item's own.
    ///
    /// # Errors
    /// A [`Problem`] for a name that cannot be one or too many seats.
    pub fn new(item: &str, quantity: u32) -> Result<Self, Problem> {
        let item = item.parse().map_err(|error: super::catalogue::ItemNameError| {
            Problem::new(ErrorCode::InvalidArgument, error.to_string(), "see the catalogue for the names of items")
        })?;
        if quantity > MAX_QUANTITY {
            return Err(Problem::new(
                ErrorCode::LimitExceeded,
                format!("an order line has at most {MAX_QUANTITY} seats, not {quantity}"),
                "order fewer seats, or use several lines",
            ));
        }
        Ok(Self { item, quantity: NonZeroU32::new(quantity) })
    }

    /// Seats of the license that this line makes when the item itself has `own`; 0 when it is not counted.
    ///
    /// # Errors
    /// A [`Problem`] when seats are ordered of an item that is not counted.
    pub fn seats_of(&self, own: u32) -> Result<u32, Problem> {
        match (self.quantity, own) {
            (None, own) => Ok(own),
            (Some(_), 0) => Err(Problem::new(
                ErrorCode::InvalidArgument,
                format!("the item {} is not counted, so no number of seats can be ordered of it", self.item),
                "order it without a quantity, or give the item a license_quantity in the catalogue",
            )),
            (Some(seats), _) => Ok(seats.get()),
        }
    }
}

/// An order that may be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The vendor.
    pub firm: FirmCode,
    /// Who buys.
    pub customer: CustomerName,
    /// The vendor's own number for it.
    pub reference: Reference,
    /// 1 to 100 lines.
    pub lines: Vec<OrderLine>,
}

impl NewOrder {
    /// Takes an order.
    ///
    /// # Errors
    /// A [`Problem`] when it has no lines or too many.
    pub fn new(
        firm: FirmCode,
        customer: CustomerName,
        reference: Reference,
        lines: Vec<OrderLine>,
    ) -> Result<Self, Problem> {
        if lines.is_empty() {
            return Err(Problem::new(ErrorCode::InvalidArgument, "an order needs at least one item", "name an item"));
        }
        if lines.len() > MAX_LINES {
            return Err(Problem::new(
                ErrorCode::LimitExceeded,
                format!("an order has at most {MAX_LINES} lines, not {}", lines.len()),
                "divide it into several orders",
            ));
        }
        Ok(Self { firm, customer, reference, lines })
    }
}

/// The product item of a license: as modelled, with the seats that were sold.
///
/// # Errors
/// Text for the log, when stored numbers break the model's rules.
pub fn with_seats(item: &ProductItem, seats: u32) -> Result<ProductItem, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_seats_mean_the_items_own_and_huge_numbers_are_refused() {
        assert_eq!(OrderLine::new("truck", 0).and_then(|line| line.seats_of(5)), Ok(5));
        assert_eq!(OrderLine::new("truck", 7).and_then(|line| line.seats_of(5)), Ok(7));
        for huge in [MAX_QUANTITY + 1, u32::MAX] {
            let error = OrderLine::new("truck", huge).expect_err("refused");
            assert_eq!(error.code, ErrorCode::LimitExceeded);
        }
    }

    #[test]
    fn seats_of_an_uncounted_item_are_refused() {
        assert!(OrderLine::new("tram", 3).and_then(|line| line.seats_of(0)).is_err());
        assert_eq!(OrderLine::new("tram", 0).and_then(|line| line.seats_of(0)), Ok(0));
    }

    #[test]
    fn texts_are_one_short_line() {
        assert!(CustomerName::new("  ").is_err());
        assert!(CustomerName::new("a\nb").is_err());
        assert!(CustomerName::new(&"x".repeat(129)).is_err());
        assert!(Reference::new("a\u{7}").is_err());
        assert_eq!(CustomerName::new(" Müller & Söhne ").expect("a name").as_str(), "Müller & Söhne");
    }

    #[test]
    fn an_order_has_one_to_a_hundred_lines() {
        let make = |count: usize| {
            let lines = vec![OrderLine::new("truck", 1).expect("a line"); count];
            let firm = FirmCode::new(6).expect("a firm");
            NewOrder::new(firm, CustomerName::new("c").expect("a name"), Reference::default(), lines)
        };
        assert!(make(0).is_err());
        assert!(make(1).is_ok());
        assert!(make(100).is_ok());
        assert!(make(101).is_err());
    }
}
