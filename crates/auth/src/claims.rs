//! The claims of a token, read strictly.

use serde::{Deserialize, Serialize};

/// Longest text in a claim.
const CLAIM_BYTES: usize = 256;
/// Most audiences and roles.
const ENTRIES: usize = 64;

/// Claims that every token must carry. A wrong JSON type or a claim that stands there twice is an error of the whole token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: Audience,
    /// Seconds since 1970.
    pub(crate) exp: u64,
    /// Seconds since 1970.
    pub(crate) nbf: u64,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
}

/// One audience or several; the standard allows both forms.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub(crate) fn holds(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

impl Claims {
    /// Sizes that a token may have; a claim longer than that is nothing we would store or log.
    pub(crate) fn within_limits(&self) -> bool {
        let audiences = match &self.aud {
            Audience::One(_) => 1,
            Audience::Many(many) => many.len(),
        };
        (1..=CLAIM_BYTES).contains(&self.sub.len())
            && (1..=CLAIM_BYTES).contains(&self.iss.len())
            && !self.sub.chars().any(char::is_control)
            && audiences <= ENTRIES
            && self.roles.len() <= ENTRIES
    }
}

/// Only the claim that tells whose keys to take; nothing else is believed before the signature is checked.
#[derive(Debug, Deserialize)]
pub(crate) struct IssuerClaim {
    pub(crate) iss: String,
}
