//! Issuing a segment so that no crash at any point can lose it, change it, or make two of it.
//!
//! 1. One transaction fixes counter and exact bytes: the segment is *reserved*.
//! 2. The key of its role signs these bytes. Signing again gives the same signature.
//! 3. The signed bytes go into the archive, outside of this database. Whoever comes second finds what came first.
//! 4. One transaction keeps them here too, counts the segment as *issued* and writes the event.
//!
//! Before the first step the archive is asked how far the chain is. When it knows more than the tables, these were
//! restored from a backup, and nothing is issued before the archive was replayed.
//!
//! Steps 1, 3 and 4 are taken for a crowd: whoever comes while one crowd is at work waits for the next one, which does the
//! same for all of them at once, up to 64; steps 3 and 4 go together. What a crowd costs in statements is the same for one
//! as for 64. Each request still has its own answer: in a crowd nobody fails because of somebody else.
//!
//! Every step finds out by itself whether it was done before, so a run may stop anywhere and any other run, the next
//! request for the container or the resumer, ends what it began. Nothing leaves the house before the fourth step.

mod answer;
mod block;
mod crowd;
mod decide;
mod finish;
pub(crate) mod mark;
mod rebase;
mod reserve;
mod resign;
mod root;
mod time;
mod waves;

use std::{ops::ControlFlow, sync::Arc};

use lictor_clock::SharedClock;
use lictor_license_file::FileError;
use lictor_storage::Database;

pub use answer::UpdateFile;
pub use block::Blocked;
pub use rebase::Rebased;
pub(crate) use reserve::begin_epoch;

use crate::{
    archive::Archive,
    domain::{
        container::ChainKey,
        request::{IssueRequest, Job},
    },
    failure::Failure,
    keys::Keys,
    metrics::Counters,
    store,
};

/// Chains that one pass of the resumer looks at.
const RESUMED_AT_ONCE: u32 = 100;

/// How far a run of issuing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request is good; nothing is written.
    Asked,
    /// Counter and bytes are fixed.
    Reserved,
    /// The signature exists, in memory only.
    Signed,
    /// The signed bytes lie in the archive.
    Archived,
    /// The segment is issued and announced, but the caller has no answer yet.
    Issued,
}

impl Step {
    /// Every step in its order.
    pub const ALL: [Self; 5] = [Self::Asked, Self::Reserved, Self::Signed, Self::Archived, Self::Issued];
}

/// Looks on after each step; what it breaks is like a process that was killed there.
pub trait Watch: Send + Sync {
    /// Called when a run has reached `step`.
    fn reached(&self, step: Step) -> ControlFlow<()>;
}

/// Never breaks anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn reached(&self, _: Step) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Issues segments.
#[derive(Clone)]
pub struct Issuer {
    pub(crate) db: Database,
    pub(crate) keys: Keys,
    pub(crate) clock: SharedClock,
    pub(crate) counters: Counters,
    pub(crate) archive: Option<Archive>,
    crowd: crowd::Crowd,
    marker: mark::Marker,
    reader: answer::Reader,
    watch: Arc<dyn Watch>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Counter before the segment.
    pub from: u64,
    /// Counter after it.
    pub to: u64,
    /// Everything that the container lacked when it was asked for, this segment last.
    pub file: UpdateFile,
}

impl Issuer {
    /// An issuer over this database and these keys, and over an archive outside of it. Without an archive a restored
    /// database forks every chain, so only development does without.
    #[must_use]
    pub fn new(db: Database, archive: Option<Archive>, keys: Keys, clock: SharedClock, counters: Counters) -> Self {
        let crowd = crowd::Crowd::new(db.clone(), archive.clone(), clock.clone());
        let marker = mark::Marker::new(db.clone(), archive.clone(), clock.clone());
        let reader = answer::Reader::new(db.clone());
        Self { db, keys, clock, counters, archive, crowd, marker, reader, watch: Arc::new(Unwatched) }
    }

    /// The same with somebody who looks on.
    #[must_use]
    pub fn watched(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = watch;
        self
    }

    /// Issues one segment, or gives the answer again that this reference got before.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the request may not be carried out: then nothing was reserved. After any other failure
    /// the segment may have been reserved and will be issued; the same request tells.
    pub async fn issue(&self, request: &IssueRequest) -> Result<Issued, Failure> {
        let begun = self.clock.boottime();
        let segment = self.run(Job::Update(request)).await?;
        let file = self.answer(&segment).await?;
        self.counters.issue_seconds.observe(self.clock.boottime().saturating_sub(begun).as_secs_f64());
        Ok(Issued { from: segment.segment.from, to: segment.segment.to, file })
    }

    /// All steps of one segment, or of the segment that this reference named before.
    async fn run(&self, job: Job<'_>) -> Result<finish::Finished, Failure> {
        self.may_issue().await?;
        self.reached(Step::Asked)?;
        let reserved = self.reserve(job).await?;
        self.reached(Step::Reserved)?;
        let finished = self.finish_through(reserved).await?;
        self.reached(Step::Issued)?;
        Ok(finished)
    }

    /// Refuses everything that could issue or tell of chains while the tables are behind the archive.
    pub(crate) async fn may_issue(&self) -> Result<(), Failure> {
        match &self.archive {
            Some(archive) => archive.check(&self.db).await,
            None => Ok(()),
        }
    }

    /// Ends what interrupted runs began, and tells how many segments that were.
    ///
    /// # Errors
    /// The first failure; what was finished before it stays finished.
    pub async fn resume(&self) -> Result<u64, Failure> {
        let mut finished = 0;
        for key in store::segment::chains_in_work(&self.db, RESUMED_AT_ONCE).await? {
            finished += self.finish_chain(&key).await?;
        }
        Ok(finished)
    }

    /// Ends what interrupted runs began on one chain.
    pub(crate) async fn finish_chain(&self, key: &ChainKey) -> Result<u64, Failure> {
        let waiting = store::segment::reserved_of(&self.db, key).await?;
        let finished = self.finish_all(waiting).await?.len() as u64;
        self.counters.segments_resumed.inc_by(finished);
        Ok(finished)
    }

    /// Whether segments can be issued for every firm that is here, for readiness.
    ///
    /// # Errors
    /// One phrase that says why not.
    pub async fn can_issue(&self) -> Result<(), String> {
        let firms = store::vendor::list(&self.db).await.map_err(|error| error.to_string())?;
        for firm in firms {
            let root = self.newest_root(firm).await.map_err(|failure| failure.problem().message)?;
            let (keys, now) = (self.keys.clone(), self.clock.now());
            let asked = tokio::task::spawn_blocking(move || keys.can_issue(&root, now)).await;
            asked.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    /// Brings the gauges up to date; a database that does not answer leaves them as they are.
    pub(crate) async fn measure(&self) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        if let Ok((chains, suspected)) = store::container::totals(&self.db).await {
            self.counters.containers.set(gauge(chains));
            self.counters.containers_suspected.set(gauge(suspected));
        }
        if let Ok(reserved) = store::segment::reserved_count(&self.db).await {
            self.counters.segments_reserved.set(gauge(reserved));
        }
    }

    fn reached(&self, step: Step) -> Result<(), Failure> {
        match self.watch.reached(step) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Failure::Stopped(step)),
        }
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Failure::Refused(crate::problem::no_randomness()))?;
    Ok(bytes)
}

/// A stored thing of ours that can no longer be read: nothing outside is to blame.
pub(crate) fn unreadable(place: &'static str) -> impl Fn(FileError) -> Failure {
    move |error| Failure::Refused(crate::problem::internal(place, &error))
}
