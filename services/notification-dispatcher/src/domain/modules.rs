//! Modules: records about orders, licences and activations instead of plain events.

use lictor_api::notification::v1 as wire;

/// What may be chosen of a license, in records of the modules Licenses and Activations.
pub const PROPERTIES: &[&str] = &[
    "allocations",
    "available",
    "created_at",
    "customer",
    "expires_at",
    "firm_code",
    "item",
    "merged_into",
    "order_id",
    "previous",
    "product_code",
    "quantity",
    "remaining_seconds",
    "renewal_cancelled_at",
    "renews",
    "state",
    "subscription",
    "ticket",
];

/// Which records a destination gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// New orders and tickets.
    pub orders: bool,
    /// Licences, with these properties; none named means all.
    pub licenses: Option<Vec<String>>,
    /// Activations.
    pub activations: Option<Activations>,
}

/// How closely activations are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activations {
    /// How many records one transaction makes.
    pub level: Level,
    /// Which properties of each license stand beside its id.
    pub properties: Vec<String>,
}

/// The levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One record per license of each completed transaction.
    All,
    /// One record per completed transaction.
    OnePerTicket,
    /// The latest per license, and nothing that a later one made stale.
    CurrentStatus,
}

/// Why modules cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModulesError {
    /// Nothing would ever be sent.
    #[error("no module is chosen")]
    None,
    /// Activations without a level.
    #[error("the module Activations needs one of the levels all, one-per-ticket and current-status")]
    Level,
    /// An unknown property.
    #[error("{0:?} is no property of a license; there are {list}", list = PROPERTIES.join(", "))]
    Property(String),
}

impl TryFrom<wire::Modules> for Modules {
    type Error = ModulesError;

    fn try_from(wanted: wire::Modules) -> Result<Self, ModulesError> {
        let licenses = wanted.licenses.map(|module| properties(module.properties)).transpose()?;
        let activations = wanted.activations.map(activations).transpose()?;
        if !wanted.orders && licenses.is_none() && activations.is_none() {
            return Err(ModulesError::None);
        }
        Ok(Self { orders: wanted.orders, licenses, activations })
    }
}

fn activations(module: wire::ActivationsModule) -> Result<Activations, ModulesError> {
    let level = match wire::ActivationLevel::try_from(module.level) {
        Ok(wire::ActivationLevel::All) => Level::All,
        Ok(wire::ActivationLevel::OnePerTicket) => Level::OnePerTicket,
        Ok(wire::ActivationLevel::CurrentStatus) => Level::CurrentStatus,
        Ok(wire::ActivationLevel::Unspecified) | Err(_) => return Err(ModulesError::Level),
    };
    Ok(Activations { level, properties: properties(module.properties)? })
}

/// At most as many as there are: each is named once.
fn properties(names: Vec<String>) -> Result<Vec<String>, ModulesError> {
    let mut list: Vec<String> = Vec::new();
    for name in names {
        if !PROPERTIES.contains(&name.as_str()) {
            return Err(ModulesError::Property(name.chars().take(64).collect()));
        }
        if !list.contains(&name) {
            list.push(name);
        }
    }
    Ok(list)
}

impl Level {
    /// Whether a record about activations of this event type is made. What is completed is a transaction; that its
    /// container has proven it changes the status.
    pub fn tells(self, kind: &str) -> bool {
        match self {
            Self::All | Self::OnePerTicket => kind == "lictor.activation.completed.v1",
            Self::CurrentStatus => kind.starts_with("lictor.activation."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_refused() {
        assert_eq!(Modules::try_from(wire::Modules::default()), Err(ModulesError::None));
        let unleveled = wire::Modules { activations: Some(wire::ActivationsModule::default()), ..Default::default() };
        assert_eq!(Modules::try_from(unleveled), Err(ModulesError::Level));
        let unknown = wire::LicensesModule { properties: vec!["colour".to_owned()] };
        let unknown = wire::Modules { licenses: Some(unknown), ..Default::default() };
        assert_eq!(Modules::try_from(unknown), Err(ModulesError::Property("colour".to_owned())));
    }
}
