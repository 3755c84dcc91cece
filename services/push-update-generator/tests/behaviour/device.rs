//! A container as its license server holds it, in memory: the real keys, the real import.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_license_file::{
    FileError, RuntimeVersion,
    apply::{self, KeyChange},
    context::{Context, Reason, Statement},
    device::{DeviceCounters, DeviceKeys, DeviceProfile},
    evidence::{self, Evidence},
    seal::SealingKey,
    segment::{ProductKey, Question},
    state::VendorState,
};
use lictor_licensing::{
    binding::ContainerKind,
    id::{FirmCode, LicenseId, ProductCode},
};
use lictor_signing::{Signer, TrustedRoot};

/// A container. A clone is what a restored backup would be.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) serial: String,
    pub(crate) profile: DeviceProfile,
    pub(crate) root: TrustedRoot,
    pub(crate) state: VendorState,
    pub(crate) product_keys: BTreeMap<ProductCode, ProductKey>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) sequence: u64,
    pub(crate) counters: DeviceCounters,
    pub(crate) questions: Vec<Question>,
    signer: MemorySigner,
    sealing: SealingKey,
}

impl Device {
    pub(crate) fn new(number: u8, kind: ContainerKind, root: &TrustedRoot) -> Self {
        Self::seeded(usize::from(number), kind, root)
    }

    pub(crate) fn seeded(number: usize, kind: ContainerKind, root: &TrustedRoot) -> Self {
        let seed = |use_: u8| {
            let mut seed = [use_; 32];
            seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
            seed
        };
        let signer = MemorySigner::from_seed(&seed(1));
        let lease = MemorySigner::from_seed(&seed(2));
        let sealing = SealingKey::from_seed(&seed(3));
        let keys = DeviceKeys { signing: signer.public_key(), sealing: sealing.public(), lease: lease.public_key() };
        let firm = FirmCode::new(root.firm_code()).expect("a firm");
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

    pub(crate) fn id(&self) -> String {
        self.profile.keys.container_id().to_string()
    }

    pub(crate) fn context(&mut self) -> Vec<u8> {
        self.write(Reason::Request)
    }

    pub(crate) fn write(&mut self, reason: Reason) -> Vec<u8> {
        self.sequence += 1;
        let context = self.statement(reason);
        context.to_file(&self.signer).expect("a context file")
    }

    /// A context that carries a challenge of the vendor; a rebase may answer it.
    pub(crate) fn ask(&mut self, challenge: [u8; 32]) -> Vec<u8> {
        self.sequence += 1;
        let mut context = self.statement(Reason::Request);
        context.vendor_nonce = Some(challenge);
        context.device_nonce = [u8::try_from(self.sequence % 251).expect("a small number"); 16];
        self.questions.push(context.question().expect("a question"));
        context.to_file(&self.signer).expect("a context file")
    }

    pub(crate) fn statement(&self, reason: Reason) -> Context {
        Context::new(
            &self.state,
            Statement {
                reason,
                serial: &self.serial,
                profile: &self.profile,
                root_version: self.root.version(),
                sequence: self.sequence,
                created_at: Timestamp::UNIX_EPOCH,
                device_nonce: [7; 16],
                vendor_nonce: None,
                counters: self.counters.clone(),
                evidence: self.evidence.clone(),
            },
        )
    }

    /// Signs any statement with this container's key.
    pub(crate) fn sign(&self, context: &Context) -> Vec<u8> {
        context.to_file(&self.signer).expect("a context file")
    }

    /// Imports an update file; gives the receipt, or the reason why nothing changed.
    pub(crate) fn import(&mut self, file: &[u8]) -> Result<Vec<u8>, FileError> {
        let device = apply::Device { profile: &self.profile, sealing: &self.sealing };
        let import =
            apply::verify_answering(file, device, &self.root, &self.state, &self.questions).inspect_err(|error| {
                if let Some(piece) = Evidence::from_refusal(error) {
                    evidence::keep(&mut self.evidence, piece);
                }
            });
        let mut import = import?;
        while let Some(step) = import.next_step() {
            let step = step?;
            if step.rebased {
                self.evidence.clear();
                self.questions.clear();
            }
            self.counters.merge(&step.floor);
            for change in step.keys {
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
        }
        self.root = import.root().clone();
        self.state = import.state().clone();
        Ok(self.write(Reason::Receipt(import.results().to_vec())))
    }

    pub(crate) fn holds(&self, license: LicenseId) -> bool {
        self.state.entries.contains_key(&license)
    }
}
