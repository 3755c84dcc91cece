//! The ticket's code: the bearer secret that a customer types to get licenses.
//!
//! 120 random bits make 24 Crockford digits; a 25th digit catches every single wrong digit and every swap of two digits.
//! It is shown as five groups of five. Stores keep only [`TicketCode::hash`]. Nothing but [`TicketCode::reveal`] gives
//! the text away: `Display`, `Debug` and therefore logs show the first group alone, and there is no serde on purpose.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::crockford;

/// Random bytes that one code is made from.
pub const CODE_BYTES: usize = 15;

/// A typed code longer than this is refused before it is looked at.
const MAX_TYPED_BYTES: usize = 64;
const SECRET_DIGITS: usize = 24;
const GROUP: usize = 5;
/// Keeps hashes of tickets apart from hashes of anything else.
const HASH_LABEL: &[u8] = b"lictor-ticket-code-v1";

/// Why a typed text is no ticket code. The text itself is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketCodeError {
    /// Not 25 digits.
    #[error("a ticket has 25 characters in five groups of five")]
    Length,
    /// A character that is neither digit, hyphen nor space.
    #[error("a ticket consists of the characters 0-9 and A-Z without I, L, O and U")]
    Character,
    /// The check character does not fit the others.
    #[error("the ticket contains a typing error: its last character does not fit the others")]
    Check,
}

/// A ticket's code, held in memory as its 120 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketCode([u8; CODE_BYTES]);

impl TicketCode {
    /// Makes a code from fresh random bytes.
    #[must_use]
    pub const fn new(random: [u8; CODE_BYTES]) -> Self {
        Self(random)
    }

    /// What stores keep and compare in place of the code: SHA-256 over a label and the 120 bits.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(HASH_LABEL).chain_update(self.0).finalize().into()
    }

    /// The whole secret as five groups of five, for the one who may see it.
    #[must_use]
    pub fn reveal(&self) -> String {
        let digits = self.digits();
        let mut text = String::with_capacity(29);
        for (place, digit) in digits.into_iter().chain([check_digit(&digits)]).enumerate() {
            if place != 0 && place % GROUP == 0 {
                text.push('-');
            }
            text.push(crockford::digit(digit));
        }
        text
    }

    /// The first group and stars: enough to tell two tickets apart, 95 bits short of using one.
    #[must_use]
    pub fn masked(&self) -> String {
        let first: String = self.digits().into_iter().take(GROUP).map(crockford::digit).collect();
        format!("{first}-*****-*****-*****-*****")
    }

    fn digits(&self) -> [u8; SECRET_DIGITS] {
        let bits = self.0.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        std::array::from_fn(|place| ((bits >> ((SECRET_DIGITS - 1 - place) * 5)) & 31) as u8)
    }
}

impl FromStr for TicketCode {
    type Err = TicketCodeError;

    /// Reads a code as typed: any case, with or without hyphens and spaces, O for 0 and I or L for 1.
    fn from_str(typed: &str) -> Result<Self, TicketCodeError> {
        if typed.len() > MAX_TYPED_BYTES {
            return Err(TicketCodeError::Length);
        }
        let mut bits: u128 = 0;
        let mut digits = [0_u8; SECRET_DIGITS + 1];
        let mut read = 0;
        for symbol in typed.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let value = crockford::lenient_value(symbol).ok_or(TicketCodeError::Character)?;
            *digits.get_mut(read).ok_or(TicketCodeError::Length)? = value;
            read += 1;
        }
        if read != digits.len() {
            return Err(TicketCodeError::Length);
        }
        let (secret, check) = digits.split_at(SECRET_DIGITS);
        if check != [check_digit(secret)] {
            return Err(TicketCodeError::Check);
        }
        for digit in secret {
            bits = (bits << 5) | u128::from(*digit);
        }
        let bytes = bits.to_be_bytes();
        Ok(Self(std::array::from_fn(|place| bytes[place + 1])))
    }
}

impl fmt::Display for TicketCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for TicketCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketCode({})", self.masked())
    }
}

/// The sum of the digits in the field of 32 elements, each weighted by another power of the field's generator. As the
/// weights differ and none is zero, one wrong digit or one swap always changes the sum.
fn check_digit(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |sum, digit| times_generator(sum ^ digit))
}

/// Multiplies by x modulo x^5 + x^2 + 1, whose root has order 31: 25 places have 25 different weights.
fn times_generator(value: u8) -> u8 {
    let shifted = value << 1;
    if shifted & 32 == 0 { shifted } else { (shifted & 31) ^ 0b0_0101 }
}
