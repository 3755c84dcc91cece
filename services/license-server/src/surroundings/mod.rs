//! What the server can read of its surroundings: machine, file system, volume, container engine. Read once at the start,
//! before anything of the state is opened.

pub mod folder;
pub mod guard;
pub mod machine;
pub mod mount;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lictor_binding::{Profile, Reading, TraitKind};
use lictor_clock::Timestamp;
use lictor_key_store::{AgentKeyStore, AgentSigner, KeyStoreError};
use lictor_licensing::binding::ContainerKind;
use thiserror::Error;

use crate::attestor::{Attestor, AttestorError, Identity};
use machine::Root;
use mount::Mount;

/// Local file systems whose folders keep their inode and their time of birth. On others a copy looks like the original, two
/// machines write at once, or all is gone after a restart.
const FILESYSTEMS: [&str; 6] = ["ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs"];
/// The file that proves which container this is; it lives for one question.
const NONCE_FILE: &str = "attestation";
/// Name of the container's key in a token.
const TOKEN_KEY: &str = "lictor-container";
/// Longest wait for an answer of a token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);

/// Where the server is, as far as it can be read.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The kind of container that these surroundings are for.
    pub kind: ContainerKind,
    /// Whether the machine below is virtual.
    pub virtual_machine: bool,
    /// The traits.
    pub reading: Reading,
    /// When they were read.
    pub at: Timestamp,
    /// The key of the token, for the kind `token`.
    pub token: Option<AgentSigner>,
    /// Why the container engine said nothing, when it was needed.
    pub silent_engine: Option<String>,
}

/// Why the surroundings are none for a container of this kind.
#[derive(Debug, Error)]
pub enum SurroundingsError {
    /// The folder cannot be looked at.
    #[error("the state folder cannot be looked at ({0}); next: let this user own it")]
    Folder(#[from] io::Error),
    /// The file system does not hold what a binding needs.
    #[error(
        "the state folder lies on {0}, and a container that is bound to its place needs one of ext4, xfs, btrfs, zfs, f2fs, \
         bcachefs; next: give it a volume on such a disk"
    )]
    Filesystem(String),
    /// The kind `machine` inside of a container.
    #[error(
        "this process runs in a container, and what it can read there is no machine; next: set LICTOR_BINDING=volume, or \
         run the licence server on the machine itself"
    )]
    InsideContainer,
    /// The kind `volume` outside of a container engine's reach.
    #[error(
        "the state folder is no named volume that the container engine vouches for: {0}; next: mount a named volume of the \
         engine there whose socket this server has"
    )]
    Unproven(String),
    /// No engine answers.
    #[error(
        "a container of kind volume cannot be made without the container engine: {0}, or choose another LICTOR_BINDING"
    )]
    NoEngine(String),
    /// Agent or token.
    #[error("the token cannot be used ({0}); next: plug it in, look after its key agent, and start again")]
    Token(String),
    /// The attestor.
    #[error(transparent)]
    Attestor(#[from] AttestorError),
}

impl Surroundings {
    /// Those of a plain folder, which are not looked at.
    #[must_use]
    pub fn folder() -> Self {
        Self {
            kind: ContainerKind::Folder,
            virtual_machine: false,
            reading: Reading::new(),
            at: Timestamp::UNIX_EPOCH,
            token: None,
            silent_engine: None,
        }
    }

    /// Which traits count; none for kinds that are not sealed to traits.
    #[must_use]
    pub const fn profile(&self) -> Option<Profile> {
        match self.kind {
            ContainerKind::Machine => Some(Profile::Machine),
            ContainerKind::Volume => Some(Profile::Volume),
            _ => None,
        }
    }

    /// Asks for the key of a token, and has it made when there is none and the container `is_new`. Waits for the agent.
    ///
    /// # Errors
    /// When agent or token do not answer.
    pub fn of_token(socket: &Path, is_new: bool, at: Timestamp) -> Result<Self, SurroundingsError> {
        let agent = AgentKeyStore::new(socket, TOKEN_PATIENCE);
        let token = match agent.load(TOKEN_KEY) {
            Err(KeyStoreError::Missing(_)) if is_new => agent.generate(TOKEN_KEY),
            found => found,
        };
        let token = token.map_err(|error| SurroundingsError::Token(error.to_string()))?;
        Ok(Self { kind: ContainerKind::Token, at, token: Some(token), ..Self::folder() })
    }

    /// Looks around. `is_new` says that the container is not made yet: then everything has to be there.
    ///
    /// # Errors
    /// See [`SurroundingsError`].
    pub async fn look(
        kind: ContainerKind,
        path: &Path,
        is_new: bool,
        root: &Root,
        attestor: Option<&Attestor>,
        at: Timestamp,
    ) -> Result<Self, SurroundingsError> {
        let mut here = Self { kind, at, ..Self::folder() };
        if here.profile().is_none() {
            return Ok(here);
        }
        if kind == ContainerKind::Machine && root.inside_container() {
            return Err(SurroundingsError::InsideContainer);
        }
        let path = path.canonicalize()?;
        let table = root.mount_table();
        let mount =
            mount::mount_of(&table, &path).ok_or_else(|| SurroundingsError::Filesystem("nothing".to_owned()))?;
        if !FILESYSTEMS.contains(&mount.filesystem.as_str()) {
            return Err(SurroundingsError::Filesystem(mount.filesystem));
        }
        if kind == ContainerKind::Volume {
            match identify(&path, &table, attestor).await {
                Ok(identity) => {
                    check(&identity, &mount)?;
                    note(&mut here.reading, &identity);
                }
                Err(AttestorError::Refused(reason)) => return Err(SurroundingsError::Unproven(reason)),
                Err(silent) if is_new => return Err(SurroundingsError::NoEngine(silent.to_string())),
                Err(silent) => here.silent_engine = Some(silent.to_string()),
            }
        }
        if is_new {
            folder::write_anchor(&path)?;
        }
        folder::read_folder(&mut here.reading, File::open(&path)?)?;
        root.read_machine(&mut here.reading, Some(mount.device), !root.inside_container());
        here.virtual_machine = root.is_virtual();
        Ok(here)
    }
}

/// Asks the engine again who this is, after it was away.
///
/// # Errors
/// See [`AttestorError`].
pub(crate) async fn identify_again(path: &Path, root: &Root, attestor: &Attestor) -> Result<(), AttestorError> {
    attestor.alive().await?;
    let refused = |error: &dyn std::fmt::Display| AttestorError::Refused(error.to_string());
    let path = path.canonicalize().map_err(|error| refused(&error))?;
    let table = root.mount_table();
    let mount = mount::mount_of(&table, &path).ok_or_else(|| refused(&"nothing is mounted there"))?;
    check(&identify(&path, &table, Some(attestor)).await?, &mount).map_err(|error| refused(&error))
}

/// Asks the engine who this is; a file in the state folder that only this process can have written is the proof.
async fn identify(path: &Path, table: &str, attestor: Option<&Attestor>) -> Result<Identity, AttestorError> {
    let attestor = attestor.ok_or(AttestorError::Gone)?;
    let mut random = [0; 32];
    let broken = |error: &dyn std::fmt::Display| AttestorError::Refused(error.to_string());
    getrandom::fill(&mut random).map_err(|error| broken(&error))?;
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = path.join(NONCE_FILE);
    std::fs::write(&file, &nonce).map_err(|error| broken(&error))?;
    let answer = attestor.identify(path.to_owned(), NONCE_FILE.to_owned(), nonce, mount::container_ids(table)).await;
    std::fs::remove_file(&file).map_err(|error| broken(&error))?;
    answer
}

/// The engine's word against the kernel's: a local volume lies where the engine keeps volumes of that name.
fn check(identity: &Identity, mount: &Mount) -> Result<(), SurroundingsError> {
    let place = PathBuf::from("volumes").join(&identity.volume.name).join("_data");
    if identity.volume.driver == "local" && !mount.root.ends_with(&place) {
        return Err(SurroundingsError::Unproven(format!(
            "the engine names the volume {}, but the kernel has another folder mounted ({})",
            identity.volume.name,
            mount.root.display()
        )));
    }
    Ok(())
}

fn note(reading: &mut Reading, identity: &Identity) {
    reading.note(TraitKind::EngineId, identity.engine.as_bytes());
    reading.note(TraitKind::VolumeName, identity.volume.name.as_bytes());
    let driver = format!("{}/{}", identity.volume.driver, identity.volume.scope);
    reading.note(TraitKind::VolumeDriver, driver.as_bytes());
}
