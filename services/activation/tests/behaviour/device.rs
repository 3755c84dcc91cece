//! A container in memory, with the real keys and the real import.

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_license_file::{
    FileError, RuntimeVersion, apply,
    context::{Context, Reason, Statement},
    device::{DeviceCounters, DeviceKeys, DeviceProfile},
    seal::SealingKey,
    segment::Question,
    state::VendorState,
};
use lictor_licensing::{ContainerKind, FirmCode, id::LicenseId};
use lictor_signing::{Signer, TrustedRoot};

/// A clone is what a restored backup would be.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) serial: String,
    profile: DeviceProfile,
    root: TrustedRoot,
    state: VendorState,
    sequence: u64,
    signer: MemorySigner,
    sealing: SealingKey,
    /// Fresh contexts that a rebase may answer.
    questions: Vec<Question>,
}

impl Device {
    pub(crate) fn new(number: u32, kind: ContainerKind, root: &TrustedRoot) -> Self {
        let seed = |part: u8| {
            let mut seed = [part; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            seed
        };
        let (signer, lease) = (MemorySigner::from_seed(&seed(1)), MemorySigner::from_seed(&seed(2)));
        let sealing = SealingKey::from_seed(&seed(3));
        let keys = DeviceKeys { signing: signer.public_key(), sealing: sealing.public(), lease: lease.public_key() };
        let firm = FirmCode::new(root.firm_code()).expect("a firm");
        Self {
            serial: format!("130-{number:010}"),
            state: VendorState::genesis(&keys.signing, firm),
            profile: DeviceProfile { keys, kind, virtual_machine: false, runtime: RuntimeVersion::new(1, 0, 0) },
            root: root.clone(),
            sequence: 0,
            signer,
            sealing,
            questions: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> String {
        self.profile.keys.container_id().to_string()
    }

    pub(crate) fn context(&mut self) -> Vec<u8> {
        self.write(Reason::Request, None)
    }

    /// A context that is no older than the challenge.
    pub(crate) fn fresh_context(&mut self, challenge: [u8; 32]) -> Vec<u8> {
        self.write(Reason::Request, Some(challenge))
    }

    fn write(&mut self, reason: Reason, challenge: Option<[u8; 32]>) -> Vec<u8> {
        self.sequence += 1;
        let device_nonce = std::array::from_fn(|place| (self.sequence >> (8 * (place % 8))) as u8);
        if let Some(challenge) = challenge {
            self.questions.push(Question { device_nonce, challenge });
        }
        let statement = Statement {
            reason,
            serial: &self.serial,
            profile: &self.profile,
            root_version: self.root.version(),
            sequence: self.sequence,
            created_at: Timestamp::UNIX_EPOCH,
            device_nonce,
            vendor_nonce: challenge,
            counters: DeviceCounters::default(),
            evidence: Vec::new(),
        };
        Context::new(&self.state, statement).to_file(&self.signer).expect("a context file")
    }

    /// Imports an update file and gives the receipt.
    pub(crate) fn import(&mut self, file: &[u8]) -> Vec<u8> {
        self.try_import(file).expect("a good update file")
    }

    /// The same for a file that may be refused, which changes nothing.
    pub(crate) fn try_import(&mut self, file: &[u8]) -> Result<Vec<u8>, FileError> {
        let device = apply::Device { profile: &self.profile, sealing: &self.sealing };
        let mut import = apply::verify_answering(file, device, &self.root, &self.state, &self.questions)?;
        while let Some(step) = import.next_step() {
            step.expect("a step that was verified");
        }
        if import.state().epoch != self.state.epoch {
            self.questions.clear();
        }
        self.root = import.root().clone();
        self.state = import.state().clone();
        Ok(self.write(Reason::Receipt(import.results().to_vec()), None))
    }

    /// Seats of a license that can be used here at `now`.
    pub(crate) fn seats(&self, license: &str, now: Timestamp) -> u32 {
        let license: LicenseId = license.parse().expect("a license id");
        let Some(entry) = self.state.entries.get(&license) else {
            return 0;
        };
        let end = entry.product_item().expect("an item").options().expiration_time;
        if end.is_some_and(|end| end <= now) { 0 } else { entry.quantity }
    }

    /// When the entry of a license ends.
    pub(crate) fn end_of(&self, license: &str) -> Option<Timestamp> {
        let license: LicenseId = license.parse().expect("a license id");
        self.state.entries.get(&license)?.product_item().expect("an item").options().expiration_time
    }

    /// How many modules lie under a license's product item.
    pub(crate) fn modules(&self, license: &str) -> usize {
        let license: LicenseId = license.parse().expect("a license id");
        self.state.entries.get(&license).map_or(0, |entry| entry.product_item().expect("an item").modules().len())
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.state.epoch
    }

    pub(crate) fn holds(&self, license: &str) -> bool {
        let license: LicenseId = license.parse().expect("a license id");
        self.state.entries.contains_key(&license)
    }

    pub(crate) fn entries(&self) -> usize {
        self.state.entries.len()
    }
}
