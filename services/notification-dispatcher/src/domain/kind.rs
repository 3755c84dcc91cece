//! The kinds of ways to a destination, and where one goes, for people.

use lictor_api::notification::v1::{Transmission, transmission::Kind as Wire};

/// A kind of way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// POST of signed JSON.
    Webhook,
    /// OData with a CSRF token.
    Sap,
    /// The operator's program, or a gRPC service.
    Custom,
    /// One mail per delivery.
    Email,
    /// A line per delivery.
    File,
}

impl Kind {
    /// The word in tables and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Sap => "sap",
            Self::Custom => "custom",
            Self::Email => "email",
            Self::File => "file",
        }
    }

    /// The kind of a transmission; nothing when it says none.
    pub fn of(transmission: &Transmission) -> Option<Self> {
        Some(match transmission.kind.as_ref()? {
            Wire::Webhook(_) => Self::Webhook,
            Wire::Sap(_) => Self::Sap,
            Wire::Custom(_) => Self::Custom,
            Wire::Email(_) => Self::Email,
            Wire::File(_) => Self::File,
        })
    }
}

/// Where a transmission goes, for lists. It names no credentials.
pub fn address(transmission: &Transmission) -> String {
    match &transmission.kind {
        Some(Wire::Webhook(webhook)) => webhook.url.clone(),
        Some(Wire::Sap(sap)) => format!("{} {}", sap.url, sap.entity_set),
        Some(Wire::Custom(custom)) => custom.target.clone(),
        Some(Wire::Email(email)) => email.to.join(", "),
        Some(Wire::File(file)) => file.name.clone(),
        None => String::new(),
    }
}
