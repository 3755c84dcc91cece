//! Bringing restored tables up to what the archive holds. Every step is a transaction of its own that finds out whether it
//! was done before, so a replay may be killed anywhere, repeated at will, and run by several at once.

use lictor_license_file::{
    context,
    segment::{Segment as Signed, SegmentKind},
    state::VendorState,
};
use lictor_licensing::error::{ErrorCode, Problem};
use lictor_signing::TrustedRoot;
use lictor_storage::{Tx, retry};

use crate::{
    archive::{Archive, ArchivedSegment},
    domain::{
        container::{Chain, Identity},
        record::Record,
        segment::{Purpose, SegmentState},
        suspicion::Suspicions,
        verdict::Place,
    },
    events::{self, Fact, Happening},
    failure::Failure,
    issue::{Issuer, begin_epoch, mark::mark_in, random, unreadable},
    problem,
    store::{self, issued::Issue, segment::Segment},
};

/// Segments of one call.
pub const AT_ONCE: u32 = 200;

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The place in the archive to go on after.
    pub position: u64,
    /// Root documents that were brought back by this call.
    pub roots: u64,
    /// Containers that were brought back by this call.
    pub containers: u64,
    /// Segments that were brought back by this call.
    pub segments: u64,
    /// Segments that this call looked at.
    pub seen: u64,
    /// The tables hold everything that the archive does, and issuing goes on.
    pub done: bool,
}

impl Issuer {
    /// Brings back the next part of what the archive holds and the tables lack. Begin with 0, and go on with the position
    /// of the last answer until it is done.
    ///
    /// # Errors
    /// When there is no archive, when either database does not answer, or when they hold different things in one place.
    pub async fn replay(&self, after: u64) -> Result<Progress, Failure> {
        self.replay_part(after, AT_ONCE).await
    }

    /// The same with at most so many segments.
    ///
    /// # Errors
    /// As [`Issuer::replay`].
    pub async fn replay_part(&self, after: u64, at_once: u32) -> Result<Progress, Failure> {
        let Some(archive) = &self.archive else {
            return Err(Failure::Refused(Problem::new(
                ErrorCode::WrongState,
                "this installation has no archive",
                "set ARCHIVE_URL, so that there is one the next time",
            )));
        };
        let mut progress = Progress { position: after, ..Progress::default() };
        if after == 0 {
            progress.roots = self.replay_roots(archive).await?;
        }
        let page = archive.page(after, at_once).await?;
        for (position, segment) in &page {
            self.replay_segment(archive, segment, &mut progress).await?;
            progress.position = *position;
            progress.seen += 1;
        }
        if page.len() < at_once as usize {
            progress.done = archive.compare(&self.db).await?;
        }
        Ok(progress)
    }

    async fn replay_roots(&self, archive: &Archive) -> Result<u64, Failure> {
        let mut restored = 0;
        let mut firm_root: Option<TrustedRoot> = None;
        for root in archive.roots().await? {
            let next = match firm_root.take() {
                Some(known) if known.firm_code() == root.firm.get() => known.update(&root.envelope),
                _ => TrustedRoot::trust(&root.envelope),
            };
            let trusted =
                next.map_err(|error| Failure::Refused(problem::internal("an archived root document", &error)))?;
            let digest = lictor_license_file::Digest(*trusted.digest()).to_string();
            let name = trusted.document().name.clone();
            let vendor =
                store::vendor::Vendor { firm: root.firm, name, root_version: root.version, root_digest: digest };
            if store::restore::root(&self.db, &vendor, &root.envelope, self.clock.now()).await? {
                restored += 1;
                tracing::info!(firm = %root.firm, version = root.version, "root document brought back");
            }
            firm_root = Some(trusted);
        }
        Ok(restored)
    }

    async fn replay_segment(
        &self,
        archive: &Archive,
        archived: &ArchivedSegment,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        loop {
            match retry(|| self.replay_once(archive, archived)).await? {
                Outcome::Known => return Ok(()),
                Outcome::Registered => progress.containers += 1,
                Outcome::Restored => {
                    progress.segments += 1;
                    return Ok(());
                }
                // The backup was taken in the middle of an issuing: its bytes are the archived ones.
                Outcome::InWork => {
                    self.finish_chain(&archived.key).await?;
                }
            }
        }
    }

    async fn replay_once(&self, archive: &Archive, archived: &ArchivedSegment) -> Result<Outcome, Failure> {
        let mut tx = self.db.begin().await?;
        let Some(locked) = store::container::lock(&mut tx, &archived.key).await? else {
            tx.rollback().await?;
            self.replay_chain(archive, archived).await?;
            return Ok(Outcome::Registered);
        };
        let mut chain = locked.chain;
        if (archived.epoch, archived.to) <= (chain.epoch, chain.reserved) {
            let known = store::segment::place(&mut tx, &archived.key, archived.epoch, archived.to).await?;
            tx.rollback().await?;
            return match known {
                Some(place) if place.head == archived.head => Ok(Outcome::Known),
                _ => Err(differs(archived)),
            };
        }
        if chain.reserved > chain.issued {
            tx.rollback().await?;
            return Ok(Outcome::InWork);
        }
        let signed = Signed::read(&archived.envelope).map_err(unreadable("an archived segment"))?;
        let state = VendorState::decode(&chain.state).map_err(unreadable("a predicted state"))?;
        let record = Record::decode(&archived.operations)
            .map_err(|error| Failure::Refused(problem::internal("an archived record", &error)))?;
        let next = record
            .replay(&state, signed.header(), signed.hash(), archived.state_digest)
            .map_err(|error| Failure::Refused(problem::internal("the replay of a segment", &error)))?;
        if next.head != archived.head {
            return Err(differs(archived));
        }

        let segment = segment(archived, signed.envelope().unverified_payload());
        match &signed.header().kind {
            SegmentKind::Ordinary => self.proven_then(&mut tx, &mut chain, archived).await?,
            SegmentKind::Checkpoint { .. } if chain.awaits_rebase() => {}
            SegmentKind::Checkpoint { .. } => chain.file_base = segment.from,
            SegmentKind::Rebase { answers, .. } => {
                let (now, key) = (self.clock.now(), &archived.key);
                store::rebase::spend(&mut tx, key, &answers.challenge, segment.epoch, record.reason(), now).await?;
                begin_epoch(&mut chain, &segment);
            }
        }
        if archived.purpose == Purpose::Block {
            chain.blocked = Some(archived.reference.clone());
        }
        chain.state = next.encode()?;
        chain.reserved = segment.to;
        if !store::segment::reserve(&mut tx, &segment).await? {
            return Err(differs(archived));
        }
        store::container::update_chain(&mut tx, &chain).await?;
        let issue = Issue {
            segment,
            envelope: archived.envelope.clone(),
            root_through: archived.root_through,
            traceparent: lictor_telemetry::current_traceparent(),
        };
        mark_in(&mut tx, std::slice::from_ref(&issue), self.clock.now()).await?;
        tx.commit().await?;
        Ok(Outcome::Restored)
    }

    /// A file that answered a request started at what was proven then, so everything up to there is.
    async fn proven_then(&self, tx: &mut Tx, chain: &mut Chain, archived: &ArchivedSegment) -> Result<(), Failure> {
        let proven = archived.file_from;
        let known = archived.epoch == chain.epoch && proven > chain.file_from() && proven <= chain.issued;
        if !known {
            return Ok(());
        }
        let now = self.clock.now();
        let key = &archived.key;
        let references = store::segment::confirm(tx, key, chain.epoch, chain.confirmed, proven, now).await?;
        chain.confirmed = proven;
        let version = chain.next_version();
        let fact = Fact::Confirmed { epoch: chain.epoch, counter: proven, references };
        events::announce(tx, Happening::of(&chain.identity, version, now, random()?), fact).await?;
        Ok(())
    }

    /// Registers a container that the tables do not know any more.
    async fn replay_chain(&self, archive: &Archive, archived: &ArchivedSegment) -> Result<(), Failure> {
        let found = archive.chain(&archived.key).await?.ok_or_else(|| differs(archived))?;
        let verified = context::read_any(&found.context)?;
        let known = verified.context;
        let state = VendorState::genesis(&known.keys.signing, known.firm_code);
        let now = self.clock.now();
        let mut chain = Chain {
            identity: Identity { key: found.key, serial: known.serial.clone(), profile: known.profile() },
            epoch: 0,
            genesis: Place { head: state.head, state_digest: state.digest() },
            confirmed: 0,
            issued: 0,
            reserved: 0,
            file_base: 0,
            state: state.encode()?,
            root_version: known.root_version.min(archived.file_root),
            context_sequence: known.sequence,
            context_counter: 0,
            suspicions: Suspicions::NONE,
            counters: known.counters.clone(),
            blocked: None,
            version: 0,
            first_seen_at: found.first_seen_at,
            last_contact_at: found.first_seen_at,
        };
        let version = chain.next_version();
        let event = random()?;
        retry(|| async {
            let mut tx = self.db.begin().await?;
            if store::container::insert(&mut tx, &chain).await? {
                let fact = Fact::Registered { kind: known.kind };
                events::announce(&mut tx, Happening::of(&chain.identity, version, now, event), fact).await?;
                store::context::accept(&mut tx, &found.key, &found.context, now).await?;
                tx.commit().await?;
            }
            Ok::<_, Failure>(())
        })
        .await
    }
}

/// What came of one archived segment.
enum Outcome {
    Known,
    Registered,
    Restored,
    InWork,
}

fn segment(archived: &ArchivedSegment, payload: &[u8]) -> Segment {
    Segment {
        key: archived.key,
        epoch: archived.epoch,
        from: archived.from,
        to: archived.to,
        prev_head: archived.prev_head,
        head: archived.head,
        state_digest: archived.state_digest,
        reference: archived.reference.clone(),
        request_hash: archived.request_hash,
        purpose: archived.purpose,
        payload: payload.to_vec(),
        operations: archived.operations.clone(),
        file_from: archived.file_from,
        file_root: archived.file_root,
        root_through: None,
        summary: archived.summary.clone(),
        state: SegmentState::Reserved,
        reserved_at: archived.reserved_at,
        issued_at: None,
        confirmed_at: None,
    }
}

fn differs(archived: &ArchivedSegment) -> Failure {
    tracing::error!(
        reference = archived.reference,
        container = %archived.key.container,
        epoch = archived.epoch,
        counter = archived.to,
        "the archive and the database hold different segments"
    );
    Failure::Refused(problem::other_in_archive("segment"))
}
