//! The last two steps for a crowd of segments at once: their signed bytes go into the archive, and then one transaction
//! keeps them here too, counts them as issued and writes their events.

use std::{ops::ControlFlow, sync::Arc};

use lictor_clock::{SharedClock, Timestamp};
use lictor_storage::{Database, StorageError, Tx, retry};

use super::{Step, Watch, waves::waves};
use crate::{
    archive::{Archive, ArchivedSegment, Kept},
    domain::{record::Record, segment::Purpose},
    events::{self, Fact, Happening},
    failure::Failure,
    gather::Gather,
    store::{
        self,
        issued::{Issue, NextEvent},
        segment::Segment,
    },
};

/// Segments of one transaction.
const AT_ONCE: usize = 64;

/// Archives segments and counts them as issued. Clones work together.
#[derive(Clone)]
pub(super) struct Marker {
    gather: Gather<(Issue, Arc<dyn Watch>), Option<Kept>>,
}

impl Marker {
    pub(super) fn new(db: Database, archive: Option<Archive>, clock: SharedClock) -> Self {
        let gather = Gather::new(AT_ONCE, move |signed| {
            let (db, archive, clock) = (db.clone(), archive.clone(), clock.clone());
            async move { keep_all(&db, archive.as_ref(), &clock, signed).await }
        });
        Self { gather }
    }

    /// Archives a signed segment and counts it as issued; tells which bytes count. Nothing when it was not the next one of
    /// its chain, or another run counted it.
    pub(super) async fn keep(&self, issue: Issue, watch: Arc<dyn Watch>) -> Result<Option<Kept>, Failure> {
        self.gather.done((issue, watch)).await
    }
}

async fn keep_all(
    db: &Database,
    archive: Option<&Archive>,
    clock: &SharedClock,
    signed: Vec<(Issue, Arc<dyn Watch>)>,
) -> Vec<Result<Option<Kept>, Failure>> {
    let bytes = |issue: &Issue| Kept { envelope: issue.envelope.clone(), root_through: issue.root_through };
    let archived = match archive {
        Some(archive) => {
            let segments = signed.iter().map(|(issue, _)| ArchivedSegment::of(&issue.segment, bytes(issue)));
            archive.put_all(segments.collect()).await
        }
        None => signed.iter().map(|(issue, _)| Ok(bytes(issue))).collect(),
    };
    let mut answers = Vec::with_capacity(signed.len());
    let (mut places, mut issues) = (Vec::new(), Vec::new());
    for (place, ((issue, watch), archived)) in signed.into_iter().zip(archived).enumerate() {
        answers.push(match archived {
            Ok(kept) if watch.reached(Step::Archived) == ControlFlow::Continue(()) => {
                // Whatever was signed first counts.
                let (envelope, root_through) = (kept.envelope.clone(), kept.root_through);
                issues.push(Issue { envelope, root_through, ..issue });
                places.push(place);
                Ok(Some(kept))
            }
            Ok(_) => Err(Failure::Stopped(Step::Archived)),
            Err(failure) => Err(failure),
        });
    }
    for (place, marked) in places.into_iter().zip(mark_all(db, clock, issues).await) {
        match marked {
            Ok(true) => {}
            Ok(false) => answers[place] = Ok(None),
            Err(failure) => answers[place] = Err(failure),
        }
    }
    answers
}

async fn mark_all(db: &Database, clock: &SharedClock, issues: Vec<Issue>) -> Vec<Result<bool, Failure>> {
    let mut answers: Vec<Result<bool, Failure>> = issues.iter().map(|_| Ok(false)).collect();
    // One statement moves a chain once, so a second segment of the same chain goes into the next wave.
    for wave in waves(issues.iter().map(|issue| (issue.segment.key, &issue.segment.reference[..]))) {
        let crowd: Vec<_> = wave.iter().map(|place| issues[*place].clone()).collect();
        match transact(db, clock, &crowd).await {
            Ok(marked) => {
                for (place, marked) in wave.into_iter().zip(marked) {
                    answers[place] = Ok(marked);
                }
            }
            Err(error) => each_alone(db, clock, &wave, &crowd, error, &mut answers).await,
        }
    }
    answers
}

/// After a crowd failed: each by itself, so that every one gets the own reason.
async fn each_alone(
    db: &Database,
    clock: &SharedClock,
    wave: &[usize],
    crowd: &[Issue],
    error: StorageError,
    answers: &mut [Result<bool, Failure>],
) {
    let (what, down) = (error.to_string(), error.is_unavailable());
    let mut first = Some(error);
    for (place, issue) in wave.iter().zip(crowd) {
        answers[*place] = match first.take() {
            Some(error) if crowd.len() == 1 => Err(Failure::Storage(error)),
            _ if down => Err(Failure::Storage(StorageError::Unavailable { what: what.clone(), source: None })),
            _ => transact(db, clock, std::slice::from_ref(issue))
                .await
                .map(|marked| marked.first().copied().unwrap_or(false))
                .map_err(Failure::Storage),
        };
    }
}

async fn transact(db: &Database, clock: &SharedClock, issues: &[Issue]) -> Result<Vec<bool>, StorageError> {
    retry(|| async {
        let mut tx = db.begin().await?;
        let marked = mark_in(&mut tx, issues, clock.now()).await?;
        tx.commit().await?;
        Ok(marked)
    })
    .await
}

/// Keeps, counts and announces segments of different chains as part of `tx`; tells which ones were the next of theirs.
pub(crate) async fn mark_in(tx: &mut Tx, issues: &[Issue], now: Timestamp) -> Result<Vec<bool>, StorageError> {
    let next = store::issued::mark(tx, issues, now).await?;
    let mut tellings = Vec::with_capacity(issues.len());
    for (issue, next) in issues.iter().zip(&next) {
        if let Some(next) = next {
            announcements(issue, next, &mut tellings)?;
        }
    }
    lictor_broker::announce_all(tx, tellings).await?;
    Ok(next.iter().map(Option::is_some).collect())
}

fn announcements(
    issue: &Issue,
    next: &NextEvent,
    tellings: &mut Vec<(lictor_broker::Announcement, Option<String>)>,
) -> Result<(), StorageError> {
    let segment = &issue.segment;
    let first = next.version + 1 - segment.purpose.events();
    // The ids of a segment's events come from the segment, so that a replay of the archive announces the same events and
    // nobody takes them for new ones.
    let id = |place: usize| std::array::from_fn(|byte| segment.head.0[place * 10 + byte]);
    let happening = |version, place| Happening {
        key: &segment.key,
        serial: &next.serial,
        version,
        now: segment.reserved_at,
        random: id(place),
    };
    let issued =
        Fact::Issued { epoch: segment.epoch, from: segment.from, to: segment.to, reference: segment.reference.clone() };
    tellings.push((events::telling(happening(first, 0), issued), issue.traceparent.clone()));
    let more = match segment.purpose {
        Purpose::Update => None,
        Purpose::Block => Some(Fact::Blocked { reason: reason(segment)? }),
        Purpose::Rebase => Some(Fact::Rebased { epoch: segment.epoch, reason: reason(segment)? }),
    };
    tellings.extend(more.map(|fact| (events::telling(happening(first + 1, 1), fact), issue.traceparent.clone())));
    Ok(())
}

/// Why people asked for it.
fn reason(segment: &Segment) -> Result<String, StorageError> {
    let record = Record::decode(&segment.operations)
        .map_err(|error| StorageError::inconsistent("segment.operations", error.to_string()))?;
    Ok(record.reason().to_owned())
}
