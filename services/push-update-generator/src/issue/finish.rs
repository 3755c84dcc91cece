//! The second half of issuing: sign, archive, count as issued. Each step may have been done before.

use std::sync::Arc;

use lictor_license_file::{issue, segment::Segment as Signed};
use lictor_signing::Role;

use super::{Issuer, Step, reserve::Reserved, resign::stated_time, unreadable};
use crate::{
    archive::{ArchivedChain, Kept},
    domain::segment::{Purpose, SegmentState},
    failure::Failure,
    problem,
    store::{self, issued::Issue, segment::Segment},
};

/// A segment that left the house.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    /// The segment, as far as this run knows it.
    pub(super) segment: Segment,
    /// Its bytes, when this run had them in its hands.
    pub(super) kept: Option<Kept>,
}

impl Issuer {
    /// Finishes this segment and, before it, those on the way ahead of it.
    pub(super) async fn finish_through(&self, reserved: Reserved) -> Result<Finished, Failure> {
        let Reserved { segment, next } = reserved;
        if segment.state != SegmentState::Reserved {
            return Ok(Finished { segment, kept: None });
        }
        if next {
            let finished = self.finish_all(vec![segment.clone()]).await?;
            if let Some(finished) = finished.into_iter().next() {
                return Ok(finished);
            }
        }
        // Somebody else finished it meanwhile, or an earlier one is still on its way: then it goes first.
        let mut waiting = store::segment::reserved_of(&self.db, &segment.key).await?;
        waiting.retain(|waiting| waiting.epoch == segment.epoch && waiting.to <= segment.to);
        let finished = self.finish_all(waiting).await?;
        let ours = finished.into_iter().find(|finished| finished.segment.to == segment.to);
        Ok(ours.unwrap_or(Finished { segment, kept: None }))
    }

    /// Signs, archives and counts segments of one chain, in their order, and gives those that this run counted.
    pub(super) async fn finish_all(&self, segments: Vec<Segment>) -> Result<Vec<Finished>, Failure> {
        let mut finished = Vec::with_capacity(segments.len());
        for segment in segments {
            let signed = self.sign(&segment).await?;
            self.reached(Step::Signed)?;
            if segment.epoch == 0 && segment.from == 0 {
                self.archive_chain(&segment.key).await?;
            }
            let issue = Issue {
                segment: segment.clone(),
                envelope: signed.envelope,
                root_through: signed.root_through,
                traceparent: lictor_telemetry::current_traceparent(),
            };
            if let Some(kept) = self.marker.keep(issue, Arc::clone(&self.watch)).await? {
                self.counters.segments_issued.inc();
                finished.push(Finished { segment, kept: Some(kept) });
            }
        }
        Ok(finished)
    }

    /// Signs what was reserved, and proves at once that containers accept it: a wrong key must show here, not at the
    /// customer's.
    async fn sign(&self, segment: &Segment) -> Result<Kept, Failure> {
        let firm = segment.key.firm;
        let role = if segment.purpose == Purpose::Rebase { Role::Support } else { Role::Issue };
        let signers = self.signers(firm, role, stated_time(&segment.payload)?).await?;
        let root = self.root(firm).await?;
        let (payload, known) = (segment.payload.clone(), Arc::clone(&root));
        let blocks = signers.block();
        let make = move || -> Result<_, Failure> {
            let envelope = match role {
                Role::Support => issue::sign_rebase(&payload, &signers.refs())?,
                _ => issue::sign_payload(&payload, &signers.refs())?,
            };
            let signed = Signed::read(&envelope).map_err(unreadable("a reserved segment"))?;
            let proven = signed.verify(&known).is_ok();
            Ok((envelope, signed, proven))
        };
        let (envelope, signed, proven) = if blocks {
            let made = tokio::task::spawn_blocking(make).await;
            made.map_err(|error| Failure::Refused(problem::internal("the signing of a segment", &error)))??
        } else {
            make()?
        };
        if proven {
            return Ok(Kept { envelope, root_through: root.version() });
        }
        // The keys were changed since this process read the root document.
        let root = self.load_root(firm).await?;
        signed.verify(&root).map_err(unreadable("the signature of a segment"))?;
        Ok(Kept { envelope, root_through: root.version() })
    }

    /// Puts the chain itself into the archive, with the newest context that its state was taken from.
    pub(super) async fn archive_chain(&self, key: &crate::domain::container::ChainKey) -> Result<(), Failure> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let found = store::context::registering(&self.db, key).await?;
        let (context, first_seen_at) = found.ok_or_else(|| Failure::Refused(problem::unknown_container()))?;
        archive.put_chain(&ArchivedChain { key: *key, context, first_seen_at }).await
    }
}
