//! Product items with their module items: one level deep, one indivisible unit.
//!
//! A module may carry every option. Those that concern the unit as a whole (`transfer`, `subscription`) count only on the
//! product item; `bindings` of a module narrow where the whole unit may live.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::binding::{self, Bindings};
use crate::id::ProductCode;
use crate::options::{ItemDocument, ModuleDocument, NothingGiven, Options, Quantity};

/// The most modules of one product item.
pub const MAX_MODULES: usize = 256;

/// Why options cannot form an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// The product item does not say which product it is.
    #[error("a product item needs a product_code")]
    ProductCode,
    /// More than [`MAX_MODULES`].
    #[error("a product item has at most 256 modules, not {0}")]
    TooManyModules(usize),
    /// With what it inherits, an entry would end before it starts.
    #[error("{0} would expire before it becomes active: expiration_time must lie after activation_time")]
    NeverValid(Part),
    /// The modules' bindings and the parent's have nothing in common.
    #[error("the bindings of the product item and its modules leave no container that the license may live in")]
    NoBinding,
    /// Splitting needs a quantity on the product item.
    #[error("a splittable product item needs a license_quantity of its own")]
    SplitWithoutQuantity,
    /// Each part would get all units: splitting would print money.
    #[error("{0} has a unit_counter, which cannot be split: leave splittable or unit_counter out")]
    SplitWithUnits(Part),
}

/// A part of a unit: the product item itself or one of its modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The product item.
    Parent,
    /// The module at this place, counted from zero; below [`MAX_MODULES`].
    Module(u16),
}

impl Part {
    /// The part at a place in the order parent, first module, second module, …
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        match index.checked_sub(1) {
            None => Some(Self::Parent),
            Some(module) if module < MAX_MODULES => u16::try_from(module).ok().map(Self::Module),
            Some(_) => None,
        }
    }

    /// The place in the order parent, first module, second module, …
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Parent => 0,
            Self::Module(module) => usize::from(module) + 1,
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parent => f.write_str("the product item"),
            Self::Module(module) => write!(f, "module {}", usize::from(*module) + 1),
        }
    }
}

/// A license entry nested under a product item. It cannot hold modules itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ModuleItem {
    /// What the module sets by itself; the rest is the product item's.
    pub options: Options,
    /// Whether only a client that holds a seat of the product item may use the module.
    pub requires_parent: bool,
}

/// A license entry with its modules: checked, and never changed in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductItem {
    product_code: ProductCode,
    options: Options,
    modules: Vec<ModuleItem>,
}

impl ProductItem {
    /// Builds an item, checking every rule that spans several options.
    ///
    /// # Errors
    /// [`ItemError`] names the part and the rule.
    pub fn new(options: Options, modules: Vec<ModuleItem>) -> Result<Self, ItemError> {
        let product_code = options.product_code.ok_or(ItemError::ProductCode)?;
        if modules.len() > MAX_MODULES {
            return Err(ItemError::TooManyModules(modules.len()));
        }
        let item = Self { product_code, options, modules };
        item.parts().try_for_each(|part| item.check_part(part))?;
        if item.bindings().is_empty() {
            return Err(ItemError::NoBinding);
        }
        item.check_split()?;
        Ok(item)
    }

    fn check_part(&self, part: Part) -> Result<(), ItemError> {
        let own = self.native(part);
        let activation = own.activation_time.or(self.options.activation_time);
        let expiration = own.expiration_time.or(self.options.expiration_time);
        if let (Some(from), Some(until)) = (activation, expiration)
            && until <= from
        {
            return Err(ItemError::NeverValid(part));
        }
        Ok(())
    }

    fn check_split(&self) -> Result<(), ItemError> {
        if !self.options.transfer.is_some_and(|rule| rule.splittable) {
            return Ok(());
        }
        if self.options.license_quantity.is_none() {
            return Err(ItemError::SplitWithoutQuantity);
        }
        self.parts()
            .find(|part| self.native(*part).unit_counter.is_some())
            .map_or(Ok(()), |part| Err(ItemError::SplitWithUnits(part)))
    }

    /// The product item's own code.
    #[must_use]
    pub const fn product_code(&self) -> ProductCode {
        self.product_code
    }

    /// The options that the product item sets.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The modules, in their order.
    #[must_use]
    pub fn modules(&self) -> &[ModuleItem] {
        &self.modules
    }

    /// The options that one part sets by itself; a module that does not exist sets none.
    #[must_use]
    pub fn native(&self, part: Part) -> &Options {
        static NOTHING: std::sync::LazyLock<Options> = std::sync::LazyLock::new(Options::default);
        match part {
            Part::Parent => &self.options,
            Part::Module(module) => self.modules.get(usize::from(module)).map_or(&*NOTHING, |module| &module.options),
        }
    }

    /// The product item and its modules, in their order.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        (0..=self.modules.len()).map_while(Part::from_index)
    }

    /// Where the unit may live: the parent's bindings, narrowed by every module that sets its own.
    #[must_use]
    pub fn bindings(&self) -> Bindings {
        binding::of_whole(&self.options, self.modules.iter().map(|module| &module.options))
    }

    /// The same item with another quantity on the product item; the modules stay as they are.
    ///
    /// # Errors
    /// [`ItemError`] when the item with this quantity breaks a rule.
    pub fn with_quantity(&self, quantity: Quantity) -> Result<Self, ItemError> {
        let options = Options { license_quantity: Some(quantity), ..self.options.clone() };
        Self::new(options, self.modules.clone())
    }

    /// Gives the options and modules back, for building a changed item.
    #[must_use]
    pub fn into_parts(self) -> (Options, Vec<ModuleItem>) {
        (self.options, self.modules)
    }
}

impl Serialize for ProductItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let modules =
            self.modules.iter().cloned().map(|module| ModuleDocument::new(module.options, module.requires_parent));
        ItemDocument::new(self.options.clone(), modules.collect()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ProductItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut document = ItemDocument::deserialize(deserializer)?;
        let modules = std::mem::take(&mut document.modules).into_iter().map(|mut module| {
            let options = module.take_options()?;
            Ok(ModuleItem { options, requires_parent: module.requires_parent })
        });
        let modules: Result<_, NothingGiven> = modules.collect();
        let modules = modules.map_err(D::Error::custom)?;
        let options = document.take_options().map_err(D::Error::custom)?;
        Self::new(options, modules).map_err(D::Error::custom)
    }
}
