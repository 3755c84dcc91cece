//! For how long a seat is kept without contact, and when a session ends by its licence.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::access::AccessId;
use lictor_licensing::id::SessionId;
use tokio::sync::oneshot;

use super::{Keeper, and_a_tenth};
use crate::domain::ask::{Moment, StreamEnd};

impl Keeper {
    pub(in crate::domain) fn track(&mut self, id: SessionId, ends_at: Option<Timestamp>) {
        self.live.entry(id).or_default();
        if let Some(at) = ends_at {
            self.ends.insert((at, id));
        }
    }

    /// A session ends by its licence at another time than before.
    pub(in crate::domain) fn set_end(&mut self, id: SessionId, before: Option<Timestamp>, end: Option<Timestamp>) {
        if let Some(at) = before {
            self.ends.remove(&(at, id));
        }
        if let Some(at) = end {
            self.ends.insert((at, id));
        }
    }

    pub(super) fn untrack(&mut self, id: SessionId, ends_at: Option<Timestamp>) -> Option<oneshot::Sender<StreamEnd>> {
        self.clear_deadline(id);
        if let Some(at) = ends_at {
            self.ends.remove(&(at, id));
        }
        self.live.remove(&id)?.stream
    }

    /// The client may believe in its seat until it has to revalidate.
    pub(super) fn promise(&mut self, id: SessionId, moment: Moment) {
        self.promise_for(id, and_a_tenth(self.times.revalidate_within), moment);
    }

    pub(in crate::domain) fn promise_for(&mut self, id: SessionId, time: Duration, moment: Moment) {
        let Some(live) = self.live.get_mut(&id) else { return };
        live.promised = moment.boottime + time;
        // While a stream is open there is no deadline; the promise counts once it breaks.
        if live.stream.is_none() {
            self.reserve(id, time, moment);
        }
    }

    /// Keeps the seat for the session that long without any contact.
    pub(super) fn reserve(&mut self, id: SessionId, time: Duration, moment: Moment) {
        let deadline = moment.boottime + time;
        let Some(live) = self.live.get_mut(&id) else { return };
        if let Some(old) = live.deadline.replace(deadline) {
            self.deadlines.remove(&(old, id));
        }
        self.deadlines.insert((deadline, id));
        self.announce(id, Some(moment.now.saturating_add(time)));
    }

    /// Keeps the seat for as long as after a lost stream.
    pub(in crate::domain) fn reserve_for_reconnect(&mut self, id: SessionId, moment: Moment) {
        if !self.is_held(id) && !self.live.get(&id).is_some_and(|live| live.asked_again) {
            self.reserve(id, and_a_tenth(self.times.reconnect_grace), moment);
        }
    }

    pub(super) fn clear_deadline(&mut self, id: SessionId) {
        if let Some(old) = self.live.get_mut(&id).and_then(|live| live.deadline.take()) {
            self.deadlines.remove(&(old, id));
            self.announce(id, None);
        }
    }

    /// Lets refusals say when a reserved seat comes free.
    pub(super) fn announce(&mut self, id: SessionId, end: Option<Timestamp>) {
        let Some(session) = self.state.sessions.get(&id) else { return };
        let (firm, license) = (session.firm_code, session.license);
        let part = session.part;
        let Some(license) = self.state.license_mut(firm, license) else { return };
        let Some(pool) = license.entry(part).map(|entry| entry.places().pool) else { return };
        license.seats.pool_mut(pool).announce_end(AccessId(id.to_u128()), end);
    }
}
