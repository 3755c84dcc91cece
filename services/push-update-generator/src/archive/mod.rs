//! The write-once archive: every segment, root document and chain that ever left the house, in another database than the
//! tables. The tables may be restored from last night's backup; what was issued since then is in here.
//!
//! Nothing leaves before it lies in the archive, so the archive is never behind what customers hold. When the tables are
//! behind the archive, they were restored, and nothing is issued until [`crate::replay`] has brought them up.

mod rows;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lictor_clock::SharedClock;
use lictor_license_file::Digest;
use lictor_licensing::id::FirmCode;
use lictor_storage::{Database, Migration, StorageError, retry};

pub use rows::{ArchivedChain, ArchivedRoot, ArchivedSegment, End};

use crate::{
    domain::container::ChainKey,
    failure::Failure,
    problem,
    store::{self, segment::Segment},
};

/// The schema's name on PostgreSQL.
pub const SCHEMA: &str = "push_update_archive";

/// All steps of the archive's schema.
pub static MIGRATIONS: &[Migration] = &[Migration {
    name: "0001_archive",
    postgres: include_str!("../../archive/postgres/0001_archive.sql"),
    sqlite: include_str!("../../archive/sqlite/0001_archive.sql"),
}];

/// Newest segments of the archive that the tables are looked through for.
const PROBES: u32 = 8;

/// What stands in the archive for a segment: the bytes that count, and the newest root document of that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The signed envelope.
    pub envelope: Vec<u8>,
    /// Version of the newest root document when it was signed.
    pub root_through: u64,
}

/// The archive. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    db: Database,
    clock: SharedClock,
    behind: Arc<AtomicBool>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// The archive in this database, whose tables are there.
    #[must_use]
    pub fn new(db: Database, clock: SharedClock) -> Self {
        Self { db, clock, behind: Arc::default() }
    }

    /// Puts a signed segment in, if nothing is there, and gives what is there then.
    ///
    /// # Errors
    /// When another segment is there: then this one must never leave the house.
    pub async fn put(&self, segment: &Segment, kept: Kept) -> Result<Kept, Failure> {
        let mut answers = self.put_all(vec![ArchivedSegment::of(segment, kept)]).await;
        answers.pop().unwrap_or_else(|| {
            Err(Failure::Storage(StorageError::Unavailable {
                what: "the archive did not say what became of a segment".to_owned(),
                source: None,
            }))
        })
    }

    /// The same for a crowd, with one transaction; when that fails, each by itself, so that every one gets the own reason.
    pub async fn put_all(&self, segments: Vec<ArchivedSegment>) -> Vec<Result<Kept, Failure>> {
        put_all(&self.db, &self.clock, segments).await
    }

    /// Puts a chain in, if it is not there.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn put_chain(&self, chain: &ArchivedChain) -> Result<(), Failure> {
        Ok(rows::put_chain(&self.db, chain, self.clock.now()).await?)
    }

    /// Puts the root documents of a firm in, those that are not there.
    ///
    /// # Errors
    /// When other documents are there.
    pub async fn put_roots(&self, firm: FirmCode, roots: &[store::vendor::StoredRoot]) -> Result<(), Failure> {
        let known = rows::roots_of(&self.db, firm).await?;
        for root in roots {
            match known.iter().find(|kept| kept.version == root.version) {
                Some(kept) if kept.envelope == root.envelope => {}
                Some(_) => return Err(Failure::Refused(problem::other_in_archive("root document"))),
                None => rows::put_root(&self.db, firm, root, self.clock.now()).await?,
            }
        }
        match (known.last(), roots.last()) {
            (Some(kept), Some(root)) if kept.version > root.version => {
                self.behind.store(true, Ordering::SeqCst);
                Err(Failure::Refused(problem::replay_needed()))
            }
            _ => Ok(()),
        }
    }

    /// The newest segment of a chain.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn end(&self, key: &ChainKey) -> Result<Option<End>, Failure> {
        Ok(rows::end_of(&self.db, key).await?)
    }

    /// The newest segment of each of these chains, of those that have one.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn ends(&self, keys: &BTreeSet<ChainKey>) -> Result<HashMap<ChainKey, End>, Failure> {
        Ok(rows::ends_of(&self.db, keys).await?)
    }

    /// Refuses while the tables are known to be behind the archive.
    ///
    /// # Errors
    /// [`lictor_licensing::error::ErrorCode::ReplayNeeded`], or when either does not answer.
    pub async fn check(&self, tables: &Database) -> Result<(), Failure> {
        if self.behind.load(Ordering::SeqCst) {
            self.compare(tables).await?;
        }
        if self.behind.load(Ordering::SeqCst) { Err(Failure::Refused(problem::replay_needed())) } else { Ok(()) }
    }

    /// Remembers that the tables lack something.
    pub fn found_behind(&self) -> Failure {
        if !self.behind.swap(true, Ordering::SeqCst) {
            tracing::error!("the database is older than the archive; next: lictor vendor replay");
        }
        Failure::Refused(problem::replay_needed())
    }

    /// Looks whether the tables hold the newest of the archive, and tells. A database that was restored lacks exactly
    /// that.
    ///
    /// # Errors
    /// When either does not answer.
    pub async fn compare(&self, tables: &Database) -> Result<bool, Failure> {
        for root in rows::newest_roots(&self.db).await? {
            let known = store::vendor::find(tables, root.0).await?.map_or(0, |vendor| vendor.root_version);
            if known < root.1 {
                self.found_behind();
                return Ok(false);
            }
        }
        // The archive is read first: what it holds was reserved in the tables before.
        for (key, end) in rows::newest(&self.db, PROBES).await? {
            if !store::container::reaches(tables, &key, end.epoch, end.to).await? {
                self.found_behind();
                return Ok(false);
            }
        }
        self.behind.store(false, Ordering::SeqCst);
        Ok(true)
    }

    /// Whether it answers, and whether the tables have what it holds; for readiness.
    ///
    /// # Errors
    /// One phrase that says why not.
    pub async fn readiness(&self, tables: &Database) -> Result<(), String> {
        match self.compare(tables).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the database is older than the archive, run: lictor vendor replay".to_owned()),
            Err(failure) => Err(failure.problem().message),
        }
    }

    /// Segments in the order in which they were archived, after a place.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn page(&self, after: u64, limit: u32) -> Result<Vec<(u64, ArchivedSegment)>, Failure> {
        Ok(rows::page(&self.db, after, limit).await?)
    }

    /// A chain, if it was archived.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn chain(&self, key: &ChainKey) -> Result<Option<ArchivedChain>, Failure> {
        Ok(rows::chain(&self.db, key).await?)
    }

    /// Every root document, oldest first per firm.
    ///
    /// # Errors
    /// When the archive does not answer.
    pub async fn roots(&self) -> Result<Vec<ArchivedRoot>, Failure> {
        Ok(rows::roots(&self.db).await?)
    }

    /// Closes it.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// Whether two URLs surely mean the same database.
#[must_use]
pub fn same_place(one: &str, other: &str) -> bool {
    let place = |url: &str| url.split('?').next().unwrap_or(url).trim_end_matches('/').to_owned();
    let path = |url: &str| url.strip_prefix("sqlite://").and_then(|path| Path::new(path).canonicalize().ok());
    place(one) == place(other) || path(one).is_some_and(|known| path(other) == Some(known))
}

async fn put_all(db: &Database, clock: &SharedClock, segments: Vec<ArchivedSegment>) -> Vec<Result<Kept, Failure>> {
    let now = clock.now();
    match retry(|| rows::put(db, &segments, now)).await {
        Ok(fresh) => {
            let mut kept = Vec::with_capacity(segments.len());
            for (segment, fresh) in segments.into_iter().zip(fresh) {
                kept.push(if fresh { Ok(segment.kept()) } else { standing(db, segment).await });
            }
            kept
        }
        Err(error) if segments.len() == 1 || error.is_unavailable() => {
            let what = error.to_string();
            let mut answers = vec![Err(Failure::Storage(error))];
            let again = || StorageError::Unavailable { what: what.clone(), source: None };
            answers.extend((1..segments.len()).map(|_| Err(Failure::Storage(again()))));
            answers
        }
        Err(_) => {
            let mut kept = Vec::with_capacity(segments.len());
            for segment in segments {
                let alone = [segment];
                let put = retry(|| rows::put(db, &alone, now)).await;
                let [segment] = alone;
                kept.push(match put.as_deref() {
                    Ok([true]) => Ok(segment.kept()),
                    Ok(_) => standing(db, segment).await,
                    Err(_) => put.map(|_| segment.kept()).map_err(Failure::Storage),
                });
            }
            kept
        }
    }
}

/// What was there before. The same payload under another signature is the same segment, and the first signature counts.
async fn standing(db: &Database, segment: ArchivedSegment) -> Result<Kept, Failure> {
    let found = rows::find(db, &segment.key, segment.epoch, segment.to).await?;
    match found {
        Some(found) if found.head == segment.head && found.reference == segment.reference => Ok(found.kept()),
        _ => {
            let head: Digest = segment.head;
            tracing::error!(reference = segment.reference, %head, "another segment lies in the archive");
            Err(Failure::Refused(problem::other_in_archive("segment")))
        }
    }
}
