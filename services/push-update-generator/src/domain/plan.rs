//! From what was asked for to the exact bytes of one segment.

use std::collections::{BTreeMap, BTreeSet};

use lictor_clock::Timestamp;
use lictor_license_file::{
    Digest, FileError, RuntimeVersion,
    issue::{self, SegmentPlan, Terms},
    limits::MAX_PENDING,
    product_item,
    segment::{Operation, ProductKey},
    state::VendorState,
};
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{LicenseId, ProductCode},
};
use lictor_signing::TrustedRoot;

use super::{
    container::Chain,
    request::{Change, IssueRequest},
};

/// The oldest license server that understands what is issued today.
const OLDEST_RUNTIME: RuntimeVersion = RuntimeVersion::new(0, 1, 0);
/// Bytes of unconfirmed segments above which the next one folds them, so that one file always holds everything.
pub const MOST_PENDING_BYTES: u64 = 3 * 1024 * 1024;

/// What a plan needs besides the request.
pub struct Means<'a> {
    /// The firm's newest root document.
    pub root: &'a TrustedRoot,
    /// Envelope of a fresh certificate for the container's lease key; used when the container has none yet.
    pub certificate: Option<Vec<u8>>,
    /// Gives the key of a product.
    pub product_key: &'a dyn Fn(ProductCode) -> ProductKey,
    /// The positions that the container may stand at, when this segment has to fold the unconfirmed ones.
    pub fold: Option<Vec<(u64, Digest)>>,
    /// When the segment is issued.
    pub now: Timestamp,
    /// Fresh random bytes for sealing, used for this plan only.
    pub seal_seed: [u8; 32],
}

/// A planned segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its bytes and what they lead to.
    pub segment: SegmentPlan,
    /// The counter that update files have to start above from now on; proofs may raise it.
    pub file_base: u64,
    /// One line for people.
    pub summary: String,
}

/// Whether the next segment has to fold the unconfirmed ones.
#[must_use]
pub fn must_fold(pending: u64, pending_bytes: u64) -> bool {
    pending >= MAX_PENDING as u64 || pending_bytes >= MOST_PENDING_BYTES
}

/// Whether the segment will certify the container's lease key: the first of a chain does.
#[must_use]
pub const fn certifies(state: &VendorState) -> bool {
    state.lease_certificate.is_none()
}

/// Plans the segment.
///
/// # Errors
/// With the reason in the caller's words when the request does not fit the container.
pub fn plan(chain: &Chain, state: &VendorState, request: &IssueRequest, means: Means<'_>) -> Result<Plan, Problem> {
    if !chain.suspicions.is_empty() && !request.only_withdraws() {
        return Err(Problem::new(
            ErrorCode::ContainerSuspected,
            format!("the container is under suspicion ({}), so it gets no licenses", chain.suspicions),
            "ask support to look at the container; withdrawals are still issued",
        ));
    }
    let mut operations = Vec::with_capacity(request.changes.len() + 2);
    if certifies(state)
        && let Some(certificate) = means.certificate
    {
        operations.push(Operation::CertifyLeaseKey { certificate });
    }
    let keys = key_changes(state, request)?;
    operations.extend(
        keys.set
            .iter()
            .map(|product| Operation::SetProductKey { product: *product, key: (means.product_key)(*product) }),
    );
    for change in &request.changes {
        operations.push(operation(state, change)?);
    }
    operations.extend(keys.drop.iter().map(|product| Operation::DropProductKey { product: *product }));

    let summary = summary(request);
    let terms =
        Terms { issued_at: means.now, min_runtime: OLDEST_RUNTIME, note: summary.clone(), seal_seed: means.seal_seed };
    let profile = &chain.identity.profile;
    let (segment, file_base) = match &means.fold {
        None => (issue::plan(state, profile, means.root, operations, &terms), chain.file_base),
        Some(accepts) => {
            let all: BTreeMap<_, _> =
                keys.after.iter().map(|product| (*product, (means.product_key)(*product))).collect();
            let segment = issue::plan_checkpoint(state, profile, means.root, &operations, accepts, &all, &terms);
            (segment, state.counter)
        }
    };
    Ok(Plan { segment: segment.map_err(|error| error.problem())?, file_base, summary })
}

/// A segment may not fail in the container, so what would fail there is refused here, in the caller's words.
fn operation(state: &VendorState, change: &Change) -> Result<Operation, Problem> {
    match change {
        Change::Add { license, item, quantity } => {
            if state.entries.contains_key(license) {
                return Err(Problem::new(
                    ErrorCode::AlreadyExists,
                    format!("license {license} is in the container already, or on its way there"),
                    "look at the container's entries",
                ));
            }
            Ok(Operation::AddEntry { license: *license, item: item.clone(), quantity: *quantity })
        }
        Change::Withdraw { license } => {
            if !state.entries.contains_key(license) {
                return Err(Problem::new(
                    ErrorCode::WrongState,
                    format!("license {license} is not in the container, or its withdrawal is on its way already"),
                    "look at the container's entries",
                ));
            }
            Ok(Operation::WithdrawEntry { license: *license })
        }
    }
}

/// Which product keys come, which go, and which the container will have then.
struct KeyChanges {
    set: BTreeSet<ProductCode>,
    drop: BTreeSet<ProductCode>,
    after: BTreeSet<ProductCode>,
}

fn key_changes(state: &VendorState, request: &IssueRequest) -> Result<KeyChanges, Problem> {
    let (mut added, mut leaving) = (BTreeSet::new(), BTreeSet::new());
    let mut withdrawn = BTreeSet::new();
    for change in &request.changes {
        match change {
            Change::Add { item, .. } => added.extend(products(item).map_err(|error| error.problem())?),
            Change::Withdraw { license } => {
                withdrawn.insert(*license);
                if let Some(entry) = state.entries.get(license) {
                    leaving.extend(products(&entry.item).map_err(|error| error.problem())?);
                }
            }
        }
    }
    if !leaving.is_empty() {
        let stays = still_used(state, &withdrawn).map_err(|error| error.problem())?;
        leaving.retain(|product| !stays.contains(product) && !added.contains(product));
    }
    let known: BTreeSet<_> = state.product_keys.keys().copied().collect();
    let drop: BTreeSet<_> = leaving.intersection(&known).copied().collect();
    let set: BTreeSet<_> = added.difference(&known).copied().collect();
    let after = known.union(&set).copied().filter(|product| !drop.contains(product)).collect();
    Ok(KeyChanges { set, drop, after })
}

fn still_used(state: &VendorState, without: &BTreeSet<LicenseId>) -> Result<BTreeSet<ProductCode>, FileError> {
    let mut used = BTreeSet::new();
    for (license, entry) in &state.entries {
        if !without.contains(license) {
            used.extend(products(&entry.item)?);
        }
    }
    Ok(used)
}

/// The products of an item: its own and those of its modules.
fn products(item: &[u8]) -> Result<BTreeSet<ProductCode>, FileError> {
    let item = product_item::decode(item)?;
    Ok(item.parts().filter_map(|part| item.native(part).product_code).chain([item.product_code()]).collect())
}

fn summary(request: &IssueRequest) -> String {
    let added = request.changes.iter().filter(|change| matches!(change, Change::Add { .. })).count();
    let withdrawn = request.changes.len() - added;
    let count = |verb: &str, number: usize| match number {
        0 => None,
        1 => Some(format!("{verb} 1 license")),
        many => Some(format!("{verb} {many} licenses")),
    };
    if let [only] = request.changes.as_slice() {
        let verb = if added == 1 { "adds" } else { "withdraws" };
        return format!("{verb} license {}", only.license());
    }
    let parts: Vec<_> = [count("adds", added), count("withdraws", withdrawn)].into_iter().flatten().collect();
    parts.join(", ")
}
