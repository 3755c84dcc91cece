//! A container without a licence server: the real keys and the real import, held in memory. A test may have thousands.

use std::collections::BTreeMap;
use std::fmt::Display;

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_license_file::apply::{self, KeyChange};
use lictor_license_file::context::{Context, Reason, Statement};
use lictor_license_file::device::{DeviceCounters, DeviceKeys, DeviceProfile};
use lictor_license_file::evidence::{self, Evidence};
use lictor_license_file::seal::SealingKey;
use lictor_license_file::segment::{ProductKey, Question};
use lictor_license_file::state::{Entry, VendorState};
use lictor_license_file::{FileError, RuntimeVersion};
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::id::{FirmCode, LicenseId, ProductCode};
use lictor_signing::{Signer, TrustedRoot};

/// A container of one firm. A clone is what a restored backup would be.
#[derive(Clone)]
pub struct TestDevice {
    /// Its display name.
    pub serial: String,
    /// Keys, kind and program.
    pub profile: DeviceProfile,
    /// The newest root document that it knows.
    pub root: TrustedRoot,
    /// What it was told by its vendor.
    pub state: VendorState,
    /// Keys of the products in it.
    pub product_keys: BTreeMap<ProductCode, ProductKey>,
    /// What it saw that should not be.
    pub evidence: Vec<Evidence>,
    /// Number of its last context.
    pub sequence: u64,
    /// What only it counts.
    pub counters: DeviceCounters,
    /// Fresh contexts that a rebase may answer.
    questions: Vec<Question>,
    signer: MemorySigner,
    sealing: SealingKey,
}

impl TestDevice {
    /// An empty container; the number gives it its serial and its keys.
    ///
    /// # Panics
    /// The root is of no firm.
    #[must_use]
    pub fn new(number: u32, kind: ContainerKind, root: &TrustedRoot) -> Self {
        let seed = |part: u8| {
            let mut seed = [part; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            seed
        };
        let (signer, lease) = (MemorySigner::from_seed(&seed(1)), MemorySigner::from_seed(&seed(2)));
        let sealing = SealingKey::from_seed(&seed(3));
        let keys = DeviceKeys { signing: signer.public_key(), sealing: sealing.public(), lease: lease.public_key() };
        let firm = FirmCode::new(root.firm_code()).expect("a root document is of a firm");
        Self {
            serial: format!("130-{number:010}"),
            state: VendorState::genesis(&keys.signing, firm),
            profile: DeviceProfile { keys, kind, virtual_machine: false, runtime: RuntimeVersion::new(1, 0, 0) },
            root: root.clone(),
            product_keys: BTreeMap::new(),
            evidence: Vec::new(),
            sequence: 0,
            counters: DeviceCounters::default(),
            questions: Vec::new(),
            signer,
            sealing,
        }
    }

    /// The container id.
    #[must_use]
    pub fn id(&self) -> String {
        self.profile.keys.container_id().to_string()
    }

    /// A context, as for an activation.
    pub fn context(&mut self) -> Vec<u8> {
        self.write(Reason::Request, None)
    }

    /// A context that carries a challenge of the vendor, so it is no older than that; a rebase may answer it.
    pub fn fresh_context(&mut self, challenge: [u8; 32]) -> Vec<u8> {
        self.write(Reason::Request, Some(challenge))
    }

    fn write(&mut self, reason: Reason, challenge: Option<[u8; 32]>) -> Vec<u8> {
        self.sequence += 1;
        let context = Context { vendor_nonce: challenge, ..self.statement(reason) };
        self.questions.extend(context.question());
        self.sign(&context)
    }

    /// What the next context would say under the number of the last one, for tests that change it before it is signed.
    #[must_use]
    pub fn statement(&self, reason: Reason) -> Context {
        let mut device_nonce = [7; 16];
        device_nonce[..8].copy_from_slice(&self.sequence.to_be_bytes());
        let statement = Statement {
            reason,
            serial: &self.serial,
            profile: &self.profile,
            root_version: self.root.version(),
            sequence: self.sequence,
            created_at: Timestamp::UNIX_EPOCH,
            device_nonce,
            vendor_nonce: None,
            counters: self.counters.clone(),
            evidence: self.evidence.clone(),
        };
        Context::new(&self.state, statement)
    }

    /// Signs any statement with this container's key.
    ///
    /// # Panics
    /// The file would be too large.
    #[must_use]
    pub fn sign(&self, context: &Context) -> Vec<u8> {
        context.to_file(&self.signer).expect("a small context")
    }

    /// Imports an update file and gives the receipt.
    ///
    /// # Errors
    /// The file does not fit; nothing but evidence of a fork has changed.
    pub fn import(&mut self, file: &[u8]) -> Result<Vec<u8>, FileError> {
        let device = apply::Device { profile: &self.profile, sealing: &self.sealing };
        let verified = apply::verify_answering(file, device, &self.root, &self.state, &self.questions);
        let mut import = verified.inspect_err(|error| {
            if let Some(piece) = Evidence::from_refusal(error) {
                evidence::keep(&mut self.evidence, piece);
            }
        })?;
        while let Some(step) = import.next_step() {
            let step = step?;
            if step.rebased {
                self.evidence.clear();
                self.questions.clear();
            }
            self.counters.merge(&step.floor);
            step.keys.into_iter().for_each(|change| self.change_key(change));
        }
        self.root = import.root().clone();
        self.state = import.state().clone();
        Ok(self.write(Reason::Receipt(import.results().to_vec()), None))
    }

    fn change_key(&mut self, change: KeyChange) {
        match change {
            KeyChange::Set(product, key) => {
                self.product_keys.insert(product, key);
            }
            KeyChange::Drop(product) => {
                self.product_keys.remove(&product);
            }
            KeyChange::DropAll => self.product_keys.clear(),
        }
    }

    /// The entry of a licence, by its id or the text of it.
    #[must_use]
    pub fn entry(&self, license: impl Display) -> Option<&Entry> {
        let license: LicenseId = license.to_string().parse().ok()?;
        self.state.entries.get(&license)
    }

    /// Whether a licence is in it.
    #[must_use]
    pub fn holds(&self, license: impl Display) -> bool {
        self.entry(license).is_some()
    }

    /// Seats of a licence that can be used here at `now`.
    #[must_use]
    pub fn seats(&self, license: impl Display, now: Timestamp) -> u32 {
        let usable = self.entry(&license).filter(|_| self.end_of(&license).is_none_or(|end| end > now));
        usable.map_or(0, |entry| entry.quantity)
    }

    /// When the entry of a licence ends.
    ///
    /// # Panics
    /// Its product item cannot be read.
    #[must_use]
    pub fn end_of(&self, license: impl Display) -> Option<Timestamp> {
        self.entry(license)?.product_item().expect("an item").options().expiration_time
    }

    /// How many modules lie under a licence's product item.
    ///
    /// # Panics
    /// The product item cannot be read.
    #[must_use]
    pub fn modules(&self, license: impl Display) -> usize {
        self.entry(license).map_or(0, |entry| entry.product_item().expect("an item").modules().len())
    }

    /// The licences in it, with their seats.
    #[must_use]
    pub fn licenses(&self) -> BTreeMap<String, u32> {
        self.state.entries.iter().map(|(license, entry)| (license.to_string(), entry.quantity)).collect()
    }
}
