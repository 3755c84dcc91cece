//! Who waits for a seat, and whose turn it is.
//!
//! Strictly first come, first served among those who wait for seats of the same pool: whoever came later is not served
//! while somebody before him waits for the same seats, nor is anybody who does not wait at all. A wish for many seats is
//! not passed by wishes for one. What an access rule keeps for somebody is not what others wait for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use lictor_licensing::error::Problem;
use lictor_licensing::id::{FirmCode, LicenseId, SessionId};
use lictor_licensing::refusal::{Reason, Refusal, RefusalLine};
use tokio::sync::{oneshot, watch};

use super::ask::{Answer, Ask, AskError, Moment};
use super::deciding::{Regard, overloaded, request};
use super::keeper::{Keeper, Unwritten};
use super::queue::{HoldTime, Place, Queue, Queues, Turn, Waits};
use super::session::{RequestId, Session};

/// Longest time that anybody may wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Where an answer goes.
pub type Reply = oneshot::Sender<Result<Answer, Problem>>;

/// Who waits, and what is known about waiting.
#[derive(Debug, Default)]
pub struct Waiting {
    pub(super) queues: Queues<Waiter>,
    /// Queues in which somebody's turn may have come.
    due: BTreeSet<Queue>,
    /// How long seats were held lately.
    hold_times: HashMap<Queue, HoldTime>,
}

/// How a waiter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// 1 is served next.
    pub position: usize,
    /// How many wait for the same product.
    pub waiting: usize,
    /// How long it may take.
    pub estimate: Option<Duration>,
}

/// Somebody who wants to wait if he has to.
#[derive(Debug)]
pub struct Waiter {
    /// What for.
    pub ask: Ask,
    /// When he gives up, since boot.
    pub until: Duration,
    /// Which of his visits this is: the end of an older one does not take him out.
    pub visit: u64,
    /// Where he is told how he stands.
    pub standing: watch::Sender<Option<Standing>>,
    /// Where the answer goes.
    pub reply: Reply,
    /// The pools whose seats he waits for.
    pub places: Vec<Place>,
}

impl Waits for Waiter {
    fn request_id(&self) -> RequestId {
        self.ask.request_id
    }

    fn peer(&self) -> Option<IpAddr> {
        self.ask.address
    }

    fn until(&self) -> Duration {
        self.until
    }

    fn places(&self) -> &[Place] {
        &self.places
    }
}

/// What somebody is answered who wanted to wait.
#[derive(Debug)]
pub struct Served {
    /// Who he is.
    pub waiter: Waiter,
    /// Where he stood in his queue; none when he did not have to wait.
    pub number: Option<u64>,
    /// The answer.
    pub answer: Result<Answer, AskError>,
    /// What must be durable before.
    pub unwritten: Option<Unwritten>,
}

impl Served {
    /// The new session, when the answer is one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match (&self.answer, &self.unwritten) {
            (Ok(Answer::Granted(given)), Some(_)) => Some(given.session.id),
            _ => None,
        }
    }
}

impl Keeper {
    /// Answers a wish at once, or puts it at the end of its queue; the answer comes out of [`Keeper::serve`] then.
    pub fn wait(&mut self, mut waiter: Waiter, id: SessionId, moment: Moment) -> Option<Served> {
        let answered = |waiter: Waiter, answer, unwritten| Some(Served { waiter, number: None, answer, unwritten });
        let (queue, request_id) = (queue_of(&waiter.ask), waiter.ask.request_id);
        if let Some(known) = self.queues().get(&request_id) {
            if known.ask.asked != waiter.ask.asked || known.ask.client_key != waiter.ask.client_key {
                return answered(waiter, Err(AskError::RequestIdReused), None);
            }
            waiter.places.clone_from(&known.places);
            // He has come again, perhaps over another connection: his place is kept, the older stream ends.
            if let Err(waiter) = self.waiting.queues.replace(waiter) {
                let refusal = overloaded(waiter.ask.product_code);
                return answered(waiter, Ok(Answer::Refused(refusal)), None);
            }
            self.tell(&request_id);
            return None;
        }
        let (answer, unwritten) = match self.acquire(&waiter.ask, id, moment) {
            Ok(answer) => answer,
            Err(error) => return answered(waiter, Err(error), None),
        };
        if matches!(answer, Answer::Granted(_)) {
            return answered(waiter, Ok(answer), unwritten);
        }
        waiter.places = self.worth_waiting(&waiter.ask, Regard::Everybody(&waiter.ask), moment);
        if waiter.places.is_empty() || waiter.until <= moment.boottime {
            return answered(waiter, Ok(answer), None);
        }
        if let Err(waiter) = self.waiting.queues.join(queue, waiter) {
            let refusal = overloaded(waiter.ask.product_code);
            return answered(waiter, Ok(Answer::Refused(refusal)), None);
        }
        self.tell(&request_id);
        None
    }

    /// Puts somebody back where he stood when his turn came, because his seat could not be written down.
    pub fn return_to_queue(&mut self, number: u64, waiter: Waiter) {
        let (queue, request) = (queue_of(&waiter.ask), waiter.ask.request_id);
        self.waiting.queues.put_back(queue, number, waiter);
        self.mark_due(queue);
        self.tell(&request);
    }

    /// A stream of a waiter is gone.
    pub fn leave(&mut self, request: &RequestId, visit: u64) -> Option<Ask> {
        if self.queues().get(request)?.visit != visit {
            return None;
        }
        let waiter = self.waiting.queues.leave(request)?;
        self.mark_due(queue_of(&waiter.ask));
        Some(waiter.ask)
    }

    /// Gives those their seats whose turn it is, at most `most` of them, and answers those whom waiting does not help any
    /// more. `fresh` makes ids of sessions.
    pub fn serve(&mut self, most: usize, mut fresh: impl FnMut() -> Option<SessionId>, moment: Moment) -> Vec<Served> {
        if !self.state.blocks.is_empty() {
            self.pause_blocks(moment);
        }
        let due = std::mem::take(&mut self.waiting.due);
        let mut all = Vec::new();
        if due.is_empty() {
            return all;
        }
        let mut queues = std::mem::take(&mut self.waiting.queues);
        // Those who wait for another product may wait for the same seats.
        let mut claimed: HashSet<Place> = HashSet::new();
        let mut granted = 0;
        for queue in queues.queues().into_iter().filter(|queue| due.contains(queue)) {
            self.advance(queue.0, queue.1, moment);
            let mut answers = Vec::new();
            let served = queues.serve(&queue, |waiter| {
                if granted >= most {
                    self.mark_due(queue);
                    return Turn::HoldsUp;
                }
                let Some(id) = fresh() else { return Turn::HoldsUp };
                match self.take(&waiter.ask, Regard::Those(&waiter.ask, &claimed), id, moment) {
                    Ok((given, unwritten)) => {
                        granted += 1;
                        answers.push((Answer::Granted(given), Some(unwritten)));
                        return Turn::Leaves;
                    }
                    Err(refusal) => {
                        let places = self.worth_waiting(&waiter.ask, Regard::Those(&waiter.ask, &claimed), moment);
                        if places.is_empty() {
                            answers.push((Answer::Refused(refusal), None));
                            return Turn::Leaves;
                        }
                        waiter.places = places;
                    }
                }
                claimed.extend(waiter.places.iter().copied());
                if self.all_claimed(&waiter.ask, &claimed) { Turn::HoldsUp } else { Turn::Stays }
            });
            all.extend(served.into_iter().zip(answers).map(|((number, waiter), (answer, unwritten))| Served {
                waiter,
                number: Some(number),
                answer: Ok(answer),
                unwritten,
            }));
        }
        self.waiting.queues = queues;
        all
    }

    /// Refuses those who do not want to wait any longer.
    pub fn lose_patience(&mut self, moment: Moment) -> Vec<Served> {
        let over = self.queues().over(moment.boottime);
        let waiters: Vec<Waiter> = over.iter().filter_map(|request| self.waiting.queues.leave(request)).collect();
        let refuse = |waiter: Waiter| {
            self.mark_due(queue_of(&waiter.ask));
            let refusal = self.explain(&waiter.ask, moment).err();
            let refusal = refusal.unwrap_or_else(|| awaited(&waiter.ask));
            Served { waiter, number: None, answer: Ok(Answer::Refused(refusal)), unwritten: None }
        };
        waiters.into_iter().map(refuse).collect()
    }

    /// Tells everybody who waits how he stands, when that has changed.
    pub fn tell_all(&self) {
        for queue in self.queues().queues() {
            let waiting = self.queues().waiting(&queue);
            for (position, waiter) in self.queues().standing(&queue) {
                self.tell_one(waiter, position, waiting);
            }
        }
    }

    fn tell(&self, request: &RequestId) {
        if let (Some(waiter), Some(position)) = (self.queues().get(request), self.queues().position(request)) {
            self.tell_one(waiter, position, self.queues().waiting(&queue_of(&waiter.ask)));
        }
    }

    fn tell_one(&self, waiter: &Waiter, position: usize, waiting: usize) {
        let estimate = self.estimate(queue_of(&waiter.ask), position);
        waiter.standing.send_if_modified(|told| {
            let changed = told.is_none_or(|told| told.position != position);
            if changed {
                *told = Some(Standing { position, waiting, estimate });
            }
            changed
        });
    }

    /// How long somebody at a place of a queue may have to wait.
    #[must_use]
    pub fn estimate(&self, queue: Queue, position: usize) -> Option<Duration> {
        let (_, total) = self.seats_of(queue.0, queue.1);
        self.waiting.hold_times.get(&queue)?.wait_at(position, total)
    }

    /// Where a wish would stand if it waited; none when waiting would not help.
    #[must_use]
    pub fn would_stand(&self, ask: &Ask, moment: Moment) -> Option<Standing> {
        if self.worth_waiting(ask, Regard::Everybody(ask), moment).is_empty() {
            return None;
        }
        let waiting = self.queues().waiting(&queue_of(ask));
        Some(Standing { position: waiting + 1, waiting, estimate: self.estimate(queue_of(ask), waiting + 1) })
    }

    /// The pools whose seats a wish may get by waiting: those that have enough seats, of which too few are free.
    fn worth_waiting(&self, ask: &Ask, regard: Regard<'_>, moment: Moment) -> Vec<Place> {
        let now = self.state.effective(moment);
        let wish = request(ask, SessionId::from_u128(u128::from_be_bytes(ask.request_id)));
        let founds = self.state.places(ask.firm_code, ask.product_code);
        let promising = founds.iter().filter_map(|found| {
            let pool = self.state.license(ask.firm_code, found.0)?.entries.get(found.1)?.places().pool;
            let refusal = self.decide_among(&wish, &[*found], regard, now).err()?;
            let waits = match refusal.nearest().reason {
                Reason::NoMoreSeats { needed, total, .. } => needed <= total,
                Reason::SeatsAwaited => true,
                Reason::SeatsReserved { needed, .. } => needed <= self.never_kept(ask),
                _ => false,
            };
            waits.then_some((found.0, pool))
        });
        let mut places: Vec<Place> = promising.collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Whether nobody behind can find a seat that is not waited for.
    fn all_claimed(&self, ask: &Ask, claimed: &HashSet<Place>) -> bool {
        // Seats that are kept for somebody are not claimed by those before him.
        if self.rules().reserve(ask.wish()) {
            return false;
        }
        self.state.places(ask.firm_code, ask.product_code).iter().all(|(id, place)| {
            let license = self.state.license(ask.firm_code, *id);
            let entry = license.and_then(|license| license.entries.get(*place));
            entry.is_none_or(|entry| claimed.contains(&(*id, entry.places().pool)))
        })
    }

    /// A session has ended: its seats may be another's turn.
    pub(super) fn seat_given_back(&mut self, session: &Session, moment: Moment) {
        if let Some(since) = self.since(session.id) {
            let held = moment.boottime.saturating_sub(since);
            self.waiting.hold_times.entry((session.firm_code, session.product_code)).or_default().note(held);
        }
        self.seats_may_be_free(session.firm_code, session.license);
    }

    /// Those who wait for seats of a licence may have their turn.
    pub(super) fn seats_may_be_free(&mut self, firm: FirmCode, license: LicenseId) {
        if self.waiting.queues.is_empty() {
            return;
        }
        let license = self.state.license(firm, license);
        let entries = license.map_or(&[][..], |license| &license.entries);
        self.waiting.due.extend(entries.iter().map(|entry| (firm, entry.product_code())));
    }

    /// Who waits.
    #[must_use]
    pub const fn queues(&self) -> &Queues<Waiter> {
        &self.waiting.queues
    }

    fn mark_due(&mut self, queue: Queue) {
        self.waiting.due.insert(queue);
    }

    /// Looks at every queue when they are served next: seats may have come free by themselves.
    pub fn all_due(&mut self) {
        self.waiting.due.extend(self.waiting.queues.queues());
    }

    /// Whether somebody's turn may have come.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.waiting.due.is_empty()
    }

    /// Nobody has heard of a grant: its seat is reserved for as long as after a lost stream, not for as long as was
    /// promised to nobody.
    pub fn untold(&mut self, session: SessionId, moment: Moment) {
        self.reserve_for_reconnect(session, moment);
    }
}

fn queue_of(ask: &Ask) -> Queue {
    (ask.firm_code, ask.product_code)
}

fn awaited(ask: &Ask) -> Refusal {
    Refusal::one(RefusalLine {
        serial: None,
        product_code: ask.product_code,
        reason: Reason::SeatsAwaited,
        holders: Vec::new(),
        free_at: None,
        instead: Some("wait longer".to_owned()),
    })
}
