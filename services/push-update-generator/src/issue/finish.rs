//! The second half of issuing: sign, store, count as issued. Each step may have been done before.

use lictor_license_file::segment::Segment as Signed;
use lictor_signing::{Envelope, Role, SignedPayload, TrustedRoot};
use lictor_storage::retry;

use super::{Issuer, Step, random, unreadable};
use crate::{
    domain::segment::SegmentState,
    events::{self, Fact, Happening},
    failure::Failure,
    problem,
    store::{self, segment::Segment},
};

impl Issuer {
    /// Finishes this segment and, before it, those on the way ahead of it.
    pub(super) async fn finish_through(&self, segment: &Segment) -> Result<(), Failure> {
        if segment.state != SegmentState::Reserved {
            return Ok(());
        }
        if self.finish(segment).await? {
            return Ok(());
        }
        // Somebody else finished it meanwhile, or an earlier one is still on its way: then it goes first.
        for waiting in store::segment::reserved_of(&self.db, &segment.key).await? {
            if waiting.epoch == segment.epoch && waiting.to <= segment.to {
                self.finish(&waiting).await?;
            }
        }
        Ok(())
    }

    /// Signs, stores and counts one segment. False when it was not the next one of its chain, or somebody else counted
    /// it first; its bytes are stored then all the same.
    pub(super) async fn finish(&self, segment: &Segment) -> Result<bool, Failure> {
        let envelope = self.sign(segment).await?;
        self.reached(Step::Signed)?;
        store::segment::store_envelope(&self.db, segment, &envelope, self.clock.now()).await?;
        self.reached(Step::Stored)?;
        self.mark(segment).await
    }

    async fn sign(&self, segment: &Segment) -> Result<Vec<u8>, Failure> {
        let signer = self.keys.signer(segment.key.firm, Role::Issue)?;
        let payload = segment.payload.clone();
        // A key may sit in hardware that blocks.
        let envelope = tokio::task::spawn_blocking(move || {
            Envelope::sign(
                <lictor_license_file::segment::SegmentPayload as SignedPayload>::PAYLOAD_TYPE,
                payload,
                &[&*signer],
            )
        })
        .await
        .map_err(|error| Failure::Refused(problem::internal("the signing of a segment", &error)))??
        .to_bytes();
        self.check(segment, &envelope).await?;
        Ok(envelope)
    }

    /// A key that the containers do not accept must show here, not at the customer's.
    async fn check(&self, segment: &Segment, envelope: &[u8]) -> Result<(), Failure> {
        let root = self.root(segment.key.firm).await?;
        let signed = Signed::read(envelope).map_err(unreadable("a reserved segment"))?;
        signed.verify(&root).map_err(unreadable("the signature of a segment"))
    }

    /// The newest root document of a firm, verified.
    pub(crate) async fn root(
        &self,
        firm: lictor_licensing::id::FirmCode,
    ) -> Result<std::sync::Arc<TrustedRoot>, Failure> {
        if let Some(root) = self.keys.known_root(firm) {
            return Ok(root);
        }
        let stored = store::vendor::roots_after(&self.db, firm, 0).await?;
        let mut trusted: Option<TrustedRoot> = None;
        for document in stored {
            let next = match &trusted {
                None => TrustedRoot::trust(&document.envelope),
                Some(root) => root.update(&document.envelope),
            };
            trusted =
                Some(next.map_err(|error| Failure::Refused(problem::internal("a stored root document", &error)))?);
        }
        let root = trusted.ok_or_else(|| Failure::Refused(problem::unknown_firm(firm)))?;
        Ok(self.keys.remember_root(firm, root))
    }

    async fn mark(&self, segment: &Segment) -> Result<bool, Failure> {
        let event_id = random()?;
        let marked = retry(|| async {
            let now = self.clock.now();
            let mut tx = self.db.begin().await?;
            let (key, epoch) = (&segment.key, segment.epoch);
            let Some(next) = store::container::mark_issued(&mut tx, key, epoch, segment.from, segment.to).await? else {
                tx.rollback().await?;
                return Ok::<_, Failure>(false);
            };
            store::segment::mark_issued(&mut tx, segment, now).await?;
            let happening = Happening { key, serial: &next.serial, version: next.version, now, random: event_id };
            let fact = Fact::Issued { epoch, from: segment.from, to: segment.to, reference: segment.reference.clone() };
            events::announce(&mut tx, happening, fact).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await?;
        if marked {
            self.counters.segments_issued.inc();
        }
        Ok(marked)
    }
}
