//! The first half of issuing: one transaction that fixes a segment's counter and exact bytes.

use std::sync::Arc;

use lictor_license_file::state::VendorState;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_signing::{Envelope, LeaseCertificate, LeaseLimits, Role};
use lictor_storage::{Tx, retry};

use super::{
    Issuer,
    decide::{self, Obstacle, Prepared, obstacle},
    random, unreadable,
};
use crate::{
    archive::{Archive, End},
    domain::{
        container::Chain,
        plan::{Plan, block_folds, must_fold},
        request::Job,
        segment::Purpose,
        suspicion::Suspicions,
        verdict::Place,
    },
    failure::Failure,
    problem,
    store::{self, segment::Segment},
};

/// How far the clocks of vendor and container may differ without a fresh certificate being refused.
const CLOCK_TOLERANCE: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);
/// Segments that are read at once to be put into an archive that lacks them.
const PAGE: u32 = 64;

/// A segment whose bytes are fixed.
#[derive(Clone, Debug)]
pub(super) struct Reserved {
    pub(super) segment: Segment,
    /// Nothing of its chain was on its way when it was reserved.
    pub(super) next: bool,
}

/// A try under the chain's lock.
#[derive(Debug)]
pub(super) enum Attempt {
    Reserved(Box<Reserved>),
    /// The chain needs a certificate first; it is signed outside of the lock.
    Uncertified(Box<Chain>),
    /// A root document was made that this run does not know.
    NewRoot(u64),
    /// The archive lacks what was issued before it was there; it goes this far.
    Unarchived(Box<Chain>, Option<End>),
    /// Segments of the chain are on their way, and they have to end in this epoch.
    InWork,
    /// The request is not one for a crowd: what it needs, or why it is refused, takes statements of its own.
    Alone,
}

impl Issuer {
    /// Reserves the segment, or finds the one that this reference reserved before.
    pub(super) async fn reserve(&self, job: Job<'_>) -> Result<Reserved, Failure> {
        let key = job.key();
        let mut prepared = Prepared {
            root: self.root(key.firm).await?,
            secret: self.keys.product_secret(key.firm)?,
            certificate: None,
        };
        let mut in_crowd = match job {
            Job::Update(request) => Some(Arc::new(request.clone())),
            Job::Block(_) | Job::Rebase(_) => None,
        };
        loop {
            let attempt = match &in_crowd {
                Some(request) => self.crowd.reserve(Arc::clone(request), prepared.clone()).await?,
                None => {
                    // Read before the chain is locked: whatever is archived was reserved before.
                    let archived = match &self.archive {
                        Some(archive) => Some(archive.end(&key).await?),
                        None => None,
                    };
                    retry(|| self.attempt(job, &prepared, archived)).await?
                }
            };
            match attempt {
                Attempt::Reserved(reserved) => return Ok(*reserved),
                Attempt::Uncertified(chain) => prepared.certificate = Some(self.certify(&chain).await?),
                Attempt::NewRoot(version) => {
                    prepared.root = self.root_at(key.firm, version).await?;
                    prepared.certificate = None;
                }
                Attempt::Unarchived(chain, archived) => self.archive_older(&chain, archived).await?,
                Attempt::InWork => {
                    self.finish_chain(&key).await?;
                }
                Attempt::Alone => in_crowd = None,
            }
        }
    }

    async fn attempt(
        &self,
        job: Job<'_>,
        prepared: &Prepared,
        archived: Option<Option<End>>,
    ) -> Result<Attempt, Failure> {
        let key = job.key();
        let mut tx = self.db.begin().await?;
        let Some(locked) = store::container::lock(&mut tx, &key).await? else {
            tx.rollback().await?;
            return Err(unknown(self.archive.as_ref(), archived));
        };
        let state = VendorState::decode(&locked.chain.state).map_err(unreadable("a predicted state"))?;
        if let Some(obstacle) = obstacle(&locked, &state, job, prepared, archived) {
            tx.rollback().await?;
            return met(obstacle, locked.chain, self.archive.as_ref(), archived);
        }
        let chain = locked.chain;
        let planned = match self.plan(&mut tx, &chain, &state, job, prepared).await {
            Ok(planned) => planned,
            Err(Failure::Refused(refusal)) => {
                // What stands in the way may be the very segment that this reference named before.
                if let Some(reserved) = known(&mut tx, job).await? {
                    tx.rollback().await?;
                    return Ok(reserved);
                }
                if job.stays_refused(&refusal) {
                    store::refusal::insert(&mut tx, job, &refusal, self.clock.now()).await?;
                    tx.commit().await?;
                }
                return Err(Failure::Refused(refusal));
            }
            Err(failure) => return Err(failure),
        };
        let segment = decide::segment(&chain, job, &planned, self.clock.now());
        if !store::segment::reserve(&mut tx, &segment).await? {
            let before = known(&mut tx, job).await?;
            tx.rollback().await?;
            // Nothing: whoever had taken the reference gave it up in this very moment, and the next try tells.
            return Ok(before.unwrap_or(Attempt::InWork));
        }
        let next = chain.issued == segment.from || job.purpose() == Purpose::Rebase;
        self.move_chain(&mut tx, chain, job, &planned, &segment).await?;
        tx.commit().await?;
        Ok(Attempt::Reserved(Box::new(Reserved { segment, next })))
    }

    /// Writes the new end of the chain.
    async fn move_chain(
        &self,
        tx: &mut Tx,
        mut chain: Chain,
        job: Job<'_>,
        planned: &Plan,
        segment: &Segment,
    ) -> Result<(), Failure> {
        let key = job.key();
        let predicted = planned.segment.predicted.encode()?;
        match job {
            Job::Update(_) => store::container::reserve(tx, &key, segment.to, planned.file_base, &predicted).await?,
            Job::Block(request) => {
                chain.blocked = Some(request.reference.clone());
                (chain.reserved, chain.file_base, chain.state) = (segment.to, planned.file_base, predicted);
                store::container::update_chain(tx, &chain).await?;
            }
            Job::Rebase(request) => {
                let challenge = &request.question.challenge;
                let now = self.clock.now();
                if !store::rebase::spend(tx, &key, challenge, segment.epoch, &request.reason, now).await? {
                    return Err(Failure::Refused(problem::challenge_spent()));
                }
                begin_epoch(&mut chain, segment);
                (chain.reserved, chain.file_base, chain.state) = (segment.to, planned.file_base, predicted);
                store::container::update_chain(tx, &chain).await?;
            }
        }
        Ok(())
    }

    async fn plan(
        &self,
        tx: &mut Tx,
        chain: &Chain,
        state: &VendorState,
        job: Job<'_>,
        prepared: &Prepared,
    ) -> Result<Plan, Failure> {
        let key = &job.key();
        let pending = chain.pending();
        let bytes = store::segment::pending_bytes(tx, key, chain.epoch, chain.file_from(), pending).await?;
        let large = job.purpose() == Purpose::Block && block_folds(state);
        let fold = if large || must_fold(pending, bytes) {
            let mut accepts = store::segment::heads(tx, key, chain.epoch, chain.confirmed).await?;
            if chain.confirmed == 0 && chain.epoch == 0 {
                accepts.insert(0, (0, chain.genesis.head));
            }
            Some(accepts)
        } else {
            None
        };
        let chance = (self.clock.now(), random()?);
        decide::planned(chain, state, job, prepared, fold, chance).map_err(Failure::Refused)
    }

    /// Puts into the archive what was issued before the archive was there.
    async fn archive_older(&self, chain: &Chain, mut archived: Option<End>) -> Result<(), Failure> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let key = &chain.identity.key;
        if archived.is_none() {
            self.archive_chain(key).await?;
        }
        loop {
            let End { epoch, to } = archived.unwrap_or(End { epoch: 0, to: 0 });
            let older = store::segment::issued_after(&self.db, key, epoch, to, PAGE).await?;
            let Some(last) = older.last() else { return Ok(()) };
            archived = Some(End { epoch: last.epoch, to: last.to });
            for segment in &older {
                let kept = store::segment::kept(&self.db, segment).await?;
                archive.put(segment, kept).await?;
            }
        }
    }

    /// Lets the container's lease key grant seats for this firm.
    async fn certify(&self, chain: &Chain) -> Result<Vec<u8>, Failure> {
        let (firm, now) = (chain.identity.key.firm, self.clock.now());
        let early = now.saturating_sub(CLOCK_TOLERANCE);
        let (not_before, signers) = match self.signers(firm, Role::LeaseCertifier, early).await {
            // The only keys that are left are younger than the tolerance.
            Err(Failure::Signer(_)) => (now, self.signers(firm, Role::LeaseCertifier, now).await?),
            signers => (early, signers?),
        };
        let certificate = LeaseCertificate {
            firm_code: firm.get(),
            container_id: chain.identity.key.container.0,
            lease_key: chain.identity.profile.keys.lease,
            not_before,
            not_after: None,
            limits: LeaseLimits::default(),
        };
        let envelope = tokio::task::spawn_blocking(move || Envelope::seal(&certificate, &signers.refs()))
            .await
            .map_err(|error| Failure::Refused(problem::internal("the signing of a certificate", &error)))??;
        Ok(envelope.to_bytes())
    }
}

/// Closes the chain's epoch and begins the next one with a rebase. Nothing stands against it any more; the evidence stays.
pub(crate) fn begin_epoch(chain: &mut Chain, rebase: &Segment) {
    chain.epoch = rebase.epoch;
    // No container is ever at counter 0 of this epoch, so no state belongs there.
    chain.genesis = Place { head: rebase.prev_head, state_digest: lictor_license_file::Digest([0; 32]) };
    (chain.confirmed, chain.issued, chain.file_base, chain.context_counter) = (0, 0, 0, 0);
    chain.suspicions = Suspicions::NONE;
}

/// A container that the tables do not know; when the archive does, they were restored.
pub(super) fn unknown(archive: Option<&Archive>, archived: Option<Option<End>>) -> Failure {
    match (archive, archived) {
        (Some(archive), Some(Some(_))) => archive.found_behind(),
        _ => Failure::Refused(problem::unknown_container()),
    }
}

/// What an obstacle means for the request.
pub(super) fn met(
    obstacle: Obstacle,
    chain: Chain,
    archive: Option<&Archive>,
    archived: Option<Option<End>>,
) -> Result<Attempt, Failure> {
    match obstacle {
        Obstacle::Behind => {
            Err(archive.map_or_else(|| Failure::Refused(problem::replay_needed()), Archive::found_behind))
        }
        Obstacle::Unarchived => Ok(Attempt::Unarchived(Box::new(chain), archived.flatten())),
        Obstacle::NewRoot(version) => Ok(Attempt::NewRoot(version)),
        Obstacle::Uncertified => Ok(Attempt::Uncertified(Box::new(chain))),
        Obstacle::InWork => Ok(Attempt::InWork),
    }
}

/// What a reference stands for already: a segment, or a refusal.
pub(super) async fn known(tx: &mut Tx, job: Job<'_>) -> Result<Option<Attempt>, Failure> {
    let key = job.key();
    if let Some(segment) = store::segment::find_by_reference(tx, key.firm, job.reference()).await? {
        return if segment.key == key && segment.request_hash == job.hash() {
            Ok(Some(Attempt::Reserved(Box::new(Reserved { segment, next: false }))))
        } else {
            Err(Failure::Refused(reference_reused(job.reference())))
        };
    }
    match store::refusal::find(tx, key.firm, job.reference()).await? {
        Some(refusal) if refusal.request_hash == job.hash() => Err(Failure::Refused(refusal.problem)),
        Some(_) => Err(Failure::Refused(reference_reused(job.reference()))),
        None => Ok(None),
    }
}

fn reference_reused(reference: &str) -> Problem {
    Problem::new(
        ErrorCode::RequestIdReused,
        format!("the reference {reference} was used for another segment"),
        "take a new reference for each segment",
    )
}
