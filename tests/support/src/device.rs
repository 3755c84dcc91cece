//! A container without a licence server: the real keys and the real import, held in memory. A test may have thousands.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_key_store::MemorySigner;
use lictor_license_file::context::{Context, Reason, Statement, WriteError};
use lictor_license_file::device::{DeviceCounters, DeviceKeys, DeviceProfile};
use lictor_license_file::seal::SealingKey;
use lictor_license_file::segment::Question;
use lictor_license_file::state::VendorState;
use lictor_license_file::{FileError, RuntimeVersion, apply};
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::id::{FirmCode, LicenseId};
use lictor_signing::{Signer, TrustedRoot};

/// A container of one firm. A clone is what a restored backup would be.
#[derive(Clone)]
pub struct Device {
    /// Its display name.
    pub serial: String,
    /// Keys, kind and program.
    pub profile: DeviceProfile,
    /// What it was told by its vendor.
    pub state: VendorState,
    root: TrustedRoot,
    sequence: u64,
    questions: Vec<Question>,
    signer: MemorySigner,
    sealing: SealingKey,
}

impl Device {
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
            sequence: 0,
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
    ///
    /// # Errors
    /// The file would be too large.
    pub fn context(&mut self) -> Result<Vec<u8>, WriteError> {
        self.write(Reason::Request, None)
    }

    /// A context that carries a challenge of the vendor: proof that it is fresh.
    ///
    /// # Errors
    /// The file would be too large.
    pub fn fresh_context(&mut self, challenge: [u8; 32]) -> Result<Vec<u8>, WriteError> {
        self.write(Reason::Request, Some(challenge))
    }

    fn write(&mut self, reason: Reason, vendor_nonce: Option<[u8; 32]>) -> Result<Vec<u8>, WriteError> {
        self.sequence += 1;
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
            vendor_nonce,
            counters: DeviceCounters::default(),
            evidence: Vec::new(),
        };
        let context = Context::new(&self.state, statement);
        self.questions.extend(context.question());
        context.to_file(&self.signer)
    }

    /// Imports an update file and gives the receipt.
    ///
    /// # Errors
    /// The file does not fit; nothing changed.
    ///
    /// # Panics
    /// The receipt would be too large.
    pub fn import(&mut self, file: &[u8]) -> Result<Vec<u8>, FileError> {
        let device = apply::Device { profile: &self.profile, sealing: &self.sealing };
        let mut import = apply::verify_answering(file, device, &self.root, &self.state, &self.questions)?;
        while let Some(step) = import.next_step() {
            step?;
        }
        self.root = import.root().clone();
        if import.state().epoch != self.state.epoch {
            self.questions.clear();
        }
        self.state = import.state().clone();
        Ok(self.write(Reason::Receipt(import.results().to_vec()), None).expect("a receipt is small"))
    }

    /// Whether a licence is in it.
    #[must_use]
    pub fn holds(&self, license: &str) -> bool {
        license.parse::<LicenseId>().is_ok_and(|license| self.state.entries.contains_key(&license))
    }

    /// The licences in it, with their seats.
    #[must_use]
    pub fn licenses(&self) -> BTreeMap<String, u32> {
        self.state.entries.iter().map(|(license, entry)| (license.to_string(), entry.quantity)).collect()
    }
}
