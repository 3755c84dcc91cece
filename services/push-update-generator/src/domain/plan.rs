//! From what was asked for to the exact bytes of one segment.

use std::collections::{BTreeMap, BTreeSet};

use lictor_clock::Timestamp;
use lictor_license_file::{
    Digest, FileError, RuntimeVersion,
    issue::{self, SegmentPlan, Terms},
    limits::{MAX_OPERATIONS, MAX_PENDING, MAX_SEGMENTS},
    product_item,
    segment::{Operation, ProductKey},
    state::VendorState,
};
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{LicenseId, ProductCode},
};
use lictor_signing::{Envelope, LeaseCertificate, Role, TrustedRoot, cbor};

use super::{
    container::Chain,
    record::Record,
    request::{Change, IssueRequest, Job, RebaseRequest},
};

/// The oldest license server that understands what is issued today.
const OLDEST_RUNTIME: RuntimeVersion = RuntimeVersion::new(0, 1, 0);
/// Bytes of unconfirmed segments above which the next one folds them, so that one file always holds everything.
pub const MOST_PENDING_BYTES: u64 = 3 * 1024 * 1024;

/// What a plan needs besides the request.
pub struct Means<'a> {
    /// The firm's newest root document.
    pub root: &'a TrustedRoot,
    /// Envelope of a fresh certificate for the container's lease key; used when the container has none that counts.
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
    /// What it does to the vendor-owned state, without key material.
    pub record: Record,
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

/// Whether the segment will certify the container's lease key: the first of a chain does, and the first after the
/// certifier's key was retired. A key whose window was only closed goes on to speak for what it certified before.
#[must_use]
pub fn certifies(state: &VendorState, root: &TrustedRoot) -> bool {
    let Some(certificate) = &state.lease_certificate else { return true };
    let Ok(envelope) = Envelope::from_bytes(certificate) else { return true };
    let Ok(inside) = cbor::decode::<LeaseCertificate>(envelope.unverified_payload()) else { return true };
    let Some(rule) = root.document().roles.get(&Role::LeaseCertifier) else { return false };
    // The signatures were verified when they were made; here it only matters whose they are.
    let signed = |id| envelope.signatures().iter().any(|(hint, _)| *hint == id);
    let valid = rule.keys.iter().filter(|entry| entry.valid_at(inside.not_before) && signed(entry.key.id())).count();
    valid < rule.threshold as usize
}

/// Plans the segment.
///
/// # Errors
/// With the reason in the caller's words when the request does not fit the container.
pub fn plan(chain: &Chain, state: &VendorState, job: Job<'_>, means: &Means<'_>) -> Result<Plan, Problem> {
    match job {
        Job::Update(request) => update(chain, state, request, means),
        Job::Block(request) => block(chain, state, &request.reason, means),
        Job::Rebase(request) => rebase(chain, state, request, means),
    }
}

fn update(chain: &Chain, state: &VendorState, request: &IssueRequest, means: &Means<'_>) -> Result<Plan, Problem> {
    if !request.only_withdraws() {
        may_get_more(chain)?;
    }
    let mut operations = Vec::with_capacity(request.changes.len() + 2);
    if certifies(state, means.root)
        && let Some(certificate) = &means.certificate
    {
        operations.push(Operation::CertifyLeaseKey { certificate: certificate.clone() });
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
    finish(chain, state, operations, summary(request), means)
}

/// Why a container gets nothing but withdrawals, if so.
fn may_get_more(chain: &Chain) -> Result<(), Problem> {
    if chain.blocked.is_some() {
        return Err(Problem::new(
            ErrorCode::WrongState,
            "the container is blocked, so it gets no licenses",
            "use another container; withdrawals are still issued",
        ));
    }
    if !chain.suspicions.is_empty() {
        return Err(Problem::new(
            ErrorCode::ContainerSuspected,
            format!("the container is under suspicion ({}), so it gets no licenses", chain.suspicions),
            "rebase it with a fresh context, or ask support; withdrawals are still issued",
        ));
    }
    Ok(())
}

/// Everything goes out. A state that is too large for operations goes out by a checkpoint that carries nothing.
fn block(chain: &Chain, state: &VendorState, reason: &str, means: &Means<'_>) -> Result<Plan, Problem> {
    let mut operations: Vec<_> =
        state.entries.keys().map(|license| Operation::WithdrawEntry { license: *license }).collect();
    operations.extend(state.product_keys.keys().map(|product| Operation::DropProductKey { product: *product }));
    if operations.is_empty() {
        // It still takes its place in the chain, so that the archive knows of it.
        operations.push(Operation::Nop);
    }
    let summary = "blocks the container: withdraws everything".to_owned();
    if operations.len() <= MAX_OPERATIONS {
        let plan = finish(chain, state, operations, summary, means)?;
        return Ok(Plan { record: plan.record.because(reason), ..plan });
    }
    let record = Record::of(&operations).because(reason);
    let mut empty = state.clone();
    empty.entries.clear();
    empty.product_keys.clear();
    let accepts = means.fold.clone().unwrap_or_default();
    let terms = terms(&summary, means);
    let profile = &chain.identity.profile;
    let segment = issue::plan_checkpoint(&empty, profile, means.root, &[], &accepts, &BTreeMap::new(), &terms);
    let file_base = if chain.awaits_rebase() { chain.file_base } else { state.counter };
    Ok(Plan { segment: segment.map_err(|error| error.problem())?, record, file_base, summary })
}

/// Whether blocking needs a checkpoint because the container holds more than operations can take out.
#[must_use]
pub fn block_folds(state: &VendorState) -> bool {
    state.entries.len() + state.product_keys.len() > MAX_OPERATIONS
}

/// The next epoch, with everything that the container is known to hold.
fn rebase(chain: &Chain, state: &VendorState, request: &RebaseRequest, means: &Means<'_>) -> Result<Plan, Problem> {
    if chain.blocked.is_some() {
        return Err(Problem::new(
            ErrorCode::WrongState,
            "the container is blocked, so there is no way back for it",
            "use another container",
        ));
    }
    let operations: Vec<_> = match &means.certificate {
        Some(certificate) if certifies(state, means.root) => {
            vec![Operation::CertifyLeaseKey { certificate: certificate.clone() }]
        }
        _ => Vec::new(),
    };
    let summary = format!("rebases the container to epoch {}", u64::from(chain.epoch) + 1);
    let segment = issue::plan_rebase(
        state,
        &chain.identity.profile,
        means.root,
        &operations,
        request.question,
        &all_keys(state.product_keys.keys(), means),
        &chain.counters,
        &terms(&summary, means),
    );
    let segment = segment.map_err(|error| error.problem())?;
    Ok(Plan { segment, record: Record::of(&operations).because(&request.reason), file_base: 0, summary })
}

/// Puts the operations into an ordinary segment, or into a checkpoint when the unconfirmed ones have to be folded.
fn finish(
    chain: &Chain,
    state: &VendorState,
    operations: Vec<Operation>,
    summary: String,
    means: &Means<'_>,
) -> Result<Plan, Problem> {
    let record = Record::of(&operations);
    let terms = terms(&summary, means);
    let profile = &chain.identity.profile;
    let (segment, file_base) = match &means.fold {
        // What is in front of a rebase nobody can skip, so a container that does not take its rebase gets no more.
        Some(_) if chain.awaits_rebase() && chain.pending() + 1 >= MAX_SEGMENTS as u64 => {
            return Err(Problem::new(
                ErrorCode::WrongState,
                "the container has not taken its rebase, and no more fits into one update file",
                "rebase it again with a fresh context",
            ));
        }
        Some(accepts) if !chain.awaits_rebase() => {
            let mut after: BTreeSet<_> = state.product_keys.keys().copied().collect();
            for operation in &operations {
                match operation {
                    Operation::SetProductKey { product, .. } => after.insert(*product),
                    Operation::DropProductKey { product } => after.remove(product),
                    _ => false,
                };
            }
            let keys = all_keys(after.iter(), means);
            let segment = issue::plan_checkpoint(state, profile, means.root, &operations, accepts, &keys, &terms);
            (segment, state.counter)
        }
        _ => (issue::plan(state, profile, means.root, operations, &terms), chain.file_base),
    };
    Ok(Plan { segment: segment.map_err(|error| error.problem())?, record, file_base, summary })
}

fn terms(note: &str, means: &Means<'_>) -> Terms {
    Terms { issued_at: means.now, min_runtime: OLDEST_RUNTIME, note: note.to_owned(), seal_seed: means.seal_seed }
}

fn all_keys<'p>(
    products: impl Iterator<Item = &'p ProductCode>,
    means: &Means<'_>,
) -> BTreeMap<ProductCode, ProductKey> {
    products.map(|product| (*product, (means.product_key)(*product))).collect()
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
        Change::Replace { license, item, quantity } => {
            present(state, *license)?;
            Ok(Operation::ReplaceEntry { license: *license, item: item.clone(), quantity: *quantity })
        }
        Change::Withdraw { license } => {
            present(state, *license)?;
            Ok(Operation::WithdrawEntry { license: *license })
        }
        Change::RaiseUnits { license, part, by } => {
            present(state, *license)?;
            Ok(Operation::RaiseUnits { license: *license, part: *part, by: *by })
        }
    }
}

fn present(state: &VendorState, license: LicenseId) -> Result<(), Problem> {
    if state.entries.contains_key(&license) {
        return Ok(());
    }
    Err(Problem::new(
        ErrorCode::WrongState,
        format!("license {license} is not in the container, or its withdrawal is on its way already"),
        "look at the container's entries",
    ))
}

/// Which product keys come, and which go.
struct KeyChanges {
    set: BTreeSet<ProductCode>,
    drop: BTreeSet<ProductCode>,
}

fn key_changes(state: &VendorState, request: &IssueRequest) -> Result<KeyChanges, Problem> {
    let (mut added, mut leaving) = (BTreeSet::new(), BTreeSet::new());
    let mut touched = BTreeSet::new();
    for change in &request.changes {
        if let Change::Add { item, .. } | Change::Replace { item, .. } = change {
            added.extend(products(item).map_err(|error| error.problem())?);
        }
        if let Change::Withdraw { license } | Change::Replace { license, .. } = change {
            touched.insert(*license);
            if let Some(entry) = state.entries.get(license) {
                leaving.extend(products(&entry.item).map_err(|error| error.problem())?);
            }
        }
    }
    leaving.retain(|product| !added.contains(product));
    if !leaving.is_empty() {
        let stays = still_used(state, &touched).map_err(|error| error.problem())?;
        leaving.retain(|product| !stays.contains(product));
    }
    let known: BTreeSet<_> = state.product_keys.keys().copied().collect();
    Ok(KeyChanges {
        set: added.difference(&known).copied().collect(),
        drop: leaving.intersection(&known).copied().collect(),
    })
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
    let verb = |change: &Change| match change {
        Change::Add { .. } => "adds",
        Change::Replace { .. } => "replaces",
        Change::Withdraw { .. } => "withdraws",
        Change::RaiseUnits { .. } => "raises units of",
    };
    if let [only] = request.changes.as_slice() {
        return format!("{} license {}", verb(only), only.license());
    }
    let count = |word: &str| match request.changes.iter().filter(|change| verb(change) == word).count() {
        0 => None,
        1 => Some(format!("{word} 1 license")),
        many => Some(format!("{word} {many} licenses")),
    };
    let parts: Vec<_> = ["adds", "replaces", "withdraws", "raises units of"].into_iter().filter_map(count).collect();
    parts.join(", ")
}
