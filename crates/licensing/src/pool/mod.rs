//! Who holds which seats of one pool: pure accounting, without clocks and without a scan of all holders.
//!
//! A client's *own* seats are the largest number that one of its accesses in mode user limit or exclusive takes: using a
//! module beside the product item of the same pool takes no second seat. A station's *shared* seats are the largest
//! number that one of its clients needs by station share beyond its own. Both stay taken while they linger. The sum never
//! rises by a release, and an access that would lift it above the quantity is refused.

mod item_seats;
mod tally;
mod types;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use lictor_clock::Timestamp;

use crate::access::{AccessId, AccessMode, ClientInstance, Seats, Station};
use crate::item::Part;
use tally::{Lingering, Tally};

pub use item_seats::ItemSeats;
pub use types::{Access, Granted, Holder, PoolRefusal, PoolReport};

/// The seats of one quantity, or of one uncounted entry.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    total: Option<u32>,
    used: u64,
    now: Timestamp,
    accesses: HashMap<AccessId, Held>,
    clients: HashMap<ClientInstance, Client>,
    stations: HashMap<Station, StationSeats>,
    /// For each holder with lingering seats the next time at which they become fewer.
    linger_ends: BTreeSet<(Timestamp, LingerOf)>,
    /// Announced ends of accesses, for telling when a seat comes free.
    ends: BTreeSet<(Timestamp, AccessId)>,
    by_age: BTreeSet<(Timestamp, AccessId)>,
    modes: [u32; 4],
}

#[derive(Clone, Debug)]
struct Held {
    access: Access,
    since: Timestamp,
    ends: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LingerOf {
    Client(ClientInstance),
    Station(Station),
}

#[derive(Clone, Debug)]
struct Client {
    station: Station,
    own: Tally,
    share: Tally,
    parts: BTreeMap<Part, u32>,
    linger: Lingering,
    /// Its entry in `linger_ends`.
    linger_end: Option<Timestamp>,
    /// Own seats as counted in the sum.
    own_seats: u32,
    /// What it adds to its station's deficits.
    deficit: u32,
}

impl Client {
    fn new(station: Station) -> Self {
        Self {
            station,
            own: Tally::default(),
            share: Tally::default(),
            parts: BTreeMap::new(),
            linger: Lingering::default(),
            linger_end: None,
            own_seats: 0,
            deficit: 0,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct StationSeats {
    clients: u32,
    deficits: Tally,
    linger: Lingering,
    /// Its entry in `linger_ends`.
    linger_end: Option<Timestamp>,
    /// Shared seats as counted in the sum.
    seats: u32,
    parts: BTreeMap<Part, PartUse>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PartUse {
    accesses: u32,
    exclusive: u32,
}

impl Pool {
    /// An empty pool of `total` seats; none for an entry that is not counted.
    #[must_use]
    pub fn new(total: Option<u32>) -> Self {
        Self { total, ..Self::default() }
    }

    /// Sets another number of seats. Holders keep theirs even when there are now too few; new ones wait.
    pub fn set_total(&mut self, total: Option<u32>) {
        self.total = total;
    }

    /// Lets lingering seats go whose time has come. Call it before [`Self::plan`]; without it a pool refuses too much,
    /// never too little. Costs nothing when nothing is due. Time that goes back is ignored.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while self.linger_ends.first().is_some_and(|(end, _)| *end <= self.now) {
            match self.linger_ends.pop_first() {
                Some((_, LingerOf::Client(client))) => {
                    if let Some(record) = self.clients.get_mut(&client) {
                        record.linger.expire(self.now);
                        record.linger_end = None;
                        self.recount(client);
                    }
                }
                Some((_, LingerOf::Station(station))) => {
                    if let Some(record) = self.stations.get_mut(&station) {
                        record.linger.expire(self.now);
                        record.linger_end = None;
                        self.recount_station(&station);
                    }
                }
                None => break,
            }
        }
    }

    /// Says what an access would bring, and changes nothing.
    ///
    /// # Errors
    /// [`PoolRefusal`] when the access would be refused.
    pub fn plan(&self, id: AccessId, access: &Access) -> Result<Granted, PoolRefusal> {
        if let Some(held) = self.accesses.get(&id) {
            let same = Access { linger: held.access.linger, ..access.clone() } == held.access;
            return if same { Ok(Granted { new_seats: 0, repeated: true }) } else { Err(PoolRefusal::Reused) };
        }
        let client = self.clients.get(&access.client);
        if client.is_some_and(|client| client.station != access.station) {
            return Err(PoolRefusal::OtherStation);
        }
        if self.is_excluded(access, client) {
            return Err(PoolRefusal::Exclusive);
        }
        let new_seats = self.needed(access, client);
        match self.free() {
            Some(free) if new_seats > free => {
                Err(PoolRefusal::Full { needed: new_seats, free, total: self.total.unwrap_or(0) })
            }
            _ => Ok(Granted { new_seats, repeated: false }),
        }
    }

    /// Takes seats. The same access again is granted again and takes nothing.
    ///
    /// # Errors
    /// [`PoolRefusal`]; nothing is changed then.
    pub fn acquire(&mut self, id: AccessId, access: Access, now: Timestamp) -> Result<Granted, PoolRefusal> {
        self.advance(now);
        let granted = self.plan(id, &access)?;
        if !granted.repeated {
            self.insert(id, access, now);
        }
        Ok(granted)
    }

    /// Puts back an access that was granted before a restart or an update, even if there are fewer seats now.
    pub fn restore(&mut self, id: AccessId, access: Access, since: Timestamp) {
        if !self.accesses.contains_key(&id) {
            self.insert(id, access, since);
        }
    }

    /// Gives an access that is held another number of seats, whatever is free, and lets none linger. False when it is not
    /// held.
    pub fn resize(&mut self, id: AccessId, seats: Seats) -> bool {
        let Some(Held { access, since, ends }) = self.accesses.remove(&id) else {
            return false;
        };
        self.by_age.remove(&(since, id));
        self.modes[access.mode as usize] -= 1;
        self.remove(&Access { linger: Duration::ZERO, ..access.clone() });
        self.insert(id, Access { seats, ..access }, since);
        if let (Some(_), Some(held)) = (ends, self.accesses.get_mut(&id)) {
            held.ends = ends;
        }
        true
    }

    /// Gives an access back; its seats may linger. False when it was not held.
    pub fn release(&mut self, id: AccessId, now: Timestamp) -> bool {
        self.advance(now);
        let Some(held) = self.accesses.remove(&id) else {
            return false;
        };
        self.by_age.remove(&(held.since, id));
        if let Some(end) = held.ends {
            self.ends.remove(&(end, id));
        }
        self.modes[held.access.mode as usize] -= 1;
        self.remove(&held.access);
        true
    }

    /// Announces when an access will end at the latest (a borrow, a session whose stream broke), for [`Self::free_at`].
    /// The pool itself ends nothing. None takes the announcement back.
    pub fn announce_end(&mut self, id: AccessId, end: Option<Timestamp>) {
        if let Some(held) = self.accesses.get_mut(&id) {
            if let Some(old) = std::mem::replace(&mut held.ends, end) {
                self.ends.remove(&(old, id));
            }
            if let Some(end) = end {
                self.ends.insert((end, id));
            }
        }
    }

    /// Seats that are free; none when the pool is not counted.
    #[must_use]
    pub fn free(&self) -> Option<u32> {
        self.total.map(|total| u32::try_from(u64::from(total).saturating_sub(self.used)).unwrap_or(0))
    }

    /// The earliest known time at which a seat may come free: an end of lingering or an announced end. Clients that hold
    /// on may leave earlier at any time.
    #[must_use]
    pub fn free_at(&self) -> Option<Timestamp> {
        let linger = self.linger_ends.first().map(|(end, _)| *end);
        let end = self.ends.first().map(|(end, _)| *end);
        linger.into_iter().chain(end).min()
    }

    /// Up to `limit` holders, the longest-holding first.
    #[must_use]
    pub fn holders(&self, limit: usize) -> Vec<Holder> {
        self.by_age.iter().take(limit).filter_map(|(_, id)| self.accesses.get(id)).map(Held::holder).collect()
    }

    /// Up to `limit` holders of one part on one station, looked for among the thousand longest-holding.
    #[must_use]
    pub fn holders_on(&self, station: &Station, part: Part, limit: usize) -> Vec<Holder> {
        let held = self.by_age.iter().take(1_000).filter_map(|(_, id)| self.accesses.get(id));
        held.filter(|held| held.access.station == *station && held.access.part == part)
            .take(limit)
            .map(Held::holder)
            .collect()
    }

    /// The access of this id, if it is held.
    #[must_use]
    pub fn access(&self, id: AccessId) -> Option<&Access> {
        self.accesses.get(&id).map(|held| &held.access)
    }

    /// All accesses with the time since when they are held, in no order: for snapshots and updates.
    pub fn accesses(&self) -> impl Iterator<Item = (AccessId, &Access, Timestamp)> {
        self.accesses.iter().map(|(id, held)| (*id, &held.access, held.since))
    }

    /// Whether a client holds a part now, in whatever mode.
    #[must_use]
    pub fn holds(&self, client: ClientInstance, part: Part) -> bool {
        self.clients.get(&client).is_some_and(|client| client.parts.contains_key(&part))
    }

    /// The numbers of the pool.
    #[must_use]
    pub fn report(&self) -> PoolReport {
        let count = |mode: AccessMode| self.modes[mode as usize];
        PoolReport {
            total: self.total,
            used: self.used,
            free: self.free(),
            user_limit: count(AccessMode::UserLimit),
            station_share: count(AccessMode::StationShare),
            exclusive: count(AccessMode::Exclusive),
            no_user_limit: count(AccessMode::NoUserLimit),
        }
    }

    /// Exclusive means alone on the station for this entry: against others who are there, and against those who come.
    fn is_excluded(&self, access: &Access, client: Option<&Client>) -> bool {
        let Some(on_station) = self.stations.get(&access.station).and_then(|station| station.parts.get(&access.part))
        else {
            return false;
        };
        let mine = client.and_then(|client| client.parts.get(&access.part)).copied().unwrap_or(0);
        let by_others = on_station.accesses > mine;
        // When others are there and somebody is exclusive, it is one of the others: two never pass this check.
        by_others && (access.mode == AccessMode::Exclusive || on_station.exclusive > 0)
    }

    fn needed(&self, access: &Access, client: Option<&Client>) -> u32 {
        let wanted = access.seats.get();
        let (own_seats, deficit) = client.map_or((0, 0), |client| (client.own_seats, client.deficit));
        let share = client.map_or(0, |client| client.share.max());
        let (own_after, share_after) = match access.mode {
            AccessMode::UserLimit | AccessMode::Exclusive => (own_seats.max(wanted), share),
            AccessMode::StationShare => (own_seats, share.max(wanted)),
            AccessMode::NoUserLimit => (own_seats, share),
        };
        let deficit_after = share_after.saturating_sub(own_after);
        let (before, after) = match self.stations.get(&access.station) {
            Some(station) => {
                let others = station.deficits.max_without(deficit);
                (station.seats, others.max(deficit_after).max(station.linger.seats()))
            }
            None => (0, deficit_after),
        };
        // The sum cannot fall here: a deficit falls by no more than the own seats rise.
        (own_after + after).saturating_sub(own_seats + before)
    }

    fn insert(&mut self, id: AccessId, access: Access, since: Timestamp) {
        let (client, part, mode) = (access.client, access.part, access.mode);
        let seats = access.seats.get();
        let station = self.stations.entry(access.station.clone()).or_default();
        let usage = station.parts.entry(part).or_default();
        usage.accesses += 1;
        usage.exclusive += u32::from(mode == AccessMode::Exclusive);
        let record = self.clients.entry(client).or_insert_with(|| {
            station.clients += 1;
            Client::new(access.station.clone())
        });
        *record.parts.entry(part).or_default() += 1;
        match mode {
            AccessMode::UserLimit | AccessMode::Exclusive => record.own.add(seats),
            AccessMode::StationShare => record.share.add(seats),
            AccessMode::NoUserLimit => {}
        }
        self.modes[mode as usize] += 1;
        self.by_age.insert((since, id));
        self.accesses.insert(id, Held { access, since, ends: None });
        self.recount(client);
    }

    fn remove(&mut self, access: &Access) {
        let Some(client) = self.clients.get_mut(&access.client) else {
            return;
        };
        let seats = access.seats.get();
        let until = self.now.saturating_add(access.linger);
        let lingers = !access.linger.is_zero() && self.total.is_some();
        let own_before = client.own.max();
        match access.mode {
            AccessMode::UserLimit | AccessMode::Exclusive => client.own.remove(seats),
            AccessMode::StationShare => client.share.remove(seats),
            AccessMode::NoUserLimit => {}
        }
        if lingers && client.own.max() < own_before {
            client.linger.keep(own_before, until);
        }
        count_down(&mut client.parts, access.part);
        let Some(station) = self.stations.get_mut(&access.station) else {
            return;
        };
        if let Some(usage) = station.parts.get_mut(&access.part) {
            usage.accesses -= 1;
            usage.exclusive -= u32::from(access.mode == AccessMode::Exclusive);
            if usage.accesses == 0 {
                station.parts.remove(&access.part);
            }
        }
        let shared_before = station.deficits.max();
        self.recount(access.client);
        if lingers && access.mode == AccessMode::StationShare {
            self.keep_shared(&access.station, shared_before, until);
        }
    }

    /// Keeps the seats of a station taken that its last sharer has just left.
    fn keep_shared(&mut self, name: &Station, before: u32, until: Timestamp) {
        let now = self.stations.get(name).map_or(0, |station| station.deficits.max());
        if now < before {
            self.stations.entry(name.clone()).or_default().linger.keep(before, until);
            self.recount_station(name);
        }
    }

    /// Brings the sums up to date after a change of one client, and forgets the client when nothing is left of it.
    fn recount(&mut self, id: ClientInstance) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let own_seats = client.own.max().max(client.linger.seats());
        self.used = self.used - u64::from(client.own_seats) + u64::from(own_seats);
        client.own_seats = own_seats;
        let deficit = client.share.max().saturating_sub(own_seats);
        let before = std::mem::replace(&mut client.deficit, deficit);
        let gone = client.parts.is_empty() && client.linger.is_empty();
        let next_end = client.linger.next_end();
        let old_end = std::mem::replace(&mut client.linger_end, next_end);
        let name = client.station.clone();
        if gone {
            self.clients.remove(&id);
        }
        self.reschedule(old_end, next_end, LingerOf::Client(id));
        if let Some(station) = self.stations.get_mut(&name) {
            if before != deficit {
                if before > 0 {
                    station.deficits.remove(before);
                }
                if deficit > 0 {
                    station.deficits.add(deficit);
                }
            }
            station.clients -= u32::from(gone);
        }
        self.recount_station(&name);
    }

    fn recount_station(&mut self, name: &Station) {
        let Some(station) = self.stations.get_mut(name) else {
            return;
        };
        let seats = station.deficits.max().max(station.linger.seats());
        self.used = self.used - u64::from(station.seats) + u64::from(seats);
        station.seats = seats;
        let next_end = station.linger.next_end();
        let old_end = std::mem::replace(&mut station.linger_end, next_end);
        if station.clients == 0 && station.deficits.is_empty() && station.linger.is_empty() {
            self.stations.remove(name);
        }
        if old_end != next_end {
            self.reschedule(old_end, next_end, LingerOf::Station(name.clone()));
        }
    }

    /// Moves a holder's entry among the ends of lingering: one entry each, however often seats come and go.
    fn reschedule(&mut self, old: Option<Timestamp>, new: Option<Timestamp>, holder: LingerOf) {
        if old == new {
            return;
        }
        if let Some(end) = old {
            self.linger_ends.remove(&(end, holder.clone()));
        }
        if let Some(end) = new {
            self.linger_ends.insert((end, holder));
        }
    }
}

impl Held {
    fn holder(&self) -> Holder {
        Holder {
            station: self.access.station.clone(),
            mode: self.access.mode,
            seats: self.access.seats.get(),
            since: self.since,
        }
    }
}

fn count_down(parts: &mut BTreeMap<Part, u32>, part: Part) {
    if let Some(count) = parts.get_mut(&part) {
        *count -= 1;
        if *count == 0 {
            parts.remove(&part);
        }
    }
}
