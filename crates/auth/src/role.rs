//! The roles, in one place.
//!
//! | role | who | may |
//! |---|---|---|
//! | `admin` | the vendor's operator | everything but what only services do |
//! | `product-manager` | who models products | the catalogue, license information files |
//! | `back-office` | the vendor's ERP, CRM or shop | orders, tickets, licenses, push updates, withdrawal |
//! | `support` | the vendor's staff | read everything, push updates, withdraw, take contexts in |
//! | `auditor` | revision | read everything, change nothing |
//! | `service` | another service of Lictor | what a saga needs; never given to people |
//!
//! Which RPC names which roles stands in each service's access table.
//! Customers have no role: a ticket or a signed context is their proof, and those RPCs are public.

use std::{fmt, str::FromStr};

/// What a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The vendor's administrator.
    Admin,
    /// Models products.
    ProductManager,
    /// The vendor's ordering systems.
    BackOffice,
    /// The vendor's support.
    Support,
    /// Reads only.
    Auditor,
    /// Another service of Lictor.
    Service,
}

impl Role {
    /// All roles, in the order of the table above.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::ProductManager, Self::BackOffice, Self::Support, Self::Auditor, Self::Service];

    /// All roles that people and their programs can have.
    pub const OF_PEOPLE: [Self; 5] =
        [Self::Admin, Self::ProductManager, Self::BackOffice, Self::Support, Self::Auditor];

    /// Its name in tokens and settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ProductManager => "product-manager",
            Self::BackOffice => "back-office",
            Self::Support => "support",
            Self::Auditor => "auditor",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| format!("{name:?} is no role"))
    }
}

/// Who calls, as a good token says; in the extensions of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The issuer's own name for the caller, at most 256 characters.
    pub subject: String,
    /// Who says so.
    pub issuer: String,
    /// What the caller is; sorted, each once, never empty behind `Access::AnyOf`.
    pub roles: Vec<Role>,
}

impl Caller {
    /// True when the caller has this role.
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Issuer and subject as one text: the `caller` of stored commands and of the audit log.
    pub fn key(&self) -> String {
        format!("{}|{}", self.issuer, self.subject)
    }
}
