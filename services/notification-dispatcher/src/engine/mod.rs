//! The one task that changes deliveries. In turns: it gathers what came in meanwhile (events, results of calls, leases to
//! renew), writes all of it in one transaction, leases in the same transaction what may be sent now, and after the commit
//! hands it to the workers of its destination. A new delivery is written as leased where there is room, so a first attempt
//! needs no second look at the database, and under load one commit carries many.
//!
//! Workers do not wait for turns: for a destination that takes quickly more is leased than may run at once, about as much
//! as ends while a turn is written. What is leased and waits is given back when a call fails, when its destination is
//! closed, at a stop, and by its lease after a crash.
//!
//! Nothing that is decided here lives only in memory: a turn that is lost is done again by whoever comes next.

mod apply;
mod call;
mod intake;
mod lane;
pub(crate) mod making;
mod run;
mod settle;
mod turn;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lictor_clock::SharedClock;
use lictor_storage::Database;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    domain::{destination::GiveUp, event::Event, schedule::Schedule, seal::Seal},
    metrics::DispatcherMetrics,
    store::event::Quarantined,
    transmission::Carrier,
};

pub use run::run;

/// Batches that may wait for the engine; a producer beyond that waits itself.
const WAITING_BATCHES: usize = 64;
/// Most events of one transaction, give or take one batch.
const EVENTS_PER_TURN: usize = 512;

/// How the engine works.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// When failed deliveries are tried again.
    pub schedule: Schedule,
    /// When a destination is disabled.
    pub give_up: GiveUp,
    /// Calls at once to one destination; default 16.
    pub in_flight_per_destination: usize,
    /// Calls at once in all; default 1,024.
    pub in_flight: usize,
    /// How long a claim holds without being renewed; default 5 s. A crash costs this much.
    pub lease: Duration,
    /// How often the clock and the tables are looked at when nothing happens; default 1 s.
    pub sweep_every: Duration,
    /// How long a stop waits for running calls.
    pub drain: Duration,
    /// What opens the secrets of destinations.
    pub seal: Seal,
}

/// Events that came in together, from one source.
#[derive(Debug, Default)]
pub struct Intake {
    /// What can be delivered.
    pub events: Vec<Event>,
    /// What cannot.
    pub quarantined: Vec<Quarantined>,
}

/// The database did not take it; bring it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the events could not be stored; next: bring them again")]
pub struct NotTaken;

/// The way to the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    batches: mpsc::Sender<Batch>,
    changed: Arc<Notify>,
    works: Arc<AtomicBool>,
}

impl EngineHandle {
    /// Stores events. On `Ok` they are durable and their deliveries are on their way: acknowledge.
    pub async fn take(&self, intake: Intake) -> Result<(), NotTaken> {
        let (done, taken) = oneshot::channel();
        self.batches.send(Batch { intake, done }).await.map_err(|_| NotTaken)?;
        taken.await.map_err(|_| NotTaken)?
    }

    /// Tells the engine that the destinations changed.
    pub fn destinations_changed(&self) {
        self.changed.notify_one();
    }

    /// True while its last turn succeeded.
    pub fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed)
    }
}

/// Where a source's gap is reported, by the source's name: the one that reads its cursor waits there.
pub type Gaps = HashMap<String, Arc<Notify>>;

/// Everything the engine needs.
#[derive(Debug)]
pub struct Engine {
    db: Database,
    clock: SharedClock,
    options: EngineOptions,
    carrier: Carrier,
    metrics: DispatcherMetrics,
    gaps: Gaps,
    batches: mpsc::Receiver<Batch>,
    changed: Arc<Notify>,
    works: Arc<AtomicBool>,
}

impl Engine {
    /// An engine and the way to it. Nothing runs before [`run`].
    pub fn new(
        db: Database,
        clock: SharedClock,
        options: EngineOptions,
        carrier: Carrier,
        metrics: DispatcherMetrics,
        gaps: Gaps,
    ) -> (Self, EngineHandle) {
        let (sender, batches) = mpsc::channel(WAITING_BATCHES);
        let changed = Arc::new(Notify::new());
        let works = Arc::new(AtomicBool::new(false));
        let handle = EngineHandle { batches: sender, changed: Arc::clone(&changed), works: Arc::clone(&works) };
        (Self { db, clock, options, carrier, metrics, gaps, batches, changed, works }, handle)
    }
}

#[derive(Debug)]
struct Batch {
    intake: Intake,
    done: oneshot::Sender<Result<(), NotTaken>>,
}
