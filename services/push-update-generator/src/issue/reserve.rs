//! The first half of issuing: one transaction that fixes a segment's counter and exact bytes.

use lictor_license_file::state::VendorState;
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_signing::{Envelope, LeaseCertificate, LeaseLimits, Role, Signer, TrustedRoot};
use lictor_storage::{StorageError, Tx, retry};

use super::{Issuer, random, unreadable};
use crate::{
    domain::{
        container::Chain,
        plan::{Means, Plan, certifies, must_fold, plan},
        request::IssueRequest,
        segment::SegmentState,
    },
    failure::Failure,
    keys::ProductSecret,
    problem,
    store::{self, segment::Segment},
};

/// How far the clocks of vendor and container may differ without a fresh certificate being refused.
const CLOCK_TOLERANCE: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

/// A try under the chain's lock.
enum Attempt {
    Reserved(Box<Segment>),
    /// The chain needs a certificate first; it is signed outside of the lock.
    Uncertified(Box<Chain>),
}

/// What does not change between tries.
struct Prepared<'a> {
    request: &'a IssueRequest,
    root: &'a TrustedRoot,
    secret: ProductSecret,
    certificate: Option<Vec<u8>>,
}

impl Issuer {
    /// Reserves the segment, or finds the one that this reference reserved before.
    pub(super) async fn reserve(&self, request: &IssueRequest) -> Result<Segment, Failure> {
        let firm = request.key.firm;
        let root = self.root(firm).await?;
        let mut prepared =
            Prepared { request, root: &root, secret: self.keys.product_secret(firm)?, certificate: None };
        loop {
            let attempt = retry(|| self.attempt(&prepared)).await;
            match attempt {
                Ok(Attempt::Reserved(segment)) => return Ok(*segment),
                Ok(Attempt::Uncertified(chain)) => prepared.certificate = Some(self.certify(&chain).await?),
                // The reference was taken for another container in this very moment; the next try tells.
                Err(Failure::Storage(StorageError::Unique(_))) => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn attempt(&self, prepared: &Prepared<'_>) -> Result<Attempt, Failure> {
        let request = prepared.request;
        let mut tx = self.db.begin().await?;
        let Some(chain) = store::container::lock(&mut tx, &request.key).await? else {
            return Err(Failure::Refused(problem::unknown_container()));
        };
        let known = store::segment::find_by_reference(&mut tx, request.key.firm, &request.reference).await?;
        if let Some(segment) = known {
            tx.rollback().await?;
            return if segment.key == request.key && segment.request_hash == request.hash() {
                Ok(Attempt::Reserved(Box::new(segment)))
            } else {
                Err(Failure::Refused(reference_reused(&request.reference)))
            };
        }
        if let Some(refusal) = store::refusal::find(&mut tx, request.key.firm, &request.reference).await? {
            tx.rollback().await?;
            let same = refusal.request_hash == request.hash();
            return Err(Failure::Refused(if same { refusal.problem } else { reference_reused(&request.reference) }));
        }
        let state = VendorState::decode(&chain.state).map_err(unreadable("a predicted state"))?;
        if certifies(&state) && prepared.certificate.is_none() {
            tx.rollback().await?;
            return Ok(Attempt::Uncertified(Box::new(chain)));
        }
        let planned = match self.plan(&mut tx, &chain, &state, prepared).await {
            Ok(planned) => planned,
            Err(Failure::Refused(problem)) if request.stays_refused(&problem) => {
                store::refusal::insert(&mut tx, request, &problem, self.clock.now()).await?;
                tx.commit().await?;
                return Err(Failure::Refused(problem));
            }
            Err(failure) => return Err(failure),
        };
        let segment = self.segment(&chain, request, &planned);
        let predicted = planned.segment.predicted.encode()?;
        store::segment::reserve(&mut tx, &segment).await?;
        store::container::reserve(&mut tx, &request.key, segment.to, planned.file_base, &predicted).await?;
        tx.commit().await?;
        Ok(Attempt::Reserved(Box::new(segment)))
    }

    async fn plan(
        &self,
        tx: &mut Tx,
        chain: &Chain,
        state: &VendorState,
        prepared: &Prepared<'_>,
    ) -> Result<Plan, Failure> {
        let key = &prepared.request.key;
        let pending = chain.pending();
        let bytes = store::segment::pending_bytes(tx, key, chain.epoch, chain.file_from(), pending).await?;
        let fold = if must_fold(pending, bytes) {
            let mut accepts = store::segment::heads(tx, key, chain.epoch, chain.confirmed).await?;
            if chain.confirmed == 0 {
                accepts.insert(0, (0, chain.genesis.head));
            }
            Some(accepts)
        } else {
            None
        };
        let product_key = |product| prepared.secret.key(product);
        let means = Means {
            root: prepared.root,
            certificate: prepared.certificate.clone(),
            product_key: &product_key,
            fold,
            now: self.clock.now(),
            seal_seed: random()?,
        };
        plan(chain, state, prepared.request, means).map_err(Failure::Refused)
    }

    fn segment(&self, chain: &Chain, request: &IssueRequest, planned: &Plan) -> Segment {
        let plan = &planned.segment;
        Segment {
            key: request.key,
            epoch: chain.epoch,
            from: plan.from,
            to: plan.to,
            prev_head: plan.previous_head,
            head: plan.head,
            state_digest: plan.predicted.digest(),
            reference: request.reference.clone(),
            request_hash: request.hash(),
            payload: plan.payload.clone(),
            file_from: chain.confirmed.max(planned.file_base),
            file_root: chain.root_version,
            summary: planned.summary.clone(),
            state: SegmentState::Reserved,
            reserved_at: self.clock.now(),
            issued_at: None,
            confirmed_at: None,
        }
    }

    /// Lets the container's lease key grant seats for this firm.
    async fn certify(&self, chain: &Chain) -> Result<Vec<u8>, Failure> {
        let certificate = LeaseCertificate {
            firm_code: chain.identity.key.firm.get(),
            container_id: chain.identity.key.container.0,
            lease_key: chain.identity.profile.keys.lease,
            not_before: self.clock.now().saturating_sub(CLOCK_TOLERANCE),
            not_after: None,
            limits: LeaseLimits::default(),
        };
        let signer = self.keys.signer(chain.identity.key.firm, Role::LeaseCertifier)?;
        let envelope = tokio::task::spawn_blocking(move || {
            let signer: &dyn Signer = &*signer;
            Envelope::seal(&certificate, &[signer])
        })
        .await
        .map_err(|error| Failure::Refused(problem::internal("the signing of a certificate", &error)))??;
        Ok(envelope.to_bytes())
    }
}

fn reference_reused(reference: &str) -> Problem {
    Problem::new(
        ErrorCode::RequestIdReused,
        format!("the reference {reference} was used for another segment"),
        "take a new reference for each segment",
    )
}
