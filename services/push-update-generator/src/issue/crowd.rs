//! Reserving for a crowd: requests for up to 64 different chains share one transaction. While one crowd is reserved the
//! next one gathers; nobody waits for a timer, and a single request is a crowd of one.
//!
//! 1. The archive is asked how far the chains are, and their rows are locked in the order of their keys.
//! 2. Each request is decided by itself, see [`super::decide`]. What is not an ordinary segment, or would be refused,
//!    writes nothing here: it tries alone, in a transaction of its own.
//! 3. One statement fixes the bytes of all segments, leaving out those whose reference stands for something already:
//!    these get the answer that it stands for. One statement moves the ends of the chains whose bytes were fixed.
//!
//! A second request for one chain, or under one reference, goes into a transaction after the first one's. When the
//! transaction of a crowd is refused, nothing of it happened and each request tries alone, so that one cannot make
//! others fail.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use lictor_clock::{SharedClock, Timestamp};
use lictor_license_file::state::VendorState;
use lictor_licensing::error::Problem;
use lictor_storage::{Database, StorageError, retry};

use super::{
    decide::{self, Obstacle, Prepared, obstacle, surely_plain},
    random,
    reserve::{Attempt, Reserved, known, met, unknown},
    waves::waves,
};
use crate::{
    archive::{Archive, End},
    domain::{
        container::{Chain, ChainKey},
        request::{IssueRequest, Job},
    },
    failure::Failure,
    gather::Gather,
    problem,
    store::{self, container::Locked, segment::Segment},
};

/// Requests of one transaction.
const AT_ONCE: usize = 64;

/// Reserves ordinary segments. Clones work together.
#[derive(Clone)]
pub(super) struct Crowd {
    gather: Gather<Share, Attempt>,
}

/// A request in a crowd.
#[derive(Clone)]
struct Share {
    request: Arc<IssueRequest>,
    prepared: Prepared,
}

/// What becomes of a share under the locks.
enum Decided {
    /// To be written: the segment, and the end of the chain with it.
    Write(Box<Fixed>),
    /// Its reference stands for something already.
    Known(Result<Attempt, Problem>),
    /// It does not fit the container, unless its reference stands for something already.
    Refused,
    /// It has to try by itself.
    Alone,
    /// The tables do not know the container.
    Unknown,
    /// Something stands in the way.
    Met(Obstacle, Box<Chain>),
}

/// A segment that may be written.
struct Fixed {
    reserved: Reserved,
    file_base: u64,
    state: Vec<u8>,
}

impl Crowd {
    pub(super) fn new(db: Database, archive: Option<Archive>, clock: SharedClock) -> Self {
        let gather = Gather::new(AT_ONCE, move |shares| {
            let (db, archive, clock) = (db.clone(), archive.clone(), clock.clone());
            async move { reserve_all(&db, archive.as_ref(), &clock, shares).await }
        });
        Self { gather }
    }

    /// Reserves together with whoever else wants to at this moment.
    pub(super) async fn reserve(&self, request: Arc<IssueRequest>, prepared: Prepared) -> Result<Attempt, Failure> {
        self.gather.done(Share { request, prepared }).await
    }
}

async fn reserve_all(
    db: &Database,
    archive: Option<&Archive>,
    clock: &SharedClock,
    shares: Vec<Share>,
) -> Vec<Result<Attempt, Failure>> {
    let mut answers: Vec<Result<Attempt, Failure>> = shares.iter().map(|_| Ok(Attempt::Alone)).collect();
    for wave in waves(shares.iter().map(|share| (share.request.key, &share.request.reference[..]))) {
        let crowd: Arc<[Share]> = wave.iter().map(|place| shares[*place].clone()).collect();
        match reserve_wave(db, archive, clock, crowd).await {
            Ok(wave_answers) => {
                for (place, answer) in wave.into_iter().zip(wave_answers) {
                    answers[place] = answer;
                }
            }
            // Nobody can do anything alone either, and each would wait for it.
            Err(Failure::Storage(error)) if error.is_unavailable() => {
                let what = error.to_string();
                for place in wave {
                    let error = StorageError::Unavailable { what: what.clone(), source: None };
                    answers[place] = Err(Failure::Storage(error));
                }
            }
            Err(failure) => tracing::debug!(%failure, "a crowd was not reserved, so each request tries alone"),
        }
    }
    answers
}

async fn reserve_wave(
    db: &Database,
    archive: Option<&Archive>,
    clock: &SharedClock,
    shares: Arc<[Share]>,
) -> Result<Vec<Result<Attempt, Failure>>, Failure> {
    let keys: BTreeSet<ChainKey> = shares.iter().map(|share| share.request.key).collect();
    // Read before the chains are locked: whatever is archived was reserved before.
    let ends = match archive {
        Some(archive) => Some(archive.ends(&keys).await?),
        None => None,
    };
    let archived = |key: &ChainKey| ends.as_ref().map(|ends| ends.get(key).copied());
    let decided = retry(|| transact(db, clock, &shares, &keys, ends.as_ref())).await?;
    let answers = shares.iter().zip(decided).map(|(share, decided)| match decided {
        Decided::Write(write) => Ok(Attempt::Reserved(Box::new(write.reserved))),
        Decided::Known(answer) => answer.map_err(Failure::Refused),
        Decided::Refused | Decided::Alone => Ok(Attempt::Alone),
        Decided::Unknown => Err(unknown(archive, archived(&share.request.key))),
        Decided::Met(obstacle, chain) => met(obstacle, *chain, archive, archived(&share.request.key)),
    });
    Ok(answers.collect())
}

type Ends = HashMap<ChainKey, End>;

async fn transact(
    db: &Database,
    clock: &SharedClock,
    shares: &Arc<[Share]>,
    keys: &BTreeSet<ChainKey>,
    ends: Option<&Ends>,
) -> Result<Vec<Decided>, Failure> {
    let mut tx = db.begin().await?;
    let locked = store::crowd::lock(&mut tx, keys).await?;
    let (shared, now, ends) = (Arc::clone(shares), clock.now(), ends.cloned());
    // Sealing takes a while: elsewhere, so that other requests get on.
    let mut decided = tokio::task::spawn_blocking(move || decide_all(&shared, locked, ends.as_ref(), now))
        .await
        .map_err(|error| Failure::Refused(problem::internal("the planning of a crowd", &error)))??;
    let segments: Vec<&Segment> = decided.iter().filter_map(Decided::segment).collect();
    let fixed = if segments.is_empty() { BTreeSet::new() } else { store::crowd::reserve(&mut tx, &segments).await? };
    for (share, decided) in shares.iter().zip(&mut decided) {
        let written = decided.segment().is_some_and(|segment| fixed.contains(&segment.key));
        if !written && matches!(decided, Decided::Write(_) | Decided::Refused) {
            *decided = match known(&mut tx, Job::Update(&share.request)).await {
                Ok(Some(before)) => Decided::Known(Ok(before)),
                Ok(None) => Decided::Alone,
                Err(Failure::Refused(refusal)) => Decided::Known(Err(refusal)),
                Err(failure) => return Err(failure),
            };
        }
    }
    let moved: Vec<_> = decided.iter().filter_map(Decided::end).collect();
    if moved.is_empty() {
        tx.rollback().await?;
    } else {
        store::crowd::advance(&mut tx, &moved).await?;
        tx.commit().await?;
    }
    Ok(decided)
}

impl Decided {
    fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Write(write) => Some(&write.reserved.segment),
            _ => None,
        }
    }

    /// The new end of the chain.
    fn end(&self) -> Option<store::crowd::End<'_>> {
        let Self::Write(write) = self else { return None };
        let segment = &write.reserved.segment;
        let (key, reserved) = (segment.key, segment.to);
        Some(store::crowd::End { key, reserved, file_base: write.file_base, state: &write.state })
    }
}

fn decide_all(
    shares: &[Share],
    mut locked: HashMap<ChainKey, Locked>,
    ends: Option<&Ends>,
    now: Timestamp,
) -> Result<Vec<Decided>, Failure> {
    let mut decided = Vec::with_capacity(shares.len());
    for share in shares {
        let key = share.request.key;
        let archived = ends.map(|ends| ends.get(&key).copied());
        decided.push(match locked.remove(&key) {
            None => Decided::Unknown,
            Some(locked) => decide(share, locked, archived, (now, random()?)),
        });
    }
    Ok(decided)
}

/// Decides about one share.
fn decide(share: &Share, locked: Locked, archived: Option<Option<End>>, chance: (Timestamp, [u8; 32])) -> Decided {
    let job = Job::Update(&share.request);
    let Ok(state) = VendorState::decode(&locked.chain.state) else { return Decided::Alone };
    if let Some(obstacle) = obstacle(&locked, &state, job, &share.prepared, archived) {
        return Decided::Met(obstacle, Box::new(locked.chain));
    }
    let chain = locked.chain;
    if !surely_plain(&chain) {
        return Decided::Alone;
    }
    let Ok(planned) = decide::planned(&chain, &state, job, &share.prepared, None, chance) else {
        return Decided::Refused;
    };
    let Ok(state) = planned.segment.predicted.encode() else { return Decided::Alone };
    let segment = decide::segment(&chain, job, &planned, chance.0);
    let next = chain.issued == segment.from;
    Decided::Write(Box::new(Fixed { reserved: Reserved { segment, next }, file_base: planned.file_base, state }))
}
