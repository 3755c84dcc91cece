//! Names of things: one type per kind, so that a ticket's id cannot stand where a license's id belongs.
//!
//! A text id is a prefix and 26 Crockford base32 digits of 128 bits: 48 bits of milliseconds, then 80 random bits. Ids
//! made later sort later, and only one spelling of each is accepted, so equal ids are equal texts in every table.

use std::fmt;
use std::str::FromStr;

use lictor_clock::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crockford;

/// Random bytes that one id is made from.
pub const RANDOM_BYTES: usize = 10;

const BODY_DIGITS: usize = 26;

/// Why a text or a number is no id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text does not start with the prefix of this kind.
    #[error("this id must start with {0}")]
    Prefix(&'static str),
    /// What follows the prefix is not 26 Crockford digits of 128 bits.
    #[error("this id must be {0} and 26 digits out of 0123456789ABCDEFGHJKMNPQRSTVWXYZ")]
    Body(&'static str),
    /// A firm code of zero, which means "not given".
    #[error("a firm code is a number from 1 to 4294967295")]
    FirmCode,
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from the present time and fresh random bytes.
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; RANDOM_BYTES]) -> Self {
                Self(time_and_random(now, random))
            }

            /// The 128 bits behind the text.
            #[must_use]
            pub const fn to_u128(self) -> u128 {
                self.0
            }

            /// The id of 128 bits that came from [`Self::to_u128`].
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write_body(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let body = text.strip_prefix($prefix).ok_or(IdError::Prefix($prefix))?;
                read_body(body).map(Self).ok_or(IdError::Body($prefix))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;

            fn try_from(text: &str) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_ids! {
    /// Names an order.
    OrderId = "ord_";
    /// Names a ticket in messages and tables; the secret that customers type is a [`TicketCode`](crate::TicketCode).
    TicketId = "tkt_";
    /// Names a license on a ticket.
    LicenseId = "lic_";
    /// Names a customer.
    CustomerId = "cus_";
    /// Names an item of the vendor's catalogue.
    ItemId = "itm_";
    /// Names an activation.
    ActivationId = "act_";
    /// Names an update of a container.
    UpdateId = "upd_";
    /// Names an event.
    EventId = "evt_";
    /// Names a session, a client's holding of a seat.
    SessionId = "ses_";
    /// Names a destination of notifications.
    DestinationId = "dst_";
    /// Names one delivery of a notification.
    DeliveryId = "dlv_";
    /// Names a replay of deliveries.
    ReplayId = "rpl_";
    /// Names an allocation, the part of a license that lies in one container.
    AllocationId = "alc_";
    /// Names a transfer of seats from one container to another.
    TransferId = "trf_";
}

fn time_and_random(now: Timestamp, random: [u8; RANDOM_BYTES]) -> u128 {
    let millis = u128::try_from(now.as_millis()).unwrap_or(0);
    random.iter().fold(millis, |bits, byte| (bits << 8) | u128::from(*byte))
}

fn write_body(bits: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    (0..BODY_DIGITS).rev().try_for_each(|place| {
        let digit = (bits >> (place * 5)) & 31;
        fmt::Write::write_char(f, crockford::digit(digit as u8))
    })
}

fn read_body(body: &str) -> Option<u128> {
    if body.len() != BODY_DIGITS {
        return None;
    }
    let mut bits: u128 = 0;
    for byte in body.bytes() {
        if bits >> 123 != 0 {
            return None;
        }
        bits = (bits << 5) | u128::from(crockford::strict_value(byte)?);
    }
    Some(bits)
}

/// Names a vendor, the firm; never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FirmCode(u32);

impl FirmCode {
    /// Takes a firm code.
    ///
    /// # Errors
    /// [`IdError::FirmCode`] for zero.
    pub const fn new(code: u32) -> Result<Self, IdError> {
        if code == 0 { Err(IdError::FirmCode) } else { Ok(Self(code)) }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for FirmCode {
    type Error = IdError;

    fn try_from(code: u32) -> Result<Self, IdError> {
        Self::new(code)
    }
}

impl FromStr for FirmCode {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map_err(|_| IdError::FirmCode).and_then(Self::new)
    }
}

impl<'de> Deserialize<'de> for FirmCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u32::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for FirmCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for FirmCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirmCode({})", self.0)
    }
}

/// Names a product of one firm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProductCode(pub u32);

impl ProductCode {
    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl From<u32> for ProductCode {
    fn from(code: u32) -> Self {
        Self(code)
    }
}

impl fmt::Display for ProductCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
