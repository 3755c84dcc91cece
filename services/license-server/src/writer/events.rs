//! Where events go: into a ring in memory, to those who watch, and to the log. Nobody who reads can slow anybody down: a
//! watcher or a disk that is too slow misses events, and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use super::Writer;
use crate::domain::ask::{Answer, Ask, Moment};
use crate::domain::event::{Event, EventFilter, EventType};
use crate::domain::rules::Rules;
use crate::store::event_log::Writing;

/// Events that are kept in memory.
pub const MAX_EVENTS: usize = 10_000;
/// Events that a watcher may be behind.
const WATCHER_EVENTS: usize = 1_024;
/// Those who may watch at once.
pub const MAX_WATCHERS: usize = 64;

/// The events of a server. Clones are the same.
#[derive(Clone, Debug)]
pub struct Events(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    ring: VecDeque<Arc<Event>>,
    sequence: u64,
    /// None once the server stops.
    watchers: Option<broadcast::Sender<Arc<Event>>>,
    log: Option<Writing>,
    /// Events that the log could not take.
    missed: u64,
}

impl Default for Events {
    fn default() -> Self {
        let (watchers, _) = broadcast::channel(WATCHER_EVENTS);
        let ring = VecDeque::new();
        Self(Arc::new(Mutex::new(Kept { ring, sequence: 0, watchers: Some(watchers), log: None, missed: 0 })))
    }
}

impl Events {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends everything from now on to a log, too, and begins with what it has from before.
    pub fn log_to(&self, log: Writing, before: Vec<Event>) {
        let mut kept = self.lock();
        let newer = std::mem::take(&mut kept.ring);
        kept.ring = before.into_iter().map(Arc::new).chain(newer).collect();
        kept.trim();
        kept.log = Some(log);
    }

    /// Something has happened.
    pub fn tell(&self, event: Event) {
        let mut kept = self.lock();
        kept.sequence += 1;
        let event = Arc::new(Event { sequence: kept.sequence, ..event });
        kept.write(&event);
        // Nobody watching is no fault.
        let _ = kept.watchers.as_ref().map(|watchers| watchers.send(Arc::clone(&event)));
        kept.ring.push_back(event);
        kept.trim();
    }

    /// The newest events that are wanted, the oldest of them first.
    #[must_use]
    pub fn newest(&self, limit: usize, filter: &EventFilter) -> Vec<Arc<Event>> {
        let kept = self.lock();
        let wanted = kept.ring.iter().rev().filter(|event| filter.wants(event));
        let mut events: Vec<_> = wanted.take(limit).cloned().collect();
        events.reverse();
        events
    }

    /// Hears what happens from now on; none when too many watch already, or the server stops.
    #[must_use]
    pub fn watch(&self) -> Option<broadcast::Receiver<Arc<Event>>> {
        let kept = self.lock();
        let watchers = kept.watchers.as_ref()?;
        (watchers.receiver_count() < MAX_WATCHERS).then(|| watchers.subscribe())
    }

    /// Ends all watching, and the log once it has written what it has.
    pub fn close(&self) {
        let mut kept = self.lock();
        kept.watchers = None;
        kept.log = None;
    }
}

impl Kept {
    fn trim(&mut self) {
        let over = self.ring.len().saturating_sub(MAX_EVENTS);
        self.ring.drain(..over);
    }

    fn write(&mut self, event: &Arc<Event>) {
        let Some(log) = &self.log else { return };
        if self.missed > 0 {
            let gap = Event { count: Some(self.missed), ..Event::new(EventType::EventsMissed, event.at) };
            if log.add(Arc::new(gap)) {
                self.missed = 0;
            }
        }
        if !log.add(Arc::clone(event)) {
            self.missed += 1;
        }
    }
}

impl Writer {
    /// Remembers what an answer has come to: a grant is told once it is durable, a refusal counts at once.
    pub(super) fn note_answer(&mut self, ask: &Ask, answer: &Answer, is_new: bool, moment: Moment) {
        let now = self.keeper.state.effective(moment);
        match answer {
            Answer::Granted(given) if is_new => {
                self.batch.events.push(Event::of_session(EventType::SeatGranted, &given.session, now));
            }
            Answer::Granted(_) => {}
            Answer::Refused(refusal) => {
                let known = self.keeper.state.firms.get(&ask.firm_code);
                if known.is_some_and(|firm| !firm.of_product(ask.product_code).is_empty()) {
                    self.keeper.state.usage.denied(ask.firm_code, ask.product_code, now);
                }
                self.events.tell(Event::denied(ask, refusal, now));
            }
        }
    }

    /// Tells of the sessions that have ended.
    pub(super) fn tell_over(&mut self, kind: EventType, moment: Moment) {
        let now = self.keeper.state.effective(moment);
        for session in self.keeper.take_over() {
            self.events.tell(Event::of_session(kind, &session, now));
        }
    }

    /// Tells what the batch has come to, once it is durable.
    pub(super) fn tell(&self, events: Vec<Event>) {
        events.into_iter().for_each(|event| self.events.tell(event));
    }

    /// Looks at what has changed in the container, and every so often at what runs out.
    pub(super) fn notice(&mut self, moment: Moment, thresholds: bool) {
        let now = self.keeper.state.effective(moment);
        let mut events = self.noticing.changes(&self.keeper.state, now);
        if thresholds || !events.is_empty() {
            events.extend(self.noticing.thresholds(&self.keeper.state, now));
        }
        self.tell(events);
    }

    /// Puts other access rules in force.
    pub fn put_rules(&mut self, rules: Rules, moment: Moment) {
        let count = u64::try_from(rules.count()).unwrap_or(u64::MAX);
        self.keeper.set_rules(rules);
        let now = self.keeper.state.effective(moment);
        self.events.tell(Event { count: Some(count), ..Event::new(EventType::RulesLoaded, now) });
    }

    /// Notes that other access rules were not taken.
    pub fn refused_rules(&mut self, reason: &str, moment: Moment) {
        let now = self.keeper.state.effective(moment);
        self.events.tell(Event { reason: reason.to_owned(), ..Event::new(EventType::RulesRefused, now) });
    }
}
