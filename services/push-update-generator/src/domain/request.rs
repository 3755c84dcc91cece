//! What the issuing of a segment is asked with, parsed: nothing behind this point sees raw strings.

use std::collections::BTreeMap;

use lictor_license_file::{ContainerId, Digest, limits::MAX_ITEM_BYTES, segment::Question};
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{FirmCode, LicenseId},
    item::Part,
};
use lictor_signing::cbor::Writer;

use super::{container::ChainKey, segment::Purpose};

/// Most changes of one request; the segment also has to hold the product keys that they need.
pub const MAX_CHANGES: usize = lictor_license_file::limits::MAX_OPERATIONS;
/// Longest reason in bytes.
pub const MAX_REASON_BYTES: usize = 256;
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
    /// A license that is there gets another product item or quantity; what was used of it stays.
    Replace {
        /// The license.
        license: LicenseId,
        /// Its new product item, encoded.
        item: Vec<u8>,
        /// Its new seats in this container; 0 for a license that is not counted.
        quantity: u32,
    },
    /// A license goes out.
    Withdraw {
        /// The license.
        license: LicenseId,
    },
    /// A unit counter of a license gets more units.
    RaiseUnits {
        /// The license.
        license: LicenseId,
        /// Whose counter.
        part: Part,
        /// How many more.
        by: u64,
    },
}

impl Change {
    /// The license that it is about.
    #[must_use]
    pub const fn license(&self) -> LicenseId {
        match self {
            Self::Add { license, .. }
            | Self::Replace { license, .. }
            | Self::Withdraw { license }
            | Self::RaiseUnits { license, .. } => *license,
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
    /// What it does, in order; each license once, or each of its unit counters once.
    pub changes: Vec<Change>,
}

/// Why a request has no good form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The reference is empty, too long or not printable.
    #[error("the reference must be 1 to {MAX_REFERENCE_BYTES} printable ASCII characters without spaces")]
    Reference,
    /// None, or too many.
    #[error("a segment has 1 to {MAX_CHANGES} changes, not {0}")]
    Changes(usize),
    /// One of the changes is empty.
    #[error("change {0} does not say what to do")]
    NoChange(usize),
    /// Not a license id.
    #[error("change {0} does not name a license")]
    License(usize),
    /// No module lies at such a place.
    #[error("change {0} names a part that no product item has")]
    Part(usize),
    /// Larger than any product item.
    #[error("the product item of change {0} exceeds {MAX_ITEM_BYTES} bytes")]
    Item(usize),
    /// Two changes of one thing.
    #[error("license {0} appears in more than one change")]
    Twice(LicenseId),
    /// Too long, or not one plain line.
    #[error("a reason is one line of at most {MAX_REASON_BYTES} bytes")]
    Reason,
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
        check_reference(&reference)?;
        let key = chain_key(firm_code, container_id)?;
        if !(1..=MAX_CHANGES).contains(&changes.len()) {
            return Err(RequestError::Changes(changes.len()));
        }
        let mut seen: BTreeMap<LicenseId, Vec<Option<Part>>> = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            let part = match change {
                Change::Add { item, .. } | Change::Replace { item, .. } if item.len() > MAX_ITEM_BYTES => {
                    return Err(RequestError::Item(place));
                }
                Change::RaiseUnits { part, .. } => Some(*part),
                _ => None,
            };
            let parts = seen.entry(change.license()).or_default();
            if parts.contains(&part) || !parts.is_empty() && (part.is_none() || parts.contains(&None)) {
                return Err(RequestError::Twice(change.license()));
            }
            parts.push(part);
        }
        Ok(Self { reference, key, changes })
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
                | ErrorCode::ReplayNeeded
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
                    Change::Withdraw { license } => {
                        w.array(2);
                        w.uint(0);
                        w.text(&license.to_string());
                    }
                    Change::Add { license, item, quantity } => put(w, 1, *license, item, *quantity),
                    Change::Replace { license, item, quantity } => put(w, 2, *license, item, *quantity),
                    Change::RaiseUnits { license, part, by } => {
                        w.array(4);
                        w.uint(3);
                        w.text(&license.to_string());
                        w.uint(part.index() as u64);
                        w.uint(*by);
                    }
                });
            });
        });
        Digest::of(&writer.into_bytes())
    }
}

fn put(writer: &mut Writer, kind: u64, license: LicenseId, item: &[u8], quantity: u32) {
    writer.array(4);
    writer.uint(kind);
    writer.text(&license.to_string());
    writer.bytes(item);
    writer.uint(u64::from(quantity));
}

/// A request to block a container: everything goes out, and only withdrawals follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRequest {
    /// The caller's name for the withdrawing segment.
    pub reference: String,
    /// Whose chain.
    pub key: ChainKey,
    /// For people: why.
    pub reason: String,
}

impl BlockRequest {
    /// Checks the form of a request.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(reference: String, key: ChainKey, reason: String) -> Result<Self, RequestError> {
        check_reference(&reference)?;
        check_reason(&reason)?;
        Ok(Self { reference, key, reason })
    }
}

/// A request to begin a new epoch of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebaseRequest {
    /// The caller's name for the segment.
    pub reference: String,
    /// Whose chain.
    pub key: ChainKey,
    /// What it has to answer: the random bytes of both sides from the context that asks.
    pub question: Question,
    /// For people: why.
    pub reason: String,
}

impl RebaseRequest {
    /// Checks the form of a request.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(reference: String, key: ChainKey, question: Question, reason: String) -> Result<Self, RequestError> {
        check_reference(&reference)?;
        check_reason(&reason)?;
        Ok(Self { reference, key, question, reason })
    }
}

/// Anything that one segment is issued for.
#[derive(Clone, Copy, Debug)]
pub enum Job<'a> {
    /// Changes of what the container holds.
    Update(&'a IssueRequest),
    /// The container is blocked.
    Block(&'a BlockRequest),
    /// The chain begins a new epoch.
    Rebase(&'a RebaseRequest),
}

impl Job<'_> {
    /// The caller's name for the segment.
    #[must_use]
    pub fn reference(&self) -> &str {
        match self {
            Self::Update(request) => &request.reference,
            Self::Block(request) => &request.reference,
            Self::Rebase(request) => &request.reference,
        }
    }

    /// Whose chain.
    #[must_use]
    pub const fn key(&self) -> ChainKey {
        match self {
            Self::Update(request) => request.key,
            Self::Block(request) => request.key,
            Self::Rebase(request) => request.key,
        }
    }

    /// What the segment is for.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::Update(_) => Purpose::Update,
            Self::Block(_) => Purpose::Block,
            Self::Rebase(_) => Purpose::Rebase,
        }
    }

    /// Whether a refusal of it stands for ever; see [`IssueRequest::stays_refused`].
    #[must_use]
    pub fn stays_refused(&self, problem: &Problem) -> bool {
        match self {
            Self::Update(request) => request.stays_refused(problem),
            Self::Block(_) | Self::Rebase(_) => false,
        }
    }

    /// SHA-256 of everything that was asked for.
    #[must_use]
    pub fn hash(&self) -> Digest {
        match self {
            Self::Update(request) => request.hash(),
            Self::Block(request) => other_hash(&request.key, "block", &[]),
            Self::Rebase(request) => {
                let question = [&request.question.device_nonce[..], &request.question.challenge[..]].concat();
                other_hash(&request.key, "rebase", &question)
            }
        }
    }
}

fn other_hash(key: &ChainKey, what: &str, about: &[u8]) -> Digest {
    let mut writer = Writer::new();
    writer.array(4);
    writer.text(what);
    writer.bytes(&key.container.0);
    writer.uint(u64::from(key.firm.get()));
    writer.bytes(about);
    Digest::of(&writer.into_bytes())
}

fn check_reference(reference: &str) -> Result<(), RequestError> {
    let printable = reference.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && (1..=MAX_REFERENCE_BYTES).contains(&reference.len()) {
        Ok(())
    } else {
        Err(RequestError::Reference)
    }
}

fn check_reason(reason: &str) -> Result<(), RequestError> {
    let plain = reason.len() <= MAX_REASON_BYTES && !reason.chars().any(char::is_control);
    if plain { Ok(()) } else { Err(RequestError::Reason) }
}

fn chain_key(firm_code: u32, container_id: &str) -> Result<ChainKey, RequestError> {
    let firm = FirmCode::new(firm_code).map_err(|_| RequestError::Firm)?;
    let container = ContainerId::from_hex(container_id).ok_or(RequestError::Container)?;
    Ok(ChainKey { container, firm })
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
        assert_eq!(ask("a", vec![]), Err(RequestError::Changes(0)));
        assert_eq!(ask("a", (0..=255).chain([7]).map(withdraw).collect()), Err(RequestError::Changes(257)));
        assert_eq!(ask("a", vec![withdraw(1), withdraw(1)]), Err(RequestError::Twice(license(1))));
        let large = Change::Add { license: license(1), item: vec![0; MAX_ITEM_BYTES + 1], quantity: 1 };
        assert_eq!(ask("a", vec![large]), Err(RequestError::Item(0)));
        assert!(ask("a", vec![withdraw(1), withdraw(2)]).is_ok());
        let raise = |part| Change::RaiseUnits { license: license(1), part, by: 5 };
        assert!(ask("a", vec![raise(Part::Parent), raise(Part::Module(0))]).is_ok());
        for twice in [
            vec![raise(Part::Parent), raise(Part::Parent)],
            vec![raise(Part::Parent), withdraw(1)],
            vec![withdraw(1), raise(Part::Parent)],
        ] {
            assert_eq!(ask("a", twice), Err(RequestError::Twice(license(1))));
        }
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
        let replace = Change::Replace { license: license(1), item: vec![1, 2], quantity: 1 };
        assert_ne!(one.hash(), ask("one", vec![replace]).expect("good form").hash());
        assert_eq!(one.hash(), same.hash());
        assert_ne!(one.hash(), other.hash());
    }
}
