//! Who signs, and segments whose signer was retired before their container took them.

use std::sync::Arc;

use lictor_clock::Timestamp;
use lictor_license_file::{
    issue,
    segment::{Segment, SegmentPayload},
};
use lictor_licensing::id::FirmCode;
use lictor_signing::{Role, TrustedRoot, cbor};

use super::{Issuer, unreadable};
use crate::{domain::container::ChainKey, failure::Failure, keys::Signers, problem, store};

impl Issuer {
    /// Signers for a role of a firm at this time, by the newest root document.
    pub(crate) async fn signers(&self, firm: FirmCode, role: Role, at: Timestamp) -> Result<Signers, Failure> {
        let root = self.root(firm).await?;
        let version = root.version();
        match self.ask_keys(root, role, at).await {
            Err(failure @ Failure::Signer(_)) => {
                // The keys may have been changed since this process read the root document.
                let newest = self.newest_root(firm).await?;
                if newest.version() == version { Err(failure) } else { self.ask_keys(newest, role, at).await }
            }
            other => other,
        }
    }

    async fn ask_keys(&self, root: Arc<TrustedRoot>, role: Role, at: Timestamp) -> Result<Signers, Failure> {
        if let Some(signers) = self.keys.known_signers(&root, role, at) {
            return Ok(signers);
        }
        let keys = self.keys.clone();
        // A key may sit in hardware that blocks.
        let asked = tokio::task::spawn_blocking(move || keys.signers(&root, role, at)).await;
        Ok(asked.map_err(|error| Failure::Refused(problem::internal("the search for a key", &error)))??)
    }

    /// The segments as a container accepts them that knows the root document of version `through` (nothing: the newest).
    /// The same question gets the same bytes, whatever root documents come later.
    pub(super) async fn under_newer_root(
        &self,
        key: &ChainKey,
        epoch: u32,
        through: Option<u64>,
        mut segments: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let root = match through {
            Some(version) => self.root_at(key.firm, version).await?,
            None => self.newest_root(key.firm).await?,
        };
        let through = through.unwrap_or(root.version());
        if through <= 1 || segments.is_empty() {
            return Ok(segments);
        }
        let mut again = store::resigned::up_to(&self.db, key, epoch, through).await?;
        for bytes in &mut segments {
            let segment = Segment::read(bytes).map_err(unreadable("a stored segment"))?;
            if let Some(newer) = again.remove(&segment.header().to) {
                *bytes = newer;
            }
            // A file that was answered before a later rotation stays what it was.
            if through == root.version() && !signed_under(bytes, &root)? {
                *bytes = self.sign_again(key, (epoch, segment.header().to), &segment, &root).await?;
            }
        }
        Ok(segments)
    }

    async fn sign_again(
        &self,
        key: &ChainKey,
        place: (u32, u64),
        segment: &Segment,
        root: &TrustedRoot,
    ) -> Result<Vec<u8>, Failure> {
        let role = role_of(segment);
        let signers = self.signers(key.firm, role, segment.header().issued_at).await?;
        let payload = segment.envelope().unverified_payload().to_vec();
        let envelope = tokio::task::spawn_blocking(move || match role {
            Role::Support => issue::sign_rebase(&payload, &signers.refs()),
            _ => issue::sign_payload(&payload, &signers.refs()),
        })
        .await
        .map_err(|error| Failure::Refused(problem::internal("the signing of a segment", &error)))??;
        let signed = Segment::read(&envelope).map_err(unreadable("a segment signed again"))?;
        signed.verify(root).map_err(unreadable("the signature of a segment"))?;
        Ok(store::resigned::keep(&self.db, key, place, root.version(), &envelope, self.clock.now()).await?)
    }
}

/// Whether the keys that signed bytes of ours are such that this root document names, for that time. The signatures
/// themselves were checked when they were made.
fn signed_under(bytes: &[u8], root: &TrustedRoot) -> Result<bool, Failure> {
    let segment = Segment::read(bytes).map_err(unreadable("a stored segment"))?;
    let at = segment.header().issued_at;
    let Some(rule) = root.document().roles.get(&role_of(&segment)) else { return Ok(false) };
    let signed = |id| segment.envelope().signatures().iter().any(|(hint, _)| *hint == id);
    let valid = rule.keys.iter().filter(|entry| entry.valid_at(at) && signed(entry.key.id())).count();
    Ok(valid >= rule.threshold as usize)
}

fn role_of(segment: &Segment) -> Role {
    if segment.is_rebase() { Role::Support } else { Role::Issue }
}

/// The time that a reserved segment states, which decides which keys may sign it.
pub(super) fn stated_time(payload: &[u8]) -> Result<Timestamp, Failure> {
    let payload: SegmentPayload =
        cbor::decode(payload).map_err(|error| Failure::Refused(problem::internal("a reserved segment", &error)))?;
    Ok(payload.header().issued_at)
}
