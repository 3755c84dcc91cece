//! How the keys lie on the disk: open in a folder, sealed to the surroundings everywhere else. The kind stands beside them
//! and never changes.

use std::io;

use lictor_binding::{MAX_SEAL_BYTES, Renewal, Seal, SealError, Sealed};
use lictor_key_store::AgentSigner;
use lictor_license_file::context::{kind_number, read_kind};
use lictor_licensing::binding::ContainerKind;
use lictor_signing::cbor::{self, Canonical, CborError, Reader, Writer};
use thiserror::Error;
use zeroize::Zeroizing;

use super::token;
use crate::surroundings::Surroundings;

/// The file in the state folder.
pub const FILE: &str = "keys";

/// Why what is kept cannot be had, or not be made.
#[derive(Debug, Error)]
pub enum KeptError {
    /// The folder belongs to another kind of container.
    #[error(
        "the state folder holds a container of kind {found}, and LICTOR_BINDING says {wanted}: a container is never \
         converted; next: set LICTOR_BINDING={found}, or give this server an empty folder and move the licences there"
    )]
    OtherKind {
        /// What is in the folder.
        found: ContainerKind,
        /// What the setting says.
        wanted: ContainerKind,
    },
    /// The surroundings are others than those it was sealed to.
    #[error(
        "{sealed}; next: bring the state folder back to where it was, or start on an empty one and have the licences \
         replaced there with lictor replace"
    )]
    Elsewhere {
        /// Which traits failed.
        sealed: Sealed,
    },
    /// Nothing can be sealed here.
    #[error("{0}; next: let this user read more of the machine, or choose another LICTOR_BINDING")]
    Poor(#[from] SealError),
    /// The token is not the one that the keys were locked up with.
    #[error(
        "the keys in the state folder belong to another token; next: plug in the one that this container was made with"
    )]
    OtherToken,
    /// The token does not answer.
    #[error("the token cannot be used ({0}); next: plug it in, look after its key agent, and start again")]
    Token(String),
    /// This build cannot keep keys in this way.
    #[error("this licence server cannot keep a container of kind {0}; next: choose another LICTOR_BINDING")]
    Unsupported(ContainerKind),
    /// The file is not what this program wrote.
    #[error(
        "the file keys in the state folder is damaged: it cannot be read; next: restore the state folder as a whole"
    )]
    Damaged,
    /// The system has no random bytes.
    #[error("the keys cannot be sealed without random bytes ({0}); next: look after the system")]
    Random(io::Error),
}

/// The file's content.
struct Kept {
    kind: ContainerKind,
    content: Zeroizing<Vec<u8>>,
}

/// What was kept, and what became of its seal.
pub(super) struct Unlocked {
    /// The plain content.
    pub(super) content: Zeroizing<Vec<u8>>,
    /// The file anew, when traits have changed a little.
    pub(super) renewed: Option<Vec<u8>>,
    /// A sentence for people, when traits have changed.
    pub(super) remark: Option<String>,
}

/// The bytes of a file that keeps `content` in these surroundings.
///
/// # Errors
/// See [`KeptError`].
pub(super) fn lock(content: &[u8], here: &Surroundings) -> Result<Zeroizing<Vec<u8>>, KeptError> {
    let content = match (here.kind, here.profile()) {
        (ContainerKind::Folder, _) => Zeroizing::new(content.to_vec()),
        (_, Some(profile)) => Zeroizing::new(cbor::encode(&Seal::close(profile, &here.reading, content, random()?)?)),
        (ContainerKind::Token, None) => token::lock(content, token_of(here)?, [random()?, random()?])?,
        (kind, None) => return Err(KeptError::Unsupported(kind)),
    };
    Ok(Zeroizing::new(cbor::encode(&Kept { kind: here.kind, content })))
}

/// Whether such a file is of this kind.
///
/// # Errors
/// See [`KeptError`].
pub fn check_kind(file: &[u8], wanted: ContainerKind) -> Result<(), KeptError> {
    let kept: Kept = cbor::decode(file).map_err(|_| KeptError::Damaged)?;
    if kept.kind == wanted { Ok(()) } else { Err(KeptError::OtherKind { found: kept.kind, wanted }) }
}

/// The content of such a file, if these surroundings are the ones it was made in.
///
/// # Errors
/// See [`KeptError`].
pub(super) fn unlock(file: &[u8], here: &Surroundings) -> Result<Unlocked, KeptError> {
    let kept: Kept = cbor::decode(file).map_err(|_| KeptError::Damaged)?;
    if kept.kind != here.kind {
        return Err(KeptError::OtherKind { found: kept.kind, wanted: here.kind });
    }
    match (kept.kind, here.profile()) {
        (ContainerKind::Folder, _) => Ok(Unlocked { content: kept.content, renewed: None, remark: None }),
        (_, Some(profile)) => {
            let seal: Seal = cbor::decode(&kept.content).map_err(|_| KeptError::Damaged)?;
            if seal.profile() != profile {
                return Err(KeptError::Damaged);
            }
            open_seal(&seal, here)
        }
        (ContainerKind::Token, None) => {
            let content = token::unlock(&kept.content, token_of(here)?)?;
            Ok(Unlocked { content, renewed: None, remark: None })
        }
        (kind, None) => Err(KeptError::Unsupported(kind)),
    }
}

fn token_of(here: &Surroundings) -> Result<&AgentSigner, KeptError> {
    here.token.as_ref().ok_or_else(|| KeptError::Token("none was asked".to_owned()))
}

fn open_seal(seal: &Seal, here: &Surroundings) -> Result<Unlocked, KeptError> {
    let opened = seal.open(&here.reading).map_err(|sealed| KeptError::Elsewhere { sealed })?;
    let changed = opened.matches.changed().next().is_some();
    let matches = &opened.matches;
    let (renewed, remark) = match seal.renew(&opened, &here.reading, here.at, random()?) {
        Renewal::Renewed(seal) => {
            tracing::info!(%matches, "the surroundings changed a little, and the container is sealed to them anew");
            let content = Zeroizing::new(cbor::encode(&*seal));
            (Some(cbor::encode(&Kept { kind: here.kind, content })), None)
        }
        Renewal::TooMuch => (
            None,
            Some(format!(
                "too much of the surroundings changed within 30 days to be sealed anew ({matches}): one more change may \
                 close the container"
            )),
        ),
        Renewal::NotNeeded if changed => {
            (None, Some(format!("the surroundings changed, and not all of them can be read ({matches})")))
        }
        Renewal::NotNeeded => (None, None),
    };
    Ok(Unlocked { content: opened.secret, renewed, remark })
}

fn random() -> Result<[u8; 32], KeptError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| KeptError::Random(io::Error::other(error)))?;
    Ok(seed)
}

impl Canonical for Kept {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.uint(kind_number(self.kind)));
            fields.field(1, |w| w.bytes(&self.content));
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let kind = fields.required(0, read_kind)?;
        let content = Zeroizing::new(fields.required(1, |r| r.bytes(MAX_CONTENT_BYTES))?.to_vec());
        fields.end()?;
        Ok(Self { kind, content })
    }
}

/// The certificate is the largest part, and a seal adds little.
const MAX_CONTENT_BYTES: usize = 2 * MAX_SEAL_BYTES;
