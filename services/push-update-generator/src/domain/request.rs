//! What the issuing of a segment is asked with, parsed: nothing behind this point sees raw strings.

use std::collections::BTreeSet;

use lictor_license_file::{ContainerId, Digest, limits::MAX_ITEM_BYTES};
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{FirmCode, LicenseId},
};
use lictor_signing::cbor::Writer;

use super::container::ChainKey;

/// Most operations of one request; the segment also has to hold the product keys that they need.
pub const MAX_OPERATIONS: usize = lictor_license_file::limits::MAX_OPERATIONS;
/// Longest reference in bytes.
pub const MAX_REFERENCE_BYTES: usize = 64;

/// One change of what a container holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A license goes in.
    Add {
        /// The license.
        license: LicenseId,
        /// Its product item, encoded.
        item: Vec<u8>,
        /// Seats of it that go into this container; 0 for a license that is not counted.
        quantity: u32,
    },
    /// A license goes out.
    Withdraw {
        /// The license.
        license: LicenseId,
    },
}

impl Change {
    /// The license that it is about.
    #[must_use]
    pub const fn license(&self) -> LicenseId {
        match self {
            Self::Add { license, .. } | Self::Withdraw { license } => *license,
        }
    }
}

/// A request to issue one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRequest {
    /// The caller's name for the segment; the same name never makes a second one.
    pub reference: String,
    /// Whose chain.
    pub key: ChainKey,
    /// What it does, in order; each license once.
    pub changes: Vec<Change>,
}

/// Why a request has no good form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The reference is empty, too long or not printable.
    #[error("the reference must be 1 to {MAX_REFERENCE_BYTES} printable ASCII characters without spaces")]
    Reference,
    /// None, or too many.
    #[error("a segment has 1 to {MAX_OPERATIONS} operations, not {0}")]
    Operations(usize),
    /// One of the operations is empty.
    #[error("operation {0} says neither what to add nor what to withdraw")]
    NoOperation(usize),
    /// Not a license id.
    #[error("operation {0} does not name a license")]
    License(usize),
    /// Larger than any product item.
    #[error("the product item of operation {0} exceeds {MAX_ITEM_BYTES} bytes")]
    Item(usize),
    /// Two operations about one license.
    #[error("license {0} appears in more than one operation")]
    Twice(LicenseId),
    /// Not a container id.
    #[error("the container id must be 64 lower-case hexadecimal digits")]
    Container,
    /// Zero.
    #[error("the firm code must not be 0")]
    Firm,
}

impl IssueRequest {
    /// Checks the form of a request.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(
        reference: String,
        firm_code: u32,
        container_id: &str,
        changes: Vec<Change>,
    ) -> Result<Self, RequestError> {
        let printable = reference.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable || !(1..=MAX_REFERENCE_BYTES).contains(&reference.len()) {
            return Err(RequestError::Reference);
        }
        let firm = FirmCode::new(firm_code).map_err(|_| RequestError::Firm)?;
        let container = ContainerId::from_hex(container_id).ok_or(RequestError::Container)?;
        if !(1..=MAX_OPERATIONS).contains(&changes.len()) {
            return Err(RequestError::Operations(changes.len()));
        }
        let mut seen = BTreeSet::new();
        for (place, change) in changes.iter().enumerate() {
            if let Change::Add { item, .. } = change
                && item.len() > MAX_ITEM_BYTES
            {
                return Err(RequestError::Item(place));
            }
            if !seen.insert(change.license()) {
                return Err(RequestError::Twice(change.license()));
            }
        }
        Ok(Self { reference, key: ChainKey { container, firm }, changes })
    }

    /// Whether it only takes away, which is all that a suspected container gets.
    #[must_use]
    pub fn only_withdraws(&self) -> bool {
        self.changes.iter().all(|change| matches!(change, Change::Withdraw { .. }))
    }

    /// Whether a refusal of it stands for ever. The caller of one that adds licenses gives them back and may sell them
    /// elsewhere, so a copy of the request that is still on its way must find the same answer. A withdrawal is asked for
    /// until it is done, and what stands for doubt or for a fault may pass.
    #[must_use]
    pub fn stays_refused(&self, problem: &Problem) -> bool {
        let may_pass = matches!(
            problem.code,
            ErrorCode::Internal
                | ErrorCode::Unavailable
                | ErrorCode::DeadlineExceeded
                | ErrorCode::Overloaded
                | ErrorCode::TooManyRequests
                | ErrorCode::Conflict
                | ErrorCode::AlreadyExists
        );
        !self.only_withdraws() && !may_pass
    }

    /// SHA-256 of everything that was asked for, for telling a repetition from another request under the same name.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let mut writer = Writer::new();
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(&self.key.container.0));
            fields.field(1, |w| w.uint(u64::from(self.key.firm.get())));
            fields.field(2, |w| {
                w.list(&self.changes, |w, change| match change {
                    Change::Add { license, item, quantity } => {
                        w.array(3);
                        w.text(&license.to_string());
                        w.bytes(item);
                        w.uint(u64::from(*quantity));
                    }
                    Change::Withdraw { license } => {
                        w.array(1);
                        w.text(&license.to_string());
                    }
                });
            });
        });
        Digest::of(&writer.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use lictor_clock::Timestamp;

    use super::*;

    fn license(number: u8) -> LicenseId {
        LicenseId::new(Timestamp::UNIX_EPOCH, [number; 10])
    }

    fn ask(reference: &str, changes: Vec<Change>) -> Result<IssueRequest, RequestError> {
        IssueRequest::new(reference.to_owned(), 7, &"ab".repeat(32), changes)
    }

    #[test]
    fn a_request_without_good_form_is_refused() {
        let withdraw = |number| Change::Withdraw { license: license(number) };
        assert_eq!(ask("", vec![withdraw(1)]), Err(RequestError::Reference));
        assert_eq!(ask("a b", vec![withdraw(1)]), Err(RequestError::Reference));
        assert_eq!(ask(&"a".repeat(65), vec![withdraw(1)]), Err(RequestError::Reference));
        assert_eq!(ask("a", vec![]), Err(RequestError::Operations(0)));
        assert_eq!(ask("a", (0..=255).chain([7]).map(withdraw).collect()), Err(RequestError::Operations(257)));
        assert_eq!(ask("a", vec![withdraw(1), withdraw(1)]), Err(RequestError::Twice(license(1))));
        let large = Change::Add { license: license(1), item: vec![0; MAX_ITEM_BYTES + 1], quantity: 1 };
        assert_eq!(ask("a", vec![large]), Err(RequestError::Item(0)));
        assert!(ask("a", vec![withdraw(1), withdraw(2)]).is_ok());
        let zero = IssueRequest::new("a".to_owned(), 0, &"ab".repeat(32), vec![withdraw(1)]);
        assert_eq!(zero, Err(RequestError::Firm));
        let short = IssueRequest::new("a".to_owned(), 7, "ab", vec![withdraw(1)]);
        assert_eq!(short, Err(RequestError::Container));
    }

    #[test]
    fn the_hash_tells_requests_apart_but_not_by_their_name() {
        let add = |quantity| Change::Add { license: license(1), item: vec![1, 2], quantity };
        let one = ask("one", vec![add(1)]).expect("good form");
        let same = ask("two", vec![add(1)]).expect("good form");
        let other = ask("one", vec![add(2)]).expect("good form");
        assert_eq!(one.hash(), same.hash());
        assert_ne!(one.hash(), other.hash());
    }
}
