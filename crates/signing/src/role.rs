//! What a key of the root document may sign.

use std::fmt;

/// A role of the root document. Its number is what files carry, and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Root documents, nothing else. Kept offline.
    Root,
    /// Segments, modified contexts and licence information files. Online, with a window of validity.
    Issue,
    /// Reserved: second signature over segments of high value.
    Policy,
    /// Time statements.
    Time,
    /// Rebases after a fork or a restore.
    Support,
    /// Certificates of the lease keys of licence servers.
    LeaseCertifier,
}

impl Role {
    /// Every role, in the order of its number.
    pub const ALL: [Role; 6] = [Role::Root, Role::Issue, Role::Policy, Role::Time, Role::Support, Role::LeaseCertifier];

    /// The number in files.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Role::Root => 0,
            Role::Issue => 1,
            Role::Policy => 2,
            Role::Time => 3,
            Role::Support => 4,
            Role::LeaseCertifier => 5,
        }
    }

    /// The role with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.number() == number)
    }

    /// The name in settings, file names and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Issue => "issue",
            Role::Policy => "policy",
            Role::Time => "time",
            Role::Support => "support",
            Role::LeaseCertifier => "lease-certifier",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
