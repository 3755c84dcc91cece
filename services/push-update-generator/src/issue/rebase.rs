//! The way back of a container after a restore, a fork or a lost binding: its chain is closed, and the next epoch begins
//! with everything that the vendor knows it to hold. It answers one context that carries a challenge, and no other.

use lictor_clock::Timestamp;
use lictor_license_file::context::Context;
use lictor_licensing::error::{ErrorCode, Problem};

use super::{Issuer, UpdateFile, random};
use crate::{
    domain::{
        challenge::ChallengeKey,
        container::ChainKey,
        request::{Job, RebaseRequest},
        verdict::Verdict,
    },
    failure::Failure,
    problem, store,
    take::Taken,
};

/// What came of a rebase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebased {
    /// Display name of the container.
    pub serial: String,
    /// Whose chain.
    pub key: ChainKey,
    /// The epoch that it began.
    pub epoch: u32,
    /// Counter after the rebase.
    pub to: u64,
    /// The rebase alone.
    pub file: UpdateFile,
}

impl Issuer {
    /// A challenge of a firm, and until when it is good.
    ///
    /// # Errors
    /// When the firm was never made here, or its key store does not answer.
    pub async fn challenge(&self, firm: lictor_licensing::id::FirmCode) -> Result<([u8; 32], Timestamp), Failure> {
        self.root(firm).await?;
        let now = self.clock.now();
        let challenge = self.challenge_key(firm)?.make(now, random()?);
        Ok((challenge, now.saturating_add(crate::domain::challenge::LIFETIME)))
    }

    /// When the challenge in a context was made, if it is ours and still good.
    pub(crate) fn asked_at(&self, context: &Context) -> Result<Option<Timestamp>, Failure> {
        let Some(challenge) = &context.vendor_nonce else { return Ok(None) };
        Ok(self.challenge_key(context.firm_code)?.made_at(challenge, self.clock.now()))
    }

    fn challenge_key(&self, firm: lictor_licensing::id::FirmCode) -> Result<ChallengeKey, Failure> {
        Ok(ChallengeKey::new(firm, self.keys.product_secret(firm)?.challenge_key()))
    }

    /// Rebases the container whose context was taken in, or gives the answer again that this reference got before.
    ///
    /// # Errors
    /// When the context carries no good challenge, or one that a rebase has answered, when the container is unknown or
    /// blocked, and as [`Issuer::issue`].
    pub async fn rebase(&self, taken: &Taken, reference: String, reason: String) -> Result<Rebased, Failure> {
        let context = &taken.context;
        let key = ChainKey { container: context.container_id(), firm: context.firm_code };
        let (Some(chain), true) = (&taken.chain, taken.verdict != Verdict::UnknownContainer) else {
            return Err(Failure::Refused(problem::unknown_container()));
        };
        let question = context.question().ok_or_else(|| Failure::Refused(no_challenge()))?;
        let request = RebaseRequest::new(reference, key, question, reason)
            .map_err(|error| Failure::Refused(problem::invalid(&error, "correct the request; nothing was issued")))?;
        if self.asked_at(context)?.is_none() && !self.is_known(&request).await? {
            return Err(Failure::Refused(no_challenge()));
        }
        let finished = self.run(Job::Rebase(&request)).await?;
        let file = self.answer(&finished).await?;
        let serial = chain.identity.serial.clone();
        Ok(Rebased { serial, key, epoch: finished.segment.epoch, to: finished.segment.to, file })
    }

    /// Whether the reference names a segment already: its answer stays the same, also when the challenge has grown old.
    async fn is_known(&self, request: &RebaseRequest) -> Result<bool, Failure> {
        let mut tx = self.db.begin().await?;
        let known = store::segment::find_by_reference(&mut tx, request.key.firm, &request.reference).await?;
        tx.rollback().await?;
        Ok(known.is_some_and(|segment| segment.request_hash == Job::Rebase(request).hash()))
    }
}

fn no_challenge() -> Problem {
    Problem::new(
        ErrorCode::WrongState,
        "the context carries no challenge of ours that is still good",
        "get a challenge, and make a new context with it",
    )
}
