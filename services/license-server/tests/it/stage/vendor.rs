//! The vendor's side: root document, licence information file, updates.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_license_file::device::{DeviceCounters, DeviceProfile};
use lictor_license_file::issue::{Terms, plan, plan_rebase, sign_payload, sign_rebase};
use lictor_license_file::lif::{self, LicenseInformation};
use lictor_license_file::modified_context::ModifiedContext;
use lictor_license_file::segment::Operation;
use lictor_license_file::state::VendorState;
use lictor_license_file::{RuntimeVersion, context, product_item, update};
use lictor_licensing::binding::{Binding, Bindings};
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode};
use lictor_licensing::item::{ModuleItem, ProductItem};
use lictor_licensing::options::{Options, Quantity};
use lictor_signing::{
    Envelope, LeaseCertificate, LeaseLimits, Role, RoleRule, RootDocument, Signer as _, TimeStatement, TrustedRoot,
};

pub(crate) const FIRM: u32 = 5_010;

/// A time long after everything that tests call the past.
pub(crate) fn start_of_tests() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().expect("a time")
}

pub(crate) struct Vendor {
    pub(crate) firm: FirmCode,
    pub(crate) root_document: Vec<u8>,
    pub(crate) trusted: TrustedRoot,
    root: MemorySigner,
    issue: MemorySigner,
    certifier: MemorySigner,
    support: MemorySigner,
    time: MemorySigner,
    /// When the next updates are issued.
    pub(crate) issues_at: Timestamp,
    /// What this vendor believes of each container, by its id.
    states: BTreeMap<[u8; 32], VendorState>,
    issued: u64,
}

impl Vendor {
    /// A vendor whose keys come from `seed`.
    pub(crate) fn new(firm: u32, seed: u8) -> Self {
        Self::until(firm, seed, None)
    }

    /// The same, with an issue key that ends.
    pub(crate) fn until(firm: u32, seed: u8, end: Option<Timestamp>) -> Self {
        let signer =
            |role: u8| MemorySigner::from_seed(&[seed.wrapping_mul(16).wrapping_add(role).wrapping_add(1); 32]);
        let (root, issue, certifier, support, time) = (signer(0), signer(1), signer(2), signer(3), signer(4));
        let mut issuing = RoleRule::single(issue.public_key());
        issuing.keys[0].not_after = end;
        let document = RootDocument {
            firm_code: firm,
            name: "Test vendor".to_owned(),
            version: 1,
            issued_at: start_of_tests(),
            roles: BTreeMap::from([
                (Role::Root, RoleRule::single(root.public_key())),
                (Role::Issue, issuing),
                (Role::LeaseCertifier, RoleRule::single(certifier.public_key())),
                (Role::Support, RoleRule::single(support.public_key())),
                (Role::Time, RoleRule::single(time.public_key())),
            ]),
        };
        let root_document = Envelope::seal(&document, &[&root]).expect("signed").to_bytes();
        let trusted = TrustedRoot::trust(&root_document).expect("a sound root");
        let firm = FirmCode::new(firm).expect("a firm code");
        Self {
            firm,
            root_document,
            trusted,
            root,
            issue,
            certifier,
            support,
            time,
            issues_at: start_of_tests(),
            states: BTreeMap::new(),
            issued: 0,
        }
    }

    pub(crate) fn lif(&self) -> Vec<u8> {
        self.lif_for(Bindings::of(&[Binding::Folder]))
    }

    pub(crate) fn lif_for(&self, bindings: Bindings) -> Vec<u8> {
        let information = LicenseInformation {
            firm_code: self.firm,
            bindings,
            activation_address: String::new(),
            issued_at: start_of_tests(),
        };
        lif::build(&information, std::slice::from_ref(&self.root_document), &[&self.issue]).expect("a lif")
    }

    /// The certificate that lets a key grant for this vendor.
    pub(crate) fn certify(&self, container_id: [u8; 32], lease_key: lictor_signing::PublicKey) -> Vec<u8> {
        let certificate = LeaseCertificate {
            firm_code: self.firm.get(),
            container_id,
            lease_key,
            not_before: start_of_tests(),
            not_after: None,
            limits: LeaseLimits::default(),
        };
        Envelope::seal(&certificate, &[&self.certifier]).expect("certified").to_bytes()
    }

    fn terms(&mut self) -> Terms {
        self.issued += 1;
        let mut seal_seed = [7; 32];
        seal_seed[..8].copy_from_slice(&self.issued.to_be_bytes());
        Terms {
            issued_at: self.issues_at,
            min_runtime: RuntimeVersion::new(0, 1, 0),
            note: format!("update {}", self.issued),
            seal_seed,
        }
    }

    /// A rebase that answers the context, with operations on what this vendor believes of its container.
    pub(crate) fn rebase(&mut self, context_file: &[u8], operations: &[Operation], floor: &DeviceCounters) -> Vec<u8> {
        let context = context::read(context_file).expect("a context").context;
        let id = context.container_id();
        let state = self.states.get(&id.0).expect("a container that was updated before").clone();
        let answers = context.question().expect("a context with a challenge");
        let (profile, terms) = (context.profile(), self.terms());
        let planned =
            plan_rebase(&state, &profile, &self.trusted, operations, answers, &BTreeMap::new(), floor, &terms)
                .expect("planned");
        let segment = sign_rebase(&planned.payload, &[&self.support]).expect("signed");
        self.states.insert(id.0, planned.predicted);
        update::build(&[], &[segment]).expect("an update")
    }

    /// The next root document: another issue key takes the place of the present one, which is given back. Files that are
    /// built from now on are signed by the new one and do not carry the document along.
    pub(crate) fn rotate(&mut self) -> (Vec<u8>, MemorySigner) {
        let issue = MemorySigner::from_seed(&[250; 32]);
        let mut document = self.trusted.document().clone();
        document.version += 1;
        document.roles.insert(Role::Issue, RoleRule::single(issue.public_key()));
        let envelope = Envelope::seal(&document, &[&self.root]).expect("signed").to_bytes();
        self.trusted = self.trusted.update(&envelope).expect("the next root");
        (envelope, std::mem::replace(&mut self.issue, issue))
    }

    /// The key of a role.
    pub(crate) fn key(&self, role: Role) -> &MemorySigner {
        match role {
            Role::Root => &self.root,
            Role::LeaseCertifier => &self.certifier,
            Role::Support => &self.support,
            Role::Time => &self.time,
            Role::Issue | Role::Policy => &self.issue,
        }
    }

    /// What this vendor keeps of a container: its last context, and what it believes of it.
    pub(crate) fn modified(&self, context_file: &[u8]) -> Vec<u8> {
        let context = context::read(context_file).expect("a context").context;
        let predicted = self.states.get(&context.container_id().0).expect("a container that was updated").clone();
        let modified = ModifiedContext { confirmed: Some(context_file.to_vec()), pending: Vec::new(), predicted };
        modified.to_file(self.issues_at, &[&self.issue]).expect("a small file")
    }

    /// What the time role says to a nonce.
    pub(crate) fn say_time(&self, nonce: &[u8], time: Timestamp) -> Vec<u8> {
        let statement = TimeStatement::new(self.firm.get(), nonce, time).expect("a good nonce");
        Envelope::seal(&statement, &[&self.time]).expect("signed").to_bytes()
    }

    /// The same under the issue key, which may not say the time.
    pub(crate) fn say_time_wrongly(&self, nonce: &[u8], time: Timestamp) -> Vec<u8> {
        let statement = TimeStatement::new(self.firm.get(), nonce, time).expect("a good nonce");
        Envelope::seal(&statement, &[&self.issue]).expect("signed").to_bytes()
    }

    /// A copy that forgets what it does from here on, as a database that is restored does.
    pub(crate) fn states_of(&self) -> BTreeMap<[u8; 32], VendorState> {
        self.states.clone()
    }

    /// Goes back to what was believed then.
    pub(crate) fn restore(&mut self, states: BTreeMap<[u8; 32], VendorState>) {
        self.states = states;
    }

    /// The next update for the container of a context: certifies its lease key first if that is not done yet.
    pub(crate) fn update(&mut self, context_file: &[u8], operations: Vec<Operation>) -> Vec<u8> {
        let context = context::read(context_file).expect("a context").context;
        self.update_believing(context_file, context.profile(), operations)
    }

    /// The same of a vendor who believes something else of the container than its context says.
    pub(crate) fn update_believing(
        &mut self,
        context_file: &[u8],
        profile: DeviceProfile,
        mut operations: Vec<Operation>,
    ) -> Vec<u8> {
        let context = context::read(context_file).expect("a context").context;
        let id = context.container_id();
        let state =
            self.states.entry(id.0).or_insert_with(|| VendorState::genesis(&context.keys.signing, self.firm)).clone();
        if state.lease_certificate.is_none() {
            let certificate = self.certify(id.0, context.keys.lease);
            operations.insert(0, Operation::CertifyLeaseKey { certificate });
        }
        let terms = self.terms();
        let planned = plan(&state, &profile, &self.trusted, operations, &terms).expect("planned");
        let segment = sign_payload(&planned.payload, &[&self.issue]).expect("signed");
        self.states.insert(id.0, planned.predicted);
        update::build(&[], &[segment]).expect("an update")
    }
}

/// A licence id that depends on `number` alone.
pub(crate) fn license(number: u128) -> LicenseId {
    LicenseId::from_u128(number)
}

/// Options of a product that may live in a folder.
pub(crate) fn options(product: u32, seats: Option<u32>) -> Options {
    Options {
        product_code: Some(ProductCode(product)),
        license_quantity: seats.map(|count| Quantity::new(count).expect("a quantity")),
        bindings: Some(Bindings::of(&[Binding::Folder])),
        ..Options::default()
    }
}

/// Adds a licence of `seats` seats of a product.
pub(crate) fn add(number: u128, product: u32, seats: u32) -> Operation {
    add_item(number, options(product, Some(seats)), Vec::new(), seats)
}

/// Gives a licence other options and another number of seats.
pub(crate) fn replace(number: u128, options: Options, seats: u32) -> Operation {
    let item = ProductItem::new(options, Vec::new()).expect("an item");
    let item = product_item::encode(&item).expect("encoded");
    Operation::ReplaceEntry { license: license(number), item, quantity: seats }
}

/// Adds a licence of an item.
pub(crate) fn add_item(number: u128, options: Options, modules: Vec<ModuleItem>, seats: u32) -> Operation {
    let item = ProductItem::new(options, modules).expect("an item");
    Operation::AddEntry {
        license: license(number),
        item: product_item::encode(&item).expect("encoded"),
        quantity: seats,
    }
}
