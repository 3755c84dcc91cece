//! How much each product was used, hour by hour, for a month.

use std::collections::{BTreeMap, VecDeque};

use lictor_clock::Timestamp;
use lictor_licensing::id::{FirmCode, ProductCode};
use lictor_signing::cbor::{CborError, Reader, Writer};

use super::session::read_firm;

/// Hours that are remembered of a product.
pub const MAX_HOURS: usize = 744;
/// Products that are remembered.
const MAX_PRODUCTS: usize = 1_024;
const MICROS_PER_HOUR: i64 = 3_600 * 1_000_000;

/// One hour of one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Which hour, counted from 1970.
    pub number: u64,
    /// Seats in use at most at one moment at which one was given.
    pub max_used: u32,
    /// Seats that were given.
    pub granted: u64,
    /// Wishes that were refused.
    pub denied: u64,
}

impl Hour {
    /// When it began.
    #[must_use]
    pub fn begins(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.number).unwrap_or(i64::MAX).saturating_mul(MICROS_PER_HOUR))
    }
}

/// The number of the hour that a time lies in.
#[must_use]
pub fn hour_of(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros().div_euclid(MICROS_PER_HOUR)).unwrap_or(0)
}

/// How much each product was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<(FirmCode, ProductCode), VecDeque<Hour>>);

impl Usage {
    fn hour(&mut self, firm: FirmCode, product: ProductCode, at: Timestamp) -> Option<&mut Hour> {
        if self.0.len() >= MAX_PRODUCTS && !self.0.contains_key(&(firm, product)) {
            return None;
        }
        let hours = self.0.entry((firm, product)).or_default();
        // A clock that was set back counts for the hour that was reached.
        let number = hour_of(at).max(hours.back().map_or(0, |hour| hour.number));
        if hours.back().is_none_or(|hour| hour.number < number) {
            hours.push_back(Hour { number, ..Hour::default() });
            if hours.len() > MAX_HOURS {
                hours.pop_front();
            }
        }
        hours.back_mut()
    }

    /// A seat was given, after which so many are in use.
    pub fn granted(&mut self, firm: FirmCode, product: ProductCode, used: u32, at: Timestamp) {
        if let Some(hour) = self.hour(firm, product, at) {
            hour.granted += 1;
            hour.max_used = hour.max_used.max(used);
        }
    }

    /// A seat was given that could not be written.
    pub fn not_granted(&mut self, firm: FirmCode, product: ProductCode) {
        if let Some(hour) = self.0.get_mut(&(firm, product)).and_then(VecDeque::back_mut) {
            hour.granted = hour.granted.saturating_sub(1);
        }
    }

    /// A wish was refused. Only for products that there are: names that nobody sells are not remembered.
    pub fn denied(&mut self, firm: FirmCode, product: ProductCode, at: Timestamp) {
        if let Some(hour) = self.hour(firm, product, at) {
            hour.denied += 1;
        }
    }

    /// Every product with its hours, the oldest first.
    pub fn products(&self) -> impl Iterator<Item = (FirmCode, ProductCode, &VecDeque<Hour>)> {
        self.0.iter().map(|((firm, product), hours)| (*firm, *product, hours))
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        writer.array(self.0.len());
        for ((firm, product), hours) in &self.0 {
            writer.array(3);
            writer.uint(u64::from(firm.get()));
            writer.uint(u64::from(product.0));
            writer.array(hours.len());
            for hour in hours {
                writer.array(4);
                writer.uint(hour.number);
                writer.uint(u64::from(hour.max_used));
                writer.uint(hour.granted);
                writer.uint(hour.denied);
            }
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not written by [`Usage::write`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let parts = |r: &mut Reader<'_>, wanted: u64| {
            if r.array(4)? as u64 == wanted { Ok(()) } else { Err(CborError::Value("usage of other parts")) }
        };
        let products = reader.list(MAX_PRODUCTS, |r| {
            parts(r, 3)?;
            let key = (read_firm(r)?, ProductCode(r.u32()?));
            let hours = r.list(MAX_HOURS, |r| {
                parts(r, 4)?;
                Ok(Hour { number: r.uint()?, max_used: r.u32()?, granted: r.uint()?, denied: r.uint()? })
            })?;
            Ok((key, hours.into()))
        })?;
        Ok(Self(products.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_keeps_the_most_that_was_used_and_a_month_is_remembered() {
        let (firm, product) = (FirmCode::new(6_000_001).expect("a firm"), ProductCode(7));
        let mut usage = Usage::default();
        let at = |hour: i64| Timestamp::from_micros(hour * MICROS_PER_HOUR + 5);
        usage.granted(firm, product, 3, at(10));
        usage.granted(firm, product, 2, at(10));
        usage.denied(firm, product, at(10));
        usage.denied(firm, product, at(4));
        let (.., hours) = usage.products().next().expect("one");
        assert_eq!(hours, &[Hour { number: 10, max_used: 3, granted: 2, denied: 2 }], "a clock set back opens no hour");
        for hour in 11..2_000 {
            usage.granted(firm, product, 1, at(hour));
        }
        let (.., hours) = usage.products().next().expect("one");
        assert_eq!((hours.len(), hours[0].number), (MAX_HOURS, 2_000 - 744));
        let mut writer = Writer::new();
        usage.write(&mut writer);
        let bytes = writer.into_bytes();
        assert_eq!(Usage::read(&mut Reader::new(&bytes)), Ok(usage));
    }
}
