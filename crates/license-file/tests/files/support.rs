//! A vendor, its keys and a container, all made from fixed seeds, so that every run makes the same bytes.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_license_file::apply::{self, Device, Import};
use lictor_license_file::context::{Context, Reason, Statement};
use lictor_license_file::device::{DeviceCounters, DeviceKeys, DeviceProfile};
use lictor_license_file::issue::{self, SegmentPlan, Terms};
use lictor_license_file::seal::SealingKey;
use lictor_license_file::segment::{Operation, ProductKey, Question};
use lictor_license_file::state::VendorState;
use lictor_license_file::{FileError, RuntimeVersion, product_item};
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode};
use lictor_licensing::item::{ModuleItem, Part, ProductItem};
use lictor_licensing::options::{Options, Quantity, UnitCounter};
use lictor_signing::{
    Envelope, LeaseCertificate, LeaseLimits, Role, RoleRule, RootDocument, Signer, TimeStatement, TrustedRoot,
};

/// The firm of most tests.
pub(crate) const FIRM: u32 = 1001;
/// The program version of most tests.
pub(crate) const RUNTIME: RuntimeVersion = RuntimeVersion::new(1, 2, 0);

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

pub(crate) fn firm(code: u32) -> FirmCode {
    FirmCode::new(code).expect("a firm code above zero")
}

/// A key from two numbers.
pub(crate) fn key(owner: u32, number: u8) -> MemorySigner {
    let mut seed = [number; 32];
    seed[..4].copy_from_slice(&owner.to_be_bytes());
    MemorySigner::from_seed(&seed)
}

/// Number of the key of a role in its first generation.
pub(crate) fn role_number(role: Role) -> u8 {
    10 + u8::try_from(role.number()).expect("few roles")
}

/// How heavy the counts of a test are: 1 for every day, 100 for the full run.
pub(crate) fn scale() -> usize {
    std::env::var("LICTOR_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// A vendor with one key per role.
#[derive(Clone)]
pub(crate) struct Vendor {
    pub(crate) code: u32,
    pub(crate) root: TrustedRoot,
    pub(crate) issue: MemorySigner,
}

impl Vendor {
    pub(crate) fn new(code: u32) -> Self {
        let document = Self::document(code, 1, 0);
        let root = Self::sign_root(&document, &[0]);
        Self {
            code,
            root: TrustedRoot::trust(&root).expect("a first root"),
            issue: Self::role_key(code, Role::Issue, 0),
        }
    }

    pub(crate) fn role_key(code: u32, role: Role, generation: u8) -> MemorySigner {
        key(code, role_number(role) + 20 * generation)
    }

    pub(crate) fn document(code: u32, version: u64, generation: u8) -> RootDocument {
        let roles = Role::ALL
            .into_iter()
            .map(|role| (role, RoleRule::single(Self::role_key(code, role, generation).public_key())))
            .collect();
        RootDocument { firm_code: code, name: format!("Vendor {code}"), version, issued_at: at(0), roles }
    }

    pub(crate) fn sign_root(document: &RootDocument, generations: &[u8]) -> Vec<u8> {
        let keys: Vec<_> =
            generations.iter().map(|generation| Self::role_key(document.firm_code, Role::Root, *generation)).collect();
        let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
        Envelope::seal(document, &keys).expect("a key in memory signs").to_bytes()
    }

    /// The root document after all keys were replaced by those of the next generation.
    pub(crate) fn rotated(&self) -> (Vec<u8>, Self) {
        let bytes = Self::sign_root(&Self::document(self.code, 2, 1), &[0, 1]);
        let root = self.root.update(&bytes).expect("a rotation signed by both");
        (bytes, Self { code: self.code, root, issue: Self::role_key(self.code, Role::Issue, 1) })
    }

    pub(crate) fn sign(&self, plan: &SegmentPlan) -> Vec<u8> {
        issue::sign_payload(&plan.payload, &[&self.issue]).expect("a key in memory signs")
    }

    pub(crate) fn certificate(&self, keys: &DeviceKeys) -> Vec<u8> {
        let certificate = LeaseCertificate {
            firm_code: self.code,
            container_id: keys.container_id().0,
            lease_key: keys.lease,
            not_before: at(0),
            not_after: None,
            limits: LeaseLimits::default(),
        };
        let signer = Self::role_key(self.code, Role::LeaseCertifier, 0);
        Envelope::seal(&certificate, &[&signer]).expect("a key in memory signs").to_bytes()
    }
}

/// A container.
#[derive(Clone)]
pub(crate) struct Container {
    pub(crate) signer: MemorySigner,
    pub(crate) sealing: SealingKey,
    pub(crate) profile: DeviceProfile,
    /// The contexts with a challenge that it remembers.
    pub(crate) questions: Vec<Question>,
}

/// The question that containers of tests remember.
pub(crate) const QUESTION: Question = Question { device_nonce: [0xDE; 16], challenge: [0xCA; 32] };

impl Container {
    pub(crate) fn new(number: u8) -> Self {
        let signer = key(7, number);
        let sealing = SealingKey::from_seed(&[number.wrapping_add(100); 32]);
        let keys =
            DeviceKeys { signing: signer.public_key(), sealing: sealing.public(), lease: key(8, number).public_key() };
        let profile = DeviceProfile { keys, kind: ContainerKind::Machine, virtual_machine: false, runtime: RUNTIME };
        Self { signer, sealing, profile, questions: vec![QUESTION] }
    }

    pub(crate) fn device(&self) -> Device<'_> {
        Device { profile: &self.profile, sealing: &self.sealing }
    }

    pub(crate) fn genesis(&self, code: u32) -> VendorState {
        VendorState::genesis(&self.profile.keys.signing, firm(code))
    }

    pub(crate) fn context(&self, state: &VendorState, sequence: u64, reason: Reason) -> Context {
        Context::new(
            state,
            Statement {
                reason,
                serial: "130-4823901234",
                profile: &self.profile,
                root_version: 1,
                sequence,
                created_at: at(i64::try_from(sequence).expect("a small number")),
                device_nonce: [u8::try_from(sequence % 251).expect("below 251"); 16],
                vendor_nonce: None,
                counters: DeviceCounters::default(),
                evidence: Vec::new(),
            },
        )
    }

    /// The first pass over a file.
    pub(crate) fn verify(&self, file: &[u8], root: &TrustedRoot, state: &VendorState) -> Result<Import, FileError> {
        apply::verify_answering(file, self.device(), root, state, &self.questions)
    }

    /// Both passes over a file: the state afterwards, or the first refusal of either pass.
    pub(crate) fn import(
        &self,
        file: &[u8],
        root: &TrustedRoot,
        state: &VendorState,
    ) -> Result<VendorState, FileError> {
        let mut import = self.verify(file, root, state)?;
        finish(&mut import)?;
        Ok(import.state().clone())
    }
}

/// Takes all steps of a verified import.
pub(crate) fn finish(import: &mut Import) -> Result<(), FileError> {
    while let Some(step) = import.next_step() {
        step?;
    }
    Ok(())
}

pub(crate) fn license(number: u8) -> LicenseId {
    LicenseId::new(at(0), [number; 10])
}

/// A counted item with units and one module that has units of its own.
pub(crate) fn item(product: u32, seats: u32) -> ProductItem {
    let options = Options {
        product_code: Some(ProductCode(product)),
        license_quantity: Some(Quantity::new(seats).expect("a good number")),
        unit_counter: Some(UnitCounter(1_000)),
        ..Options::default()
    };
    let module = ModuleItem {
        options: Options { unit_counter: Some(UnitCounter(10)), ..Options::default() },
        requires_parent: true,
    };
    ProductItem::new(options, vec![module]).expect("a good item")
}

pub(crate) fn add(number: u8, seats: u32) -> Operation {
    let item = item(20_000 + u32::from(number), seats);
    Operation::AddEntry {
        license: license(number),
        item: product_item::encode(&item).expect("a small item"),
        quantity: seats,
    }
}

pub(crate) fn withdraw(number: u8) -> Operation {
    Operation::WithdrawEntry { license: license(number) }
}

pub(crate) fn terms(number: u64) -> Terms {
    let mut seal_seed = [0x5A; 32];
    seal_seed[..8].copy_from_slice(&number.to_be_bytes());
    Terms {
        issued_at: at(i64::try_from(number).expect("a small number")),
        min_runtime: RuntimeVersion::new(1, 0, 0),
        note: format!("update {number}"),
        seal_seed,
    }
}

/// A chain as the vendor keeps it: issued segments, and the state after each of them (`states[k]` after `k`).
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) vendor: Vendor,
    pub(crate) profile: DeviceProfile,
    pub(crate) segments: Vec<Vec<u8>>,
    pub(crate) states: Vec<VendorState>,
}

impl Chain {
    pub(crate) fn new(vendor: &Vendor, container: &Container) -> Self {
        Self {
            vendor: vendor.clone(),
            profile: container.profile.clone(),
            segments: Vec::new(),
            states: vec![container.genesis(vendor.code)],
        }
    }

    pub(crate) fn latest(&self) -> &VendorState {
        self.states.last().expect("there is always a first state")
    }

    pub(crate) fn issue(&mut self, operations: Vec<Operation>) -> &mut Self {
        let number = self.latest().counter + 1;
        self.issue_with(operations, &terms(number))
    }

    pub(crate) fn issue_with(&mut self, operations: Vec<Operation>, terms: &Terms) -> &mut Self {
        let plan = issue::plan(self.latest(), &self.profile, &self.vendor.root, operations, terms)
            .expect("operations that fit the state");
        self.segments.push(self.vendor.sign(&plan));
        self.states.push(plan.predicted);
        self
    }

    pub(crate) fn checkpoint(&mut self, accepts: &[u64]) -> &mut Self {
        let heads: Vec<_> = accepts
            .iter()
            .map(|counter| (*counter, self.states[usize::try_from(*counter).expect("a small number")].head))
            .collect();
        let keys = BTreeMap::new();
        let terms = terms(self.latest().counter + 1);
        let plan = issue::plan_checkpoint(self.latest(), &self.profile, &self.vendor.root, &[], &heads, &keys, &terms)
            .expect("a checkpoint of a good state");
        self.segments.push(self.vendor.sign(&plan));
        self.states.push(plan.predicted);
        self
    }
}

/// How a chain is closed and the next epoch begun.
#[derive(Clone)]
pub(crate) struct Rebase {
    pub(crate) answers: Question,
    pub(crate) operations: Vec<Operation>,
    pub(crate) keys: BTreeMap<ProductCode, ProductKey>,
    pub(crate) floor: DeviceCounters,
}

impl Default for Rebase {
    fn default() -> Self {
        Self { answers: QUESTION, operations: Vec::new(), keys: BTreeMap::new(), floor: DeviceCounters::default() }
    }
}

impl Chain {
    pub(crate) fn plan_rebase(&self, rebase: &Rebase) -> SegmentPlan {
        let terms = terms(self.latest().counter + 100 * u64::from(self.latest().epoch + 1));
        issue::plan_rebase(
            self.latest(),
            &self.profile,
            &self.vendor.root,
            &rebase.operations,
            rebase.answers,
            &rebase.keys,
            &rebase.floor,
            &terms,
        )
        .expect("a rebase of a good state")
    }

    /// The chain of the next epoch: `segments[0]` is the rebase, and `states[0]` what was closed.
    pub(crate) fn rebased(&self, rebase: &Rebase) -> Self {
        let plan = self.plan_rebase(rebase);
        let support = Vendor::role_key(self.vendor.code, Role::Support, 0);
        let segment = issue::sign_rebase(&plan.payload, &[&support]).expect("a key in memory signs");
        Self {
            vendor: self.vendor.clone(),
            profile: self.profile.clone(),
            segments: vec![segment],
            states: vec![self.latest().clone(), plan.predicted],
        }
    }
}

/// Five segments that tell a story: A is granted, B is granted, A is withdrawn, C is granted, B gets units.
pub(crate) fn story(vendor: &Vendor, container: &Container) -> Chain {
    let mut chain = Chain::new(vendor, container);
    let certificate = vendor.certificate(&container.profile.keys);
    chain
        .issue(vec![add(1, 5), Operation::CertifyLeaseKey { certificate }])
        .issue(vec![add(2, 3)])
        .issue(vec![withdraw(1)])
        .issue(vec![add(3, 7)])
        .issue(vec![Operation::RaiseUnits { license: license(2), part: Part::Module(0), by: 25 }]);
    chain
}

/// Puts a new closing digest under changed bytes, so that what lies behind the frame is tested.
pub(crate) fn close_again(file: &mut [u8]) {
    let end = file.len() - 32;
    let digest = lictor_license_file::Digest::of(&file[..end]).0;
    file[end..].copy_from_slice(&digest);
}

/// The story closed, and one more license in the next epoch.
pub(crate) fn rebased(chain: &Chain) -> Chain {
    let mut floor = DeviceCounters::default();
    floor.0.entry(license(2)).or_default().entry(Part::Parent).or_default().units_used = 40;
    let mut next = chain.rebased(&Rebase { floor, operations: vec![withdraw(3)], ..Rebase::default() });
    next.issue(vec![add(6, 4)]);
    next
}

/// What the time role says to one nonce.
pub(crate) fn time_statement(vendor: &Vendor, time: Timestamp) -> Envelope {
    let statement = TimeStatement::new(vendor.code, &[0x77; 32], time).expect("a good nonce");
    Envelope::seal(&statement, &[&Vendor::role_key(vendor.code, Role::Time, 0)]).expect("a key in memory signs")
}
