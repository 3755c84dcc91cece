//! A container in memory, with the real keys and the real import.

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_license_file::{
    RuntimeVersion, apply,
    context::{Context, Reason, Statement},
    device::{DeviceCounters, DeviceKeys, DeviceProfile},
    seal::SealingKey,
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
        }
    }

    pub(crate) fn id(&self) -> String {
        self.profile.keys.container_id().to_string()
    }

    pub(crate) fn context(&mut self) -> Vec<u8> {
        self.write(Reason::Request)
    }

    fn write(&mut self, reason: Reason) -> Vec<u8> {
        self.sequence += 1;
        let statement = Statement {
            reason,
            serial: &self.serial,
            profile: &self.profile,
            root_version: self.root.version(),
            sequence: self.sequence,
            created_at: Timestamp::UNIX_EPOCH,
            device_nonce: [7; 16],
            vendor_nonce: None,
            counters: DeviceCounters::default(),
            evidence: Vec::new(),
        };
        Context::new(&self.state, statement).to_file(&self.signer).expect("a context file")
    }

    /// Imports an update file and gives the receipt.
    pub(crate) fn import(&mut self, file: &[u8]) -> Vec<u8> {
        let device = apply::Device { profile: &self.profile, sealing: &self.sealing };
        let mut import = apply::verify(file, device, &self.root, &self.state).expect("a good update file");
        while let Some(step) = import.next_step() {
            step.expect("a step that was verified");
        }
        self.root = import.root().clone();
        self.state = import.state().clone();
        self.write(Reason::Receipt(import.results().to_vec()))
    }

    pub(crate) fn holds(&self, license: &str) -> bool {
        let license: LicenseId = license.parse().expect("a license id");
        self.state.entries.contains_key(&license)
    }

    pub(crate) fn entries(&self) -> usize {
        self.state.entries.len()
    }
}
