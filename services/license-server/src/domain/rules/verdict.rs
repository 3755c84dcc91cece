//! What the rules say.

use serde::Deserialize;

/// What a rule does with the callers it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// They may take seats.
    Allow,
    /// They may not.
    Deny,
}

/// A decision, and the rule that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it is.
    pub effect: Effect,
    /// Name of the rule; none when it was the default.
    pub rule: Option<String>,
}
