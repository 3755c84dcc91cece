//! The feature map: 32 bits that say which features of a product a license opens.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A set of feature bits 0 to 31.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct FeatureMap(pub u32);

impl FeatureMap {
    /// No feature.
    pub const NONE: Self = Self(0);

    /// The bits themselves.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether every bit of `wanted` is set here.
    #[must_use]
    pub const fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// The bits of `wanted` that are not set here.
    #[must_use]
    pub const fn missing(self, wanted: Self) -> Self {
        Self(wanted.0 & !self.0)
    }

    /// How many bits are set here that `wanted` does not ask for.
    #[must_use]
    pub const fn additional(self, wanted: Self) -> u32 {
        (self.0 & !wanted.0).count_ones()
    }
}

impl From<u32> for FeatureMap {
    fn from(bits: u32) -> Self {
        Self(bits)
    }
}

impl fmt::Display for FeatureMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for FeatureMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeatureMap({:#x})", self.0)
    }
}

impl std::str::FromStr for FeatureMap {
    type Err = FeatureMapError;

    /// Reads `5`, `0x5` or `0b101`.
    fn from_str(text: &str) -> Result<Self, FeatureMapError> {
        let (digits, radix) = match text.get(..2) {
            Some("0x" | "0X") => (&text[2..], 16),
            Some("0b" | "0B") => (&text[2..], 2),
            _ => (text, 10),
        };
        // `from_str_radix` would take a sign.
        if digits.starts_with(['+', '-']) {
            return Err(FeatureMapError);
        }
        u32::from_str_radix(digits, radix).map(Self).map_err(|_| FeatureMapError)
    }
}

/// A text or number that is no feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a feature map is a number up to 0xffffffff, a text such as \"0x5\", or a list of bit numbers 0 to 31")]
pub struct FeatureMapError;

impl<'de> Deserialize<'de> for FeatureMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = FeatureMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&FeatureMapError, f)
            }

            fn visit_u64<E: de::Error>(self, bits: u64) -> Result<FeatureMap, E> {
                u32::try_from(bits).map(FeatureMap).map_err(|_| E::custom(FeatureMapError))
            }

            fn visit_i64<E: de::Error>(self, bits: i64) -> Result<FeatureMap, E> {
                u32::try_from(bits).map(FeatureMap).map_err(|_| E::custom(FeatureMapError))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FeatureMap, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FeatureMap, A::Error> {
                let mut map = 0_u32;
                while let Some(bit) = list.next_element::<u32>()? {
                    let mask = 1_u32.checked_shl(bit).ok_or_else(|| de::Error::custom(FeatureMapError))?;
                    if map & mask != 0 {
                        return Err(de::Error::custom(format_args!("feature bit {bit} is listed twice")));
                    }
                    map |= mask;
                }
                Ok(FeatureMap(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
