//! The secrets of a state folder: made once at the first start, readable by the server's user only, never changed, and
//! outside of plain folders sealed to their surroundings.

use std::io;

use lictor_key_store::MemorySigner;
use lictor_license_file::chain::ContainerId;
use lictor_license_file::device::DeviceKeys;
use lictor_license_file::seal::SealingKey;
use lictor_signing::Signer as _;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::disk::{Disk, write_whole};
use super::kept::{self, FILE as KEYS_FILE, KeptError};
use crate::surroundings::Surroundings;

const TOKEN_FILE: &str = "admin-token";
const FINGERPRINT_FILE: &str = "fingerprint";
const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// Why the keys cannot be had.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The disk.
    #[error("the keys in the state folder cannot be read or written")]
    Disk(#[from] io::Error),
    /// The file is not what this program wrote.
    #[error("the file keys in the state folder is damaged: {0}")]
    Damaged(&'static str),
    /// They are kept for other surroundings, or cannot be kept in these.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// No random bytes, or the certificate could not be made.
    #[error("the keys cannot be made: {0}")]
    Make(String),
}

/// The keys of the container and of the server.
pub struct Secrets {
    /// Signs contexts and receipts; its hash is the container id.
    pub signing: MemorySigner,
    /// Opens segments.
    pub sealing: SealingKey,
    /// Signs grants and ends TLS.
    pub lease: MemorySigner,
    /// Seals journal and snapshots.
    pub state_key: Zeroizing<[u8; 32]>,
    /// TLS certificate of the lease key, signed by itself.
    pub certificate: Vec<u8>,
    /// What administrators show over the network.
    pub admin_token: Zeroizing<String>,
    /// What is to be known of the surroundings they are sealed to.
    pub remark: Option<String>,
    lease_seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Reads the keys, or makes them in a folder that has none. `is_new` says whether the folder holds no state yet:
    /// keys that are missing beside state were lost, and new ones would hide that. `here` are the surroundings to which they
    /// are, or will be, sealed.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn load_or_make(disk: &dyn Disk, is_new: bool, here: &Surroundings) -> Result<Self, KeysError> {
        let mut remark = None;
        let stored = match disk.read(KEYS_FILE) {
            Ok(bytes) => {
                let unlocked = kept::unlock(&bytes, here)?;
                remark = unlocked.remark;
                if let Some(renewed) = unlocked.renewed {
                    write_whole(disk, KEYS_FILE, &renewed)?;
                }
                cbor::decode(&unlocked.content).map_err(|_| KeysError::Damaged("it cannot be read"))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => {
                let stored = Stored::make()?;
                write_whole(disk, KEYS_FILE, &kept::lock(&Zeroizing::new(cbor::encode(&stored)), here)?)?;
                stored
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeysError::Damaged("it is gone, but the state is there"));
            }
            Err(error) => return Err(error.into()),
        };
        let admin_token = read_or_make_token(disk)?;
        let secrets = Self {
            signing: MemorySigner::from_seed(&stored.signing),
            sealing: SealingKey::from_seed(&stored.sealing),
            lease: MemorySigner::from_seed(&stored.lease),
            state_key: stored.state_key.clone(),
            certificate: stored.certificate.clone(),
            admin_token,
            remark,
            lease_seed: stored.lease.clone(),
        };
        let fingerprint = format!("{}\n", secrets.fingerprint());
        if disk.read(FINGERPRINT_FILE).ok().as_deref() != Some(fingerprint.as_bytes()) {
            write_whole(disk, FINGERPRINT_FILE, fingerprint.as_bytes())?;
        }
        Ok(secrets)
    }

    /// The public halves.
    #[must_use]
    pub fn device_keys(&self) -> DeviceKeys {
        DeviceKeys {
            signing: self.signing.public_key(),
            sealing: self.sealing.public(),
            lease: self.lease.public_key(),
        }
    }

    /// The container's id.
    #[must_use]
    pub fn container_id(&self) -> ContainerId {
        ContainerId::of(&self.signing.public_key())
    }

    /// SHA-256 of the TLS certificate in hex: what an administrator's client pins.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        Sha256::digest(&self.certificate).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The lease key for TLS, in PKCS #8.
    #[must_use]
    pub fn tls_key(&self) -> Vec<u8> {
        pkcs8(&self.lease_seed)
    }
}

/// What the file holds.
struct Stored {
    signing: Zeroizing<[u8; 32]>,
    sealing: Zeroizing<[u8; 32]>,
    lease: Zeroizing<[u8; 32]>,
    state_key: Zeroizing<[u8; 32]>,
    certificate: Vec<u8>,
}

impl Stored {
    fn make() -> Result<Self, KeysError> {
        let lease = random()?;
        let certificate = self_signed(&lease)?;
        Ok(Self { signing: random()?, sealing: random()?, state_key: random()?, lease, certificate })
    }
}

impl Canonical for Stored {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.bytes(&*self.signing));
            fields.field(1, |w| w.bytes(&*self.sealing));
            fields.field(2, |w| w.bytes(&*self.lease));
            fields.field(3, |w| w.bytes(&*self.state_key));
            fields.field(4, |w| w.bytes(&self.certificate));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let stored = Self {
            signing: Zeroizing::new(fields.required(0, Reader::fixed)?),
            sealing: Zeroizing::new(fields.required(1, Reader::fixed)?),
            lease: Zeroizing::new(fields.required(2, Reader::fixed)?),
            state_key: Zeroizing::new(fields.required(3, Reader::fixed)?),
            certificate: fields.required(4, |r| r.bytes(MAX_CERTIFICATE_BYTES))?.to_vec(),
        };
        fields.end()?;
        Ok(stored)
    }
}

fn random() -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|error| KeysError::Make(error.to_string()))?;
    Ok(bytes)
}

/// What stands before the 32 secret bytes of an Ed25519 key in PKCS #8 (RFC 8410).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

fn pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    [PKCS8_HEAD.as_slice(), seed].concat()
}

fn self_signed(seed: &[u8; 32]) -> Result<Vec<u8>, KeysError> {
    let make = |error: rcgen::Error| KeysError::Make(error.to_string());
    let key = rcgen::KeyPair::try_from(pkcs8(seed)).map_err(make)?;
    let parameters = rcgen::CertificateParams::new(vec!["license-server".to_owned()]).map_err(make)?;
    Ok(parameters.self_signed(&key).map_err(make)?.der().to_vec())
}

/// 256 random bits; the token alone stands in the file, so that it can be given to a client as it is.
fn read_or_make_token(disk: &dyn Disk) -> Result<Zeroizing<String>, KeysError> {
    use base64::Engine as _;
    match disk.read(TOKEN_FILE) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| KeysError::Damaged("admin-token is no text"))?;
            let token = Zeroizing::new(text.trim().to_owned());
            if token.len() < 32 {
                return Err(KeysError::Damaged("admin-token beside it is shorter than 32 characters"));
            }
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*random()?);
            write_whole(disk, TOKEN_FILE, format!("{token}\n").as_bytes())?;
            Ok(Zeroizing::new(token))
        }
        Err(error) => Err(error.into()),
    }
}
