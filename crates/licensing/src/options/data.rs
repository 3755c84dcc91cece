//! Data that a license carries: up to 128 numbered entries of up to 256 bytes for each kind.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::Text;

/// Why an entry cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// An entry number of 128 or more.
    #[error("data entries are numbered 0 to 127")]
    Number,
    /// An entry of more than 256 bytes.
    #[error("a data entry holds at most 256 bytes")]
    TooLong,
    /// Text that is not pairs of hexadecimal digits.
    #[error("hex data consists of pairs of the digits 0-9 and a-f")]
    Hex,
    /// An access code outside 8 to 64 bytes.
    #[error("an access code has 8 to 64 bytes")]
    AccessCode,
}

/// Numbered entries of bytes. In documents an entry is a text, or `{ hex: 00ff }` for other bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DataEntries(BTreeMap<u8, Vec<u8>>);

impl DataEntries {
    /// The most entries; their numbers are below this.
    pub const MAX_ENTRIES: usize = 128;
    /// The most bytes of one entry.
    pub const MAX_BYTES: usize = 256;

    /// Sets one entry.
    ///
    /// # Errors
    /// [`DataError`] when the number or the length is out of range; nothing is changed then.
    pub fn set(&mut self, number: u8, bytes: impl Into<Vec<u8>>) -> Result<(), DataError> {
        if usize::from(number) >= Self::MAX_ENTRIES {
            return Err(DataError::Number);
        }
        let bytes = bytes.into();
        if bytes.len() > Self::MAX_BYTES {
            return Err(DataError::TooLong);
        }
        self.0.insert(number, bytes);
        Ok(())
    }

    /// One entry.
    #[must_use]
    pub fn get(&self, number: u8) -> Option<&[u8]> {
        self.0.get(&number).map(Vec::as_slice)
    }

    /// All entries by ascending number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(number, bytes)| (*number, bytes.as_slice()))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The option `secret_data`: key material that no one can read back. `Debug` shows the number of entries alone.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretData(pub DataEntries);

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretData({} entries)", self.0.len())
    }
}

/// The code that opens hidden data: 8 to 64 bytes of text. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AccessCode(Text);

impl AccessCode {
    /// Takes a code.
    ///
    /// # Errors
    /// [`DataError::AccessCode`] when it is too short, too long or not one plain line.
    pub fn new(code: impl Into<String>) -> Result<Self, DataError> {
        let text = Text::new(code).map_err(|_| DataError::AccessCode)?;
        if (8..=64).contains(&text.as_str().len()) { Ok(Self(text)) } else { Err(DataError::AccessCode) }
    }

    /// The code itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for AccessCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessCode(*****)")
    }
}

impl<'de> Deserialize<'de> for AccessCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The option `hidden_data`: readable with an access code alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HiddenData {
    /// What a reader must show.
    pub access_code: AccessCode,
    /// What it then reads.
    pub entries: DataEntries,
}

impl fmt::Debug for HiddenData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HiddenData({} entries)", self.entries.len())
    }
}

/// One entry as documents write it.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a data entry is a text, or {hex: 00ff}")]
enum EntryDocument {
    Text(String),
    Hex(HexDocument),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HexDocument {
    hex: String,
}

impl From<&[u8]> for EntryDocument {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => Self::Text(text.to_owned()),
            _ => Self::Hex(HexDocument { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() }),
        }
    }
}

impl TryFrom<EntryDocument> for Vec<u8> {
    type Error = DataError;

    fn try_from(document: EntryDocument) -> Result<Self, DataError> {
        match document {
            EntryDocument::Text(text) => Ok(text.into_bytes()),
            EntryDocument::Hex(HexDocument { hex }) => hex
                .as_bytes()
                .chunks(2)
                .map(|pair| match pair {
                    [high, low] => Ok((nibble(*high)? << 4) | nibble(*low)?),
                    _ => Err(DataError::Hex),
                })
                .collect(),
        }
    }
}

fn nibble(digit: u8) -> Result<u8, DataError> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(DataError::Hex)
}

impl Serialize for DataEntries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(number, bytes)| (number, EntryDocument::from(bytes))))
    }
}

impl<'de> Deserialize<'de> for DataEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = DataEntries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("data entries by number, such as {0: text, 1: {hex: 00ff}}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DataEntries, A::Error> {
                let mut entries = DataEntries::default();
                while let Some((number, document)) = map.next_entry::<u8, EntryDocument>()? {
                    if entries.get(number).is_some() {
                        return Err(A::Error::custom(format_args!("data entry {number} is given twice")));
                    }
                    let bytes = Vec::try_from(document).map_err(A::Error::custom)?;
                    entries.set(number, bytes).map_err(A::Error::custom)?;
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
