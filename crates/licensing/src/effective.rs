//! What an entry says with everything it inherits, and where its state lives.
//!
//! An option counts for a part when the part sets it, else when the product item does. State lives where the option is
//! set: modules that inherit a quantity, a usage period or a unit counter share the product item's pool, start or count.

use crate::access::{AccessMode, AccessModes};
use crate::feature::FeatureMap;
use crate::id::ProductCode;
use crate::item::{Part, ProductItem};
use crate::options::{OptionKind, OptionKinds, Options, Status};

/// Where an effective value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The part sets it itself.
    Own,
    /// A module takes it from its product item.
    Parent,
}

/// Which part's state counts for an entry, for each kind of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatePlaces {
    /// Whose pool of seats is used.
    pub pool: Part,
    /// Whose usage start counts.
    pub usage_start: Part,
    /// Whose used units count.
    pub units: Part,
    /// Whose user data are read and written.
    pub user_data: Part,
    /// Whose customer info is read and written.
    pub customer_info: Part,
}

/// One part of a product item as programs see it: it does not matter whether it is the item or a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveEntry {
    part: Part,
    product_code: ProductCode,
    parent_code: ProductCode,
    requires_parent: bool,
    native: OptionKinds,
    options: Options,
    places: StatePlaces,
}

impl EffectiveEntry {
    /// Resolves one part of an item; a module that does not exist gives none.
    #[must_use]
    pub fn of(item: &ProductItem, part: Part) -> Option<Self> {
        let requires_parent = match part {
            Part::Parent => false,
            Part::Module(module) => item.modules().get(usize::from(module))?.requires_parent,
        };
        let own = item.native(part);
        let native = own.kinds();
        let options = own.inheriting(item.options());
        let place = |kind| if native.contains(kind) { part } else { Part::Parent };
        Some(Self {
            part,
            product_code: options.product_code.unwrap_or(item.product_code()),
            parent_code: item.product_code(),
            requires_parent,
            native,
            places: StatePlaces {
                pool: place(OptionKind::LicenseQuantity),
                usage_start: place(OptionKind::UsagePeriod),
                units: place(OptionKind::UnitCounter),
                user_data: place(OptionKind::UserData),
                customer_info: place(OptionKind::CustomerInfo),
            },
            options,
        })
    }

    /// Resolves every part of an item, the product item first. Do this once per import, not per request.
    #[must_use]
    pub fn all_of(item: &ProductItem) -> Vec<Self> {
        item.parts().filter_map(|part| Self::of(item, part)).collect()
    }

    /// Which part this is.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.part
    }

    /// The product it opens.
    #[must_use]
    pub const fn product_code(&self) -> ProductCode {
        self.product_code
    }

    /// The code of the product item it belongs to; for the product item itself its own.
    #[must_use]
    pub const fn parent_code(&self) -> ProductCode {
        self.parent_code
    }

    /// The features it opens.
    #[must_use]
    pub fn feature_map(&self) -> FeatureMap {
        self.options.feature_map.unwrap_or(FeatureMap::NONE)
    }

    /// Whether a client must hold a seat of the product item first.
    #[must_use]
    pub const fn requires_parent(&self) -> bool {
        self.requires_parent
    }

    /// The options as they count.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Which options the part sets by itself.
    #[must_use]
    pub const fn native(&self) -> OptionKinds {
        self.native
    }

    /// Which options count, own and inherited.
    #[must_use]
    pub fn effective(&self) -> OptionKinds {
        self.options.kinds()
    }

    /// Where the value of an option came from; none when the option does not count here.
    #[must_use]
    pub fn source(&self, kind: OptionKind) -> Option<Source> {
        if self.native.contains(kind) {
            return Some(Source::Own);
        }
        self.effective().contains(kind).then_some(Source::Parent)
    }

    /// Where its state lives.
    #[must_use]
    pub const fn places(&self) -> StatePlaces {
        self.places
    }

    /// Whether the vendor lets it be used.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.options.status != Some(Status::Disabled)
    }

    /// The modes a caller may choose from: an uncounted license denies none.
    #[must_use]
    pub fn allowed_modes(&self) -> AccessModes {
        self.options.license_quantity.map_or(AccessModes::ALL, |quantity| quantity.allowed())
    }

    /// Whether an access in `mode` counts seats here.
    #[must_use]
    pub fn counts(&self, mode: AccessMode) -> bool {
        self.options.license_quantity.is_some() && mode != AccessMode::NoUserLimit
    }
}
