//! One macro for the small closed enums of the model and the sets of their values.

/// Makes a fieldless enum with stable kebab-case names, and a set type over it that is written as a list of names.
macro_rules! named_enum {
    (
        $(#[$doc:meta])* enum $name:ident, unknown $unknown:ident;
        $(#[$set_doc:meta])* set $set:ident;
        $($(#[$value_doc:meta])* $variant:ident = $text:literal,)+
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $variant,)+
        }

        #[doc = concat!("A name that is none of: ", $($text, " ",)+)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("unknown name; the known ones are{}", concat!($(" ", $text,)+))]
        pub struct $unknown;

        impl $name {
            /// Every value, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            const fn bit(self) -> u32 {
                1 << (self as u32)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $unknown;

            fn from_str(name: &str) -> Result<Self, $unknown> {
                Self::ALL.iter().copied().find(|value| value.name() == name).ok_or($unknown)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        $(#[$set_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $set(u32);

        impl $set {
            /// No value at all.
            pub const NONE: Self = Self(0);
            /// Every value.
            pub const ALL: Self = Self($($name::$variant.bit() |)+ 0);

            /// The set of these values.
            #[must_use]
            pub const fn of(values: &[$name]) -> Self {
                let mut bits = 0;
                let mut place = 0;
                while place < values.len() {
                    bits |= values[place].bit();
                    place += 1;
                }
                Self(bits)
            }

            /// Whether `value` belongs to the set.
            #[must_use]
            pub const fn contains(self, value: $name) -> bool {
                self.0 & value.bit() != 0
            }

            /// Whether the set has no value.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// This set and `value`.
            #[must_use]
            pub const fn with(self, value: $name) -> Self {
                Self(self.0 | value.bit())
            }

            /// The values that are in both sets.
            #[must_use]
            pub const fn intersection(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// The values that are not in the set.
            #[must_use]
            pub const fn complement(self) -> Self {
                Self(Self::ALL.0 & !self.0)
            }

            /// The values, in the order of the enum.
            pub fn iter(self) -> impl Iterator<Item = $name> {
                $name::ALL.iter().copied().filter(move |value| self.contains(*value))
            }

            /// One bit per value, counted from the lowest in the order of the enum: for compact files.
            #[must_use]
            pub const fn to_bits(self) -> u32 {
                self.0
            }

            /// The set behind [`Self::to_bits`]; none when a bit has no value.
            #[must_use]
            pub const fn from_bits(bits: u32) -> Option<Self> {
                if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
            }
        }

        impl FromIterator<$name> for $set {
            fn from_iter<I: IntoIterator<Item = $name>>(values: I) -> Self {
                values.into_iter().fold(Self::NONE, Self::with)
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                for (place, value) in self.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { ", " })?;
                    f.write_str(value.name())?;
                }
                Ok(())
            }
        }

        impl std::fmt::Debug for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_set().entries(self.iter()).finish()
            }
        }

        impl serde::Serialize for $set {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.iter())
            }
        }

        impl<'de> serde::Deserialize<'de> for $set {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::set::read_list::<D, $name>(deserializer, $name::ALL.len()).map(Self::from_iter)
            }
        }
    };
}

pub(crate) use named_enum;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a list of at most `most` different values.
pub(crate) fn read_list<'de, D, T>(deserializer: D, most: usize) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + PartialEq + Copy + std::fmt::Display,
{
    struct List<T>(usize, std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de> + PartialEq + Copy + std::fmt::Display> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {} different names", self.0)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = list.next_element::<T>()? {
                if values.contains(&value) {
                    return Err(A::Error::custom(format_args!("{value} is listed twice")));
                }
                values.push(value);
            }
            Ok(values)
        }
    }
    deserializer.deserialize_seq(List(most, std::marker::PhantomData))
}
