//! Calls that run, and deliveries that are leased and wait for a place among them. Each destination has a few workers,
//! as many as calls may run at once: one that ends takes the next delivery at once, without a look at the database.
//! Whatever becomes of a worker, the end of each delivery is reported: none is lost.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lictor_clock::{SharedClock, Timestamp};
use lictor_licensing::id::{DeliveryId, DestinationId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::outcome::{Attempt, AttemptResult},
    transmission::{Carrier, Shipment},
};

/// A lease that came to its end.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) id: DeliveryId,
    /// Nothing when there was no call, or it was cut or broke: no attempt is on record and it is made again.
    pub(super) attempt: Option<Attempt>,
}

/// What is remembered while a delivery is leased.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) destination: DestinationId,
    pub(super) order_key: String,
    pub(super) number: u32,
    pub(super) first_attempt_at: Option<Timestamp>,
    pub(super) occurred_at: Option<Timestamp>,
}

/// A leased delivery, ready to be sent.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) id: DeliveryId,
    pub(super) shipment: Shipment,
    /// When the lease runs out: it is not sent later than this.
    pub(super) until: Timestamp,
}

/// What all workers need.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) carrier: Carrier,
    pub(super) clock: SharedClock,
    /// Bounded by the number of leases.
    pub(super) finished: mpsc::UnboundedSender<Finished>,
    /// Cuts all calls.
    pub(super) cut: CancellationToken,
}

/// The leased deliveries of one destination. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    callers: Arc<Callers>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    leased: VecDeque<Leased>,
    workers: usize,
    /// Workers at once.
    limit: usize,
}

impl Queue {
    pub(super) fn new(callers: Arc<Callers>) -> Self {
        Self(Arc::new(Inner { callers, waiting: Mutex::default() }))
    }

    /// Adds deliveries, in their order, and lets up to `limit` calls run.
    pub(super) fn offer(&self, leased: Vec<Leased>, limit: usize) {
        let mut waiting = self.0.lock();
        waiting.limit = limit;
        waiting.leased.extend(leased);
        let more = waiting.limit.saturating_sub(waiting.workers).min(waiting.leased.len());
        waiting.workers += more;
        drop(waiting);
        for _ in 0..more {
            tokio::spawn(work(Arc::clone(&self.0)));
        }
    }

    /// Leases were renewed. One that had run out before may have gone to somebody else.
    pub(super) fn renewed(&self, now: Timestamp, until: Timestamp) {
        for leased in self.0.lock().leased.iter_mut().filter(|leased| leased.until > now) {
            leased.until = until;
        }
    }

    /// Gives back what waits; calls that run go on.
    pub(super) fn give_back(&self) {
        self.0.give_back();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, id: DeliveryId) -> Report<'_> {
        Report { id, attempt: None, sender: &self.callers.finished }
    }

    fn give_back(&self) {
        let leased = std::mem::take(&mut self.lock().leased);
        for one in leased {
            drop(self.report(one.id));
        }
    }

    /// The next delivery; with nothing the worker ends and is not counted any more.
    fn next(&self) -> Option<Leased> {
        let mut waiting = self.lock();
        let next = if waiting.workers > waiting.limit { None } else { waiting.leased.pop_front() };
        if next.is_none() {
            waiting.workers = waiting.workers.saturating_sub(1);
        }
        next
    }
}

/// Reports the end of a lease even when its call is dropped half-way.
struct Report<'a> {
    id: DeliveryId,
    attempt: Option<Attempt>,
    sender: &'a mpsc::UnboundedSender<Finished>,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        // Nobody listens any more after a stop.
        let _ = self.sender.send(Finished { id: self.id, attempt: self.attempt.take() });
    }
}

/// A worker that breaks leaves its place to others, and leaves nothing waiting for nobody.
struct Place<'a>(&'a Inner, bool);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.1 {
            let mut waiting = self.0.lock();
            waiting.workers = waiting.workers.saturating_sub(1);
            drop(waiting);
            self.0.give_back();
        }
    }
}

async fn work(queue: Arc<Inner>) {
    let mut place = Place(&queue, true);
    while let Some(leased) = queue.next() {
        let mut report = queue.report(leased.id);
        // Somebody else may have leased it meanwhile.
        if leased.until <= queue.callers.clock.now() {
            continue;
        }
        let attempt = tokio::select! {
            biased;
            () = queue.callers.cut.cancelled() => return,
            attempt = queue.callers.carrier.carry(&leased.shipment) => attempt,
        };
        let taken = attempt.result == AttemptResult::Taken;
        report.attempt = Some(attempt);
        drop(report);
        if !taken {
            // What a failure means for those that wait is decided where the failure is written down.
            queue.give_back();
        }
    }
    place.1 = false;
}
