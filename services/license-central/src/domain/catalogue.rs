//! The catalogue document: what a firm sells, in YAML or JSON, and the product items in it as they are stored.

use std::{collections::HashSet, fmt, str::FromStr};

use lictor_licensing::{
    FirmCode, ProductItem,
    error::{ErrorCode, Problem},
};
use serde::{Deserialize, Deserializer, Serialize};

use super::policy::{NoticeDays, Policy, Renewal, Replacement};

/// Most bytes of a document.
pub const DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// Most items of a document, and of a firm.
pub const MAX_ITEMS: usize = 2_000;
/// Most bytes of one encoded product item with its modules. A little less than fits into a container, because an order
/// may give the item a larger quantity.
pub const ITEM_BYTES: usize = lictor_license_file::limits::MAX_ITEM_BYTES - 16;
/// Most bytes of a parser's message that are passed on.
const MESSAGE_BYTES: usize = 400;

/// What orders call an item: 1 to 64 letters, digits, `.`, `_` and `-`, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ItemName(String);

/// A text that cannot name an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an item's name is 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit")]
pub struct ItemNameError;

impl ItemName {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ItemName {
    type Err = ItemNameError;

    fn from_str(text: &str) -> Result<Self, ItemNameError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        let starts = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if plain && starts && text.len() <= 64 { Ok(Self(text.to_owned())) } else { Err(ItemNameError) }
    }
}

impl<'de> Deserialize<'de> for ItemName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One sellable item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ItemDocument", into = "ItemDocument")]
pub struct CatalogueItem {
    /// What orders call it.
    pub name: ItemName,
    /// What a license of it says.
    pub product_item: ProductItem,
    /// What the vendor settles beside it.
    pub policy: Policy,
}

/// An item as documents write it: its policy stands beside the product item, key by key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "item")]
struct ItemDocument {
    name: ItemName,
    product_item: ProductItem,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    reactivation: Option<Replacement>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    renewal: Option<Renewal>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    expiry_notice_days: Option<NoticeDays>,
}

/// A key that stands in the document has a value.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::<T>::deserialize(deserializer)?;
    value.map(Some).ok_or_else(|| serde::de::Error::custom("a key beside product_item has no value"))
}

impl TryFrom<ItemDocument> for CatalogueItem {
    type Error = String;

    fn try_from(document: ItemDocument) -> Result<Self, String> {
        let policy = Policy {
            replacement: document.reactivation.unwrap_or_default(),
            renewal: document.renewal,
            expiry_notice_days: document.expiry_notice_days,
        };
        policy.fits(&document.product_item).map_err(|what| format!("the item {}: {what}", document.name))?;
        Ok(Self { name: document.name, product_item: document.product_item, policy })
    }
}

impl From<CatalogueItem> for ItemDocument {
    fn from(item: CatalogueItem) -> Self {
        let rule = item.policy.replacement;
        Self {
            name: item.name,
            product_item: item.product_item,
            reactivation: (rule != Replacement::default()).then_some(rule),
            renewal: item.policy.renewal,
            expiry_notice_days: item.policy.expiry_notice_days,
        }
    }
}

/// Everything that a firm sells, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "catalogue")]
pub struct Catalogue {
    /// The vendor.
    pub firm_code: FirmCode,
    /// Its items, in the order of the document.
    pub items: Vec<CatalogueItem>,
}

/// An item with the bytes that are stored and sent on.
#[derive(Clone, Debug)]
pub struct EncodedItem {
    /// The item as the document gave it.
    pub item: CatalogueItem,
    /// Deterministic CBOR of its product item.
    pub cbor: Vec<u8>,
}

impl Catalogue {
    /// Reads a document for `firm`.
    ///
    /// # Errors
    /// A [`Problem`] that names the line or the item and the rule.
    pub fn read(document: &str, firm: FirmCode) -> Result<Self, Problem> {
        if document.len() > DOCUMENT_BYTES {
            return Err(Problem::new(
                ErrorCode::LimitExceeded,
                "a catalogue document has at most 4 MiB",
                "divide it: applying a document never deletes items of another one",
            ));
        }
        let catalogue: Self = serde_norway::from_str(document).map_err(|error| {
            Problem::new(
                ErrorCode::InvalidArgument,
                format!("the catalogue document cannot be read: {}", one_line(&error.to_string())),
                "correct the document; its form is described in docs/catalogue.md",
            )
        })?;
        if catalogue.firm_code != firm {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                format!("the document is for firm code {}, not for {firm}", catalogue.firm_code),
                "correct firm_code in the document, or ask for the other firm",
            ));
        }
        if catalogue.items.len() > MAX_ITEMS {
            return Err(Problem::new(
                ErrorCode::LimitExceeded,
                format!("a catalogue has at most {MAX_ITEMS} items"),
                "divide the document",
            ));
        }
        let mut names = HashSet::new();
        if let Some(twice) = catalogue.items.iter().find(|item| !names.insert(&item.name)) {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                format!("the item {} stands in the document twice", twice.name),
                "keep one of the two",
            ));
        }
        Ok(catalogue)
    }

    /// Encodes all items.
    ///
    /// # Errors
    /// A [`Problem`] that names the item that does not fit into a container.
    pub fn encode(self) -> Result<Vec<EncodedItem>, Problem> {
        self.items
            .into_iter()
            .map(|item| {
                let cbor = encode(&item.product_item, &item.name)?;
                Ok(EncodedItem { item, cbor })
            })
            .collect()
    }

    /// The document as YAML.
    ///
    /// # Errors
    /// Text for the log, when the serializer fails.
    pub fn to_yaml(&self) -> Result<String, String> {
        serde_norway::to_string(self).map_err(|error| error.to_string())
    }
}

/// The stored form of a product item.
///
/// # Errors
/// A [`Problem`] when it is too large for a container.
pub fn encode(product_item: &ProductItem, name: &ItemName) -> Result<Vec<u8>, Problem> {
    let too_large = |bytes: String| {
        Problem::new(
            ErrorCode::LimitExceeded,
            format!("the item {name} has {bytes} bytes when encoded, and at most {ITEM_BYTES} fit"),
            "use fewer modules or less data in them",
        )
    };
    match lictor_license_file::product_item::encode(product_item) {
        Ok(cbor) if cbor.len() <= ITEM_BYTES => Ok(cbor),
        Ok(cbor) => Err(too_large(cbor.len().to_string())),
        Err(_) => Err(too_large("too many".to_owned())),
    }
}

/// Keeps a parser's message on one line and short.
fn one_line(message: &str) -> String {
    let mut end = message.len().min(MESSAGE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].chars().map(|symbol| if symbol.is_control() { ' ' } else { symbol }).collect()
}
