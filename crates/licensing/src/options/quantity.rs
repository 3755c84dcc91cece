//! How many seats a license has, and how they may be used.

use serde::{Deserialize, Serialize};

use crate::access::{AccessMode, AccessModes};

/// Why a quantity cannot be sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// A license for nobody.
    #[error("a license quantity of 0 can never be used; leave the option out for a local license that is not counted")]
    Zero,
    /// More than [`Quantity::MAX`].
    #[error("a license quantity may not exceed 10000000")]
    TooLarge,
    /// No access mode is left.
    #[error("a license quantity must allow at least one access mode")]
    NoMode,
    /// `local_only` together with `allow_wan`.
    #[error("a license quantity cannot be local_only and allow_wan at once")]
    LocalWan,
}

/// The option `license_quantity`: a number of seats in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "QuantityDocument", into = "QuantityDocument")]
pub struct Quantity {
    count: u32,
    allow: AccessModes,
    local_only: bool,
    allow_wan: bool,
}

impl Quantity {
    /// The most seats one license may have.
    pub const MAX: u32 = 10_000_000;

    /// `count` seats that programs of the network may take in mode user limit.
    ///
    /// # Errors
    /// [`QuantityError`] when `count` is zero or above [`Self::MAX`].
    pub const fn new(count: u32) -> Result<Self, QuantityError> {
        if count == 0 {
            return Err(QuantityError::Zero);
        }
        if count > Self::MAX {
            return Err(QuantityError::TooLarge);
        }
        Ok(Self { count, allow: AccessModes::COUNTED_DEFAULT, local_only: false, allow_wan: false })
    }

    /// The same with exactly these modes; what is not among them is denied.
    ///
    /// # Errors
    /// [`QuantityError::NoMode`] for an empty set.
    pub const fn allowing(self, modes: AccessModes) -> Result<Self, QuantityError> {
        if modes.is_empty() {
            return Err(QuantityError::NoMode);
        }
        Ok(Self { allow: modes, ..self })
    }

    /// The same for local programs alone.
    #[must_use]
    pub const fn local_only(self) -> Self {
        Self { local_only: true, allow_wan: false, ..self }
    }

    /// The same, open to programs outside the network too.
    #[must_use]
    pub const fn with_wan(self) -> Self {
        Self { local_only: false, allow_wan: true, ..self }
    }

    /// The same with another number of seats.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_count(self, count: u32) -> Result<Self, QuantityError> {
        Self::new(count).map(|new| Self { count: new.count, ..self })
    }

    /// Seats in the pool, 1 to [`Self::MAX`].
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The modes a caller may choose from; never empty.
    #[must_use]
    pub const fn allowed(self) -> AccessModes {
        self.allow
    }

    /// The modes that the vendor denies.
    #[must_use]
    pub const fn denied(self) -> AccessModes {
        self.allow.complement()
    }

    /// Whether only local programs may use it.
    #[must_use]
    pub const fn is_local_only(self) -> bool {
        self.local_only
    }

    /// Whether programs outside the network may use it.
    #[must_use]
    pub const fn allows_wan(self) -> bool {
        self.allow_wan
    }

    /// Whether `mode` may be used.
    #[must_use]
    pub const fn allows(self, mode: AccessMode) -> bool {
        self.allow.contains(mode)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantityDocument {
    count: u32,
    #[serde(default = "counted_default")]
    allow: AccessModes,
    #[serde(default)]
    local_only: bool,
    #[serde(default)]
    allow_wan: bool,
}

const fn counted_default() -> AccessModes {
    AccessModes::COUNTED_DEFAULT
}

impl TryFrom<QuantityDocument> for Quantity {
    type Error = QuantityError;

    fn try_from(document: QuantityDocument) -> Result<Self, QuantityError> {
        if document.local_only && document.allow_wan {
            return Err(QuantityError::LocalWan);
        }
        let quantity = Self::new(document.count)?.allowing(document.allow)?;
        Ok(Self { local_only: document.local_only, allow_wan: document.allow_wan, ..quantity })
    }
}

impl From<Quantity> for QuantityDocument {
    fn from(quantity: Quantity) -> Self {
        let Quantity { count, allow, local_only, allow_wan } = quantity;
        Self { count, allow, local_only, allow_wan }
    }
}
