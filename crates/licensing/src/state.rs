//! What the device adds to an entry. The vendor's options are never changed by it, and an update of the vendor never
//! changes this: the start is set once, the used units only rise, written data stay beside the vendor's.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;

use crate::item::Part;
use crate::options::DataEntries;

/// The state of one part: of the product item or of one module.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PartState {
    /// Whether the customer has switched it off.
    pub disabled: bool,
    /// When the first successful access was; set once.
    pub usage_start: Option<Timestamp>,
    /// Units used so far; never falls.
    pub units_used: u64,
    /// What the program wrote; the vendor's user data where it wrote nothing.
    pub user_data: DataEntries,
    /// What the customer wrote; the vendor's customer info where nothing was written.
    pub customer_info: DataEntries,
}

/// Why units cannot be taken. Nothing is taken then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no unit counter.
    #[error("the license has no unit counter")]
    Missing,
    /// All granted units are used.
    #[error("no units are left")]
    Zero,
    /// Fewer are left than wanted.
    #[error("only {left} units are left")]
    Underrun {
        /// How many are left.
        left: u64,
    },
}

/// Units left when `granted` were granted and `used` were used; an update that grants less than was used leaves none.
#[must_use]
pub const fn units_left(granted: u64, used: u64) -> u64 {
    granted.saturating_sub(used)
}

/// Checks whether `wanted` units can be taken.
///
/// # Errors
/// [`UnitError`] says what is left.
pub const fn check_units(granted: Option<u64>, used: u64, wanted: u64) -> Result<(), UnitError> {
    let Some(granted) = granted else {
        return Err(UnitError::Missing);
    };
    match units_left(granted, used) {
        0 => Err(UnitError::Zero),
        left if left < wanted => Err(UnitError::Underrun { left }),
        _ => Ok(()),
    }
}

/// The device's state of one product item with its modules.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EntryState {
    parts: BTreeMap<Part, PartState>,
}

impl EntryState {
    /// The state of one part.
    #[must_use]
    pub fn part(&self, part: Part) -> &PartState {
        static FRESH: std::sync::LazyLock<PartState> = std::sync::LazyLock::new(PartState::default);
        self.parts.get(&part).unwrap_or(&FRESH)
    }

    /// The parts that have state, in their order.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &PartState)> {
        self.parts.iter().map(|(part, state)| (*part, state))
    }

    /// Restores the state of one part from a journal or snapshot.
    pub fn restore(&mut self, part: Part, state: PartState) {
        self.parts.insert(part, state);
    }

    /// Switches a part off or on.
    pub fn set_disabled(&mut self, part: Part, disabled: bool) {
        self.parts.entry(part).or_default().disabled = disabled;
    }

    /// Starts the usage period of a part at `now`, unless it has started; returns the start that counts.
    pub fn start_usage(&mut self, part: Part, now: Timestamp) -> Timestamp {
        *self.parts.entry(part).or_default().usage_start.get_or_insert(now)
    }

    /// Takes `wanted` units of a part of which `granted` were granted; returns how many are left.
    ///
    /// # Errors
    /// [`UnitError`]; nothing is taken then.
    pub fn take_units(&mut self, part: Part, granted: Option<u64>, wanted: u64) -> Result<u64, UnitError> {
        let used = self.part(part).units_used;
        check_units(granted, used, wanted)?;
        // Cannot overflow: what is left of `granted` covers it.
        let used = used.saturating_add(wanted);
        self.parts.entry(part).or_default().units_used = used;
        Ok(units_left(granted.unwrap_or(0), used))
    }

    /// The data that a program or customer may change on a part.
    pub fn part_mut(&mut self, part: Part) -> WritableData<'_> {
        let state = self.parts.entry(part).or_default();
        WritableData { user_data: &mut state.user_data, customer_info: &mut state.customer_info }
    }
}

/// The two kinds of data that people and programs on the customer's side may write.
#[derive(Debug)]
pub struct WritableData<'a> {
    /// Written by programs.
    pub user_data: &'a mut DataEntries,
    /// Written by the customer.
    pub customer_info: &'a mut DataEntries,
}
