//! Those who wait for a seat, at the writer: they join, are served with a batch, and leave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor_licensing::error::{ErrorCode, Problem};
use lictor_licensing::id::SessionId;
use tokio::sync::{oneshot, watch};

use super::handle::{Answered, Command, Ledger};
use super::{BATCH_RECORDS, Writer};
use crate::domain::ask::{Ask, AskError, Moment};
use crate::domain::event::{Event, EventType};
use crate::domain::session::RequestId;
use crate::domain::waiting::{LONGEST_WAIT, Served, Standing, Waiter};

/// Somebody whose turn has come, until the batch is written.
pub(super) struct Turned {
    pub(super) answer: Answered,
    waiter: Waiter,
    /// Where he stood; none for somebody who did not have to wait.
    number: Option<u64>,
    session: SessionId,
}

static VISITS: AtomicU64 = AtomicU64::new(1);

/// Somebody who asks and wants to wait.
pub(super) struct Newcomer {
    ask: Ask,
    span: Duration,
    visit: u64,
    standing: watch::Sender<Option<Standing>>,
    reply: oneshot::Sender<Answered>,
}

/// A wait that is under way. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Visit {
    /// How it stands; none until it stands in the queue.
    pub standing: watch::Receiver<Option<Standing>>,
    /// The answer, once it is durable. It ends without one when the server stops, or another visit took its place.
    pub answer: oneshot::Receiver<Answered>,
    leaving: Leaving,
}

impl Visit {
    /// Standing and answer apart, and what leaves the queue when it is dropped.
    #[must_use]
    pub fn into_parts(
        self,
    ) -> (watch::Receiver<Option<Standing>>, oneshot::Receiver<Answered>, impl Send + Sync + use<>) {
        (self.standing, self.answer, self.leaving)
    }
}

/// Tells when a visit is over; one that was answered before is no more there to leave.
#[derive(Debug)]
struct Leaving {
    ledger: Ledger,
    request: RequestId,
    visit: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.ledger.leave(self.request, self.visit);
    }
}

impl Ledger {
    /// Asks for a seat and waits for it, at most for `span`, and never longer than a day; a span of zero is a day.
    ///
    /// # Errors
    /// When the writer is gone or has too much to do.
    pub fn wait(&self, ask: Ask, span: Duration) -> Result<Visit, Problem> {
        self.has_time()?;
        let visit = VISITS.fetch_add(1, Ordering::Relaxed);
        let request = ask.request_id;
        let (standing, watch_standing) = watch::channel(None);
        let (reply, answer) = oneshot::channel();
        let span = if span.is_zero() { LONGEST_WAIT } else { span.min(LONGEST_WAIT) };
        self.send(Command::Wait(Box::new(Newcomer { ask, span, visit, standing, reply })))?;
        Ok(Visit { standing: watch_standing, answer, leaving: Leaving { ledger: self.clone(), request, visit } })
    }

    fn leave(&self, request: RequestId, visit: u64) {
        // Without a writer there is no queue either.
        let _ = self.send(Command::Leave { request, visit });
    }
}

impl Writer {
    /// Answers a newcomer with the batch, or lets him wait.
    pub(super) fn newcomer(&mut self, newcomer: Newcomer, moment: Moment) {
        let Newcomer { ask, span, visit, standing, reply } = newcomer;
        let id = match Self::fresh_id(moment) {
            Ok(id) => id,
            Err(problem) => return self.batch.answers.push((Err(problem), reply)),
        };
        self.expire(moment);
        self.keeper.advance(ask.firm_code, ask.product_code, moment);
        let until = moment.boottime.saturating_add(span);
        let waiter = Waiter { ask, until, visit, standing, reply, places: Vec::new() };
        let request = waiter.ask.request_id;
        let again = self.keeper.queues().get(&request).is_some();
        match self.keeper.wait(waiter, id, moment) {
            Some(served) => self.add(served, moment),
            None if again => {}
            None => {
                let now = self.keeper.state.effective(moment);
                let event = self.keeper.queues().get(&request);
                let event = event.map(|waiter| Event::of_ask(EventType::SeatQueued, &waiter.ask, now));
                event.into_iter().for_each(|event| self.events.tell(event));
            }
        }
    }

    /// Takes out a waiter whose stream is gone.
    pub(super) fn left(&mut self, request: &RequestId, visit: u64, moment: Moment) {
        if let Some(ask) = self.keeper.leave(request, visit) {
            let now = self.keeper.state.effective(moment);
            self.events.tell(Event::of_ask(EventType::SeatLeft, &ask, now));
        }
    }

    /// Adds to the batch whom it is the turn of. Not while the disk is full: they would lose their places for nothing.
    pub(super) fn serve(&mut self, moment: Moment) {
        if !self.is_full() && self.keeper.is_due() {
            self.serve_now(moment);
        }
    }

    fn serve_now(&mut self, moment: Moment) {
        let room = BATCH_RECORDS.saturating_sub(self.batch.records.len());
        let served = self.keeper.serve(room, || Self::fresh_id(moment).ok(), moment);
        served.into_iter().for_each(|served| self.add(served, moment));
    }

    /// What comes by itself: seats that linger no longer, patience that is over, news for those who wait.
    pub(super) fn look_after_waiters(&mut self, moment: Moment) {
        if self.keeper.queues().is_empty() {
            return;
        }
        self.keeper.all_due();
        let over = self.keeper.lose_patience(moment);
        over.into_iter().for_each(|served| self.add(served, moment));
        if self.is_full() && self.lazy.is_empty() {
            // Nothing else would find out that there is room again.
            self.serve_now(moment);
        }
        self.commit(moment);
        self.keeper.tell_all();
    }

    fn add(&mut self, served: Served, moment: Moment) {
        let session = served.session();
        let Served { waiter, number, answer, unwritten } = served;
        if let Ok(answer) = &answer {
            self.note_answer(&waiter.ask, answer, unwritten.is_some(), moment);
        }
        if let Some((record, undo)) = unwritten {
            self.batch.records.push(record);
            self.batch.undo.push(undo);
        }
        let answer = answer.map_err(ask_problem);
        match session {
            Some(session) => self.batch.served.push(Turned { answer, waiter, number, session }),
            None => self.batch.answers.push((answer, waiter.reply)),
        }
    }

    /// Puts those back into their places whose seats could not be written down; gives the others.
    pub(super) fn keep_in_place(&mut self, served: Vec<Turned>) -> Vec<Turned> {
        let mut others = Vec::new();
        for turned in served {
            match (turned.number, &turned.answer) {
                (Some(number), Err(_)) => self.keeper.return_to_queue(number, turned.waiter),
                _ => others.push(turned),
            }
        }
        others
    }

    /// Answers those whose turn it was, once the batch is durable or taken back.
    pub(super) fn answer_served(&mut self, served: Vec<Turned>, moment: Moment) {
        for Turned { answer, waiter, session, .. } in served {
            self.metrics.answered(&answer);
            if waiter.reply.send(answer).is_err() {
                // He died, or lost his connection, between his turn and the answer.
                self.keeper.untold(session, moment);
            }
        }
    }
}

/// Why a wish has no answer by licence, as a sentence.
pub(super) fn ask_problem(error: AskError) -> Problem {
    match error {
        AskError::RequestIdReused => Problem::new(
            ErrorCode::RequestIdReused,
            "this request id came before with another wish",
            "make a fresh request id for each wish",
        ),
        AskError::Unconfirmed => super::blocks::unconfirmed(),
        AskError::Ended => Problem::new(
            ErrorCode::WrongState,
            "the session of this request id has ended",
            "make a fresh request id to take a seat again",
        ),
    }
}
