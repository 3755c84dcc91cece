//! What an update means for the sessions that are there already.
//!
//! A session whose licence is gone is not over yet: its client is asked for anew, as if it wished for the same product
//! again. A subscription that was extended is a new licence in the place of the old one, and its user must not notice.
//! Only when no other licence of the firm has a seat for it, the session ends.

use lictor_clock::Timestamp;
use lictor_licensing::access::{AccessId, LocationOrder, Origin, Request};
use lictor_licensing::decide::{ends_at, grant};
use lictor_licensing::id::{FirmCode, SessionId};
use lictor_licensing::refusal::Reason;

use super::ask::Moment;
use super::deciding::Regard;
use super::keeper::Keeper;
use super::record::Record;
use super::session::{Session, client_instance};

impl Keeper {
    /// Brings the sessions of a firm in line with its licences: moves those whose licence is gone, ends those that no
    /// licence has a seat for, and takes over new dates of expiry. Gives the records, and how many sessions ended.
    pub fn settle(&mut self, firm: FirmCode, moment: Moment) -> (Vec<Record>, usize) {
        let mut orphans = self.state.orphans(firm);
        // The oldest first: the same sessions stay whenever seats are short, also after a crash in between.
        orphans.sort();
        let (mut records, mut ended) = (Vec::new(), 0);
        for id in orphans {
            if let Some(record) = self.move_session(id, moment) {
                records.push(record);
            } else if let Some(record) = self.end_for(id, moment, Reason::EntryNotFound) {
                records.push(record);
                ended += 1;
            }
        }
        self.refresh_ends(firm, moment);
        (records, ended)
    }

    /// Finds a seat of the same product in another licence.
    fn move_session(&mut self, id: SessionId, moment: Moment) -> Option<Record> {
        let now = self.state.effective(moment);
        let session = self.state.sessions.get(&id)?.clone();
        let request = wish_again(&session);
        let ((license_id, place), choice) = self.decide(&request, Regard::Nothing, now).ok()?;
        let license = self.state.firms.get_mut(&session.firm_code)?.licenses.get_mut(&license_id)?;
        let entry = license.entries.get(place)?;
        grant(&request, entry, &mut license.state, &mut license.seats, now).ok()?;
        let moved = Session {
            license: license_id,
            part: entry.part(),
            feature_map: entry.feature_map(),
            counted: entry.counts(session.mode),
            ends_at: choice.ends_at,
            linger: entry.options().linger_time.map(|linger| linger.get()).unwrap_or_default(),
            ..session.clone()
        };
        self.set_end(id, session.ends_at, moved.ends_at);
        self.state.remember(moved.clone());
        Some(Record::Moved { session: Box::new(moved), starts_usage: choice.starts_usage.map(|_| now) })
    }

    /// Sessions end when their licence does, whatever was known at the grant: a renewal moves the end.
    pub(crate) fn refresh_ends(&mut self, firm: FirmCode, moment: Moment) {
        let now = self.state.effective(moment);
        let Some(licenses) = self.state.firms.get(&firm).map(|firm| &firm.licenses) else { return };
        let of_firm = self.state.sessions.values().filter(|session| session.firm_code == firm);
        let changed: Vec<(SessionId, Option<Timestamp>, Option<Timestamp>)> = of_firm
            .filter_map(|session| {
                let license = licenses.get(&session.license)?;
                let end = ends_at(license.entry(session.part)?, &license.state, now);
                (end != session.ends_at).then_some((session.id, session.ends_at, end))
            })
            .collect();
        for (id, before, end) in changed {
            self.set_end(id, before, end);
            if let Some(session) = self.state.sessions.get_mut(&id) {
                session.ends_at = end;
            }
        }
    }
}

/// The wish that led to a session, as far as it is known: the features are those that it got.
fn wish_again(session: &Session) -> Request {
    Request {
        firm_code: session.firm_code,
        product_code: session.product_code,
        feature_map: session.feature_map,
        mode: session.mode,
        seats: session.seats,
        access: AccessId(session.id.to_u128()),
        client: client_instance(&session.client_key),
        station: session.station.clone(),
        // From where it comes was checked when it came.
        origin: Origin::Local,
        locations: LocationOrder::default(),
        release_date: None,
        require_maintenance: false,
        take_units: None,
        best_match: None,
    }
}
