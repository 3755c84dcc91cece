//! Pools against a reference that recounts everything from a list, for random sequences of operations.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use lictor_clock::{Timestamp, duration};
use lictor_licensing::access::{AccessId, ClientInstance, Seats};
use lictor_licensing::pool::{Access, Granted};
use lictor_licensing::{AccessMode, Part, Pool, PoolRefusal, Station};
use proptest::prelude::*;

use AccessMode::{Exclusive, NoUserLimit, StationShare, UserLimit};

#[derive(Clone, Debug)]
enum Op {
    Acquire { id: u128, access: Access },
    Release { id: u128 },
    Pass { seconds: u64 },
}

/// Who keeps lingering seats.
#[derive(Clone, PartialEq, Debug)]
enum Keeper {
    Client(ClientInstance),
    Station(Station),
}

/// The same rules without any running sum: slow and obvious.
#[derive(Default)]
struct Reference {
    total: Option<u32>,
    now: Timestamp,
    live: Vec<(u128, Access)>,
    kept: Vec<(Keeper, u32, Timestamp, Station)>,
}

impl Reference {
    fn keeps(&self, keeper: &Keeper) -> u32 {
        let kept = self.kept.iter().filter(|(who, _, until, _)| who == keeper && *until > self.now);
        kept.map(|(_, seats, _, _)| *seats).max().unwrap_or(0)
    }

    fn live_max(&self, client: ClientInstance, modes: &[AccessMode]) -> u32 {
        let mine = self.live.iter().filter(|(_, held)| held.client == client && modes.contains(&held.mode));
        mine.map(|(_, held)| held.seats.get()).max().unwrap_or(0)
    }

    fn own(&self, client: ClientInstance) -> u32 {
        self.live_max(client, &[UserLimit, Exclusive]).max(self.keeps(&Keeper::Client(client)))
    }

    /// What the neediest client of a station needs beyond its own seats.
    fn shared_need(&self, station: &Station) -> u32 {
        let here = self.live.iter().filter(|(_, held)| held.station == *station);
        let need =
            here.map(|(_, held)| self.live_max(held.client, &[StationShare]).saturating_sub(self.own(held.client)));
        need.max().unwrap_or(0)
    }

    fn used(&self) -> u32 {
        let mut clients: BTreeSet<_> = self.live.iter().map(|(_, held)| held.client).collect();
        let mut stations: BTreeSet<_> = self.live.iter().map(|(_, held)| held.station.clone()).collect();
        for (who, _, _, _) in &self.kept {
            match who {
                Keeper::Client(client) => drop(clients.insert(*client)),
                Keeper::Station(station) => drop(stations.insert(station.clone())),
            }
        }
        let own: u32 = clients.iter().map(|client| self.own(*client)).sum();
        let shared = stations.iter().map(|name| self.shared_need(name).max(self.keeps(&Keeper::Station(name.clone()))));
        own + shared.sum::<u32>()
    }

    fn station_of(&self, client: ClientInstance) -> Option<Station> {
        let live = self.live.iter().find(|(_, held)| held.client == client).map(|(_, held)| held.station.clone());
        live.or_else(|| {
            let kept = self.kept.iter().find(|(who, _, until, _)| *who == Keeper::Client(client) && *until > self.now);
            kept.map(|(_, _, _, station)| station.clone())
        })
    }

    fn acquire(&mut self, id: u128, access: &Access) -> Result<Granted, PoolRefusal> {
        if let Some((_, held)) = self.live.iter().find(|(live, _)| *live == id) {
            let same = (held.part, held.client, &held.station, held.mode, held.seats)
                == (access.part, access.client, &access.station, access.mode, access.seats);
            return if same { Ok(Granted { new_seats: 0, repeated: true }) } else { Err(PoolRefusal::Reused) };
        }
        if self.station_of(access.client).is_some_and(|station| station != access.station) {
            return Err(PoolRefusal::OtherStation);
        }
        let mut others =
            self.live.iter().map(|(_, held)| held).filter(|held| {
                held.station == access.station && held.part == access.part && held.client != access.client
            });
        if others.any(|other| access.mode == Exclusive || other.mode == Exclusive) {
            return Err(PoolRefusal::Exclusive);
        }
        let before = self.used();
        self.live.push((id, access.clone()));
        let needed = self.used() - before;
        match self.total {
            Some(total) if needed > total.saturating_sub(before) => {
                self.live.pop();
                Err(PoolRefusal::Full { needed, free: total.saturating_sub(before), total })
            }
            _ => Ok(Granted { new_seats: needed, repeated: false }),
        }
    }

    fn release(&mut self, id: u128) -> bool {
        let Some(place) = self.live.iter().position(|(live, _)| *live == id) else {
            return false;
        };
        let (_, access) = self.live[place].clone();
        let own_before = self.live_max(access.client, &[UserLimit, Exclusive]);
        let shared_before = self.shared_need(&access.station);
        self.live.remove(place);
        if access.linger.is_zero() || self.total.is_none() {
            return true;
        }
        let until = self.now.saturating_add(access.linger);
        if self.live_max(access.client, &[UserLimit, Exclusive]) < own_before {
            self.kept.push((Keeper::Client(access.client), own_before, until, access.station.clone()));
        }
        if access.mode == StationShare && self.shared_need(&access.station) < shared_before {
            self.kept.push((Keeper::Station(access.station.clone()), shared_before, until, access.station));
        }
        true
    }
}

fn station(number: u128) -> Station {
    Station::new(&format!("station-{number}")).expect("a valid name")
}

fn access(client: u128, on: u128, part: Part, mode: AccessMode, seats: u32, linger: u64) -> Access {
    Access {
        part,
        client: ClientInstance(client),
        station: station(on),
        mode,
        seats: Seats::new(seats).expect("in range"),
        linger: Duration::from_secs(linger),
    }
}

fn any_access() -> impl Strategy<Value = Access> {
    let part = prop_oneof![Just(Part::Parent), Just(Part::Module(0)), Just(Part::Module(1))];
    let mode = prop_oneof![3 => Just(UserLimit), 3 => Just(StationShare), 2 => Just(Exclusive), 1 => Just(NoUserLimit)];
    let linger = prop_oneof![2 => Just(0_u64), 1 => Just(5), 1 => Just(20)];
    // A client nearly always says the same station; now and then one lies.
    let place = prop_oneof![20 => Just(None), 1 => (0..3_u128).prop_map(Some)];
    (0..5_u128, place, part, mode, 1..=3_u32, linger).prop_map(|(client, place, part, mode, seats, linger)| {
        access(client, place.unwrap_or(client % 3), part, mode, seats, linger)
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0..12_u128, any_access()).prop_map(|(id, access)| Op::Acquire { id, access }),
        4 => (0..12_u128).prop_map(|id| Op::Release { id }),
        1 => (0..12_u64).prop_map(|seconds| Op::Pass { seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000 * world::scale(), ..ProptestConfig::default() })]

    #[test]
    fn pool_counts_like_the_reference_and_never_exceeds_its_seats(
        total in prop_oneof![8 => (1..=6_u32).prop_map(Some), 1 => Just(None)],
        ops in prop::collection::vec(any_op(), 1..60),
    ) {
        let mut pool = Pool::new(total);
        let mut reference = Reference { total, ..Reference::default() };
        for op in ops {
            let used_before = pool.report().used;
            match op {
                Op::Acquire { id, access } => {
                    let planned = pool.plan(AccessId(id), &access);
                    let got = pool.acquire(AccessId(id), access.clone(), reference.now);
                    prop_assert_eq!(&planned, &got, "a plan must say what an acquire then does");
                    prop_assert_eq!(got, reference.acquire(id, &access));
                }
                Op::Release { id } => {
                    prop_assert_eq!(pool.release(AccessId(id), reference.now), reference.release(id));
                    prop_assert!(pool.report().used <= used_before, "a release must not take seats");
                }
                Op::Pass { seconds } => {
                    reference.now = reference.now.saturating_add(Duration::from_secs(seconds));
                    pool.advance(reference.now);
                    prop_assert!(pool.report().used <= used_before, "time must not take seats");
                }
            }
            let report = pool.report();
            prop_assert_eq!(report.used, u64::from(reference.used()));
            if let Some(total) = total {
                prop_assert!(report.used <= u64::from(total));
                prop_assert_eq!(report.free, Some(total - u32::try_from(report.used).expect("small")));
            }
            let live = report.user_limit + report.station_share + report.exclusive + report.no_user_limit;
            prop_assert_eq!(live as usize, reference.live.len());
            prop_assert_eq!(pool.holders(100).len(), reference.live.len());
            for (_, held) in &reference.live {
                prop_assert!(pool.holds(held.client, held.part));
            }
        }
        // When everybody has left and every time is over, nothing is left of anybody.
        for id in 0..12 {
            pool.release(AccessId(id), reference.now);
        }
        pool.advance(reference.now.saturating_add(duration::days(1)));
        prop_assert_eq!(pool.report(), Pool::new(total).report());
        prop_assert_eq!(pool.free_at(), None);
    }

    #[test]
    fn restored_pool_goes_on_like_the_old_one(
        before in prop::collection::vec((0..12_u128, any_access()), 1..30),
        after in prop::collection::vec((0..12_u128, any_access()), 1..30),
    ) {
        let now = Timestamp::UNIX_EPOCH;
        let mut old = Pool::new(Some(6));
        for (id, access) in before {
            let _ = old.acquire(AccessId(id), Access { linger: Duration::ZERO, ..access }, now);
        }
        let mut new = Pool::new(Some(6));
        for (id, access, since) in old.accesses() {
            new.restore(id, access.clone(), since);
        }
        prop_assert_eq!(old.report(), new.report());
        for (id, access) in after {
            let access = Access { linger: Duration::ZERO, ..access };
            prop_assert_eq!(old.acquire(AccessId(id), access.clone(), now), new.acquire(AccessId(id), access, now));
        }
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

#[test]
fn same_access_again_takes_nothing() {
    let mut pool = Pool::new(Some(1));
    let seat = access(1, 1, Part::Parent, UserLimit, 1, 0);
    assert_eq!(pool.acquire(AccessId(1), seat.clone(), at(0)), Ok(Granted { new_seats: 1, repeated: false }));
    assert_eq!(pool.acquire(AccessId(1), seat.clone(), at(1)), Ok(Granted { new_seats: 0, repeated: true }));
    let other = Access { part: Part::Module(0), ..seat };
    assert_eq!(pool.acquire(AccessId(1), other, at(1)), Err(PoolRefusal::Reused));
    assert!(pool.release(AccessId(1), at(2)));
    assert!(!pool.release(AccessId(1), at(2)), "a second release changes nothing");
    assert_eq!(pool.free(), Some(1));
}

#[test]
fn second_session_of_one_client_shares_its_seat_until_both_are_gone() {
    let mut pool = Pool::new(Some(1));
    for (id, part) in [(1, Part::Parent), (2, Part::Module(7)), (3, Part::Parent)] {
        pool.acquire(AccessId(id), access(1, 1, part, UserLimit, 1, 0), at(0)).expect("the same seat");
    }
    for id in [1, 2] {
        pool.release(AccessId(id), at(1));
        assert_eq!(pool.free(), Some(0));
    }
    pool.release(AccessId(3), at(1));
    assert_eq!(pool.free(), Some(1));
}

#[test]
fn lingering_seat_is_refused_to_others_and_given_back_to_its_client_at_once() {
    let mut pool = Pool::new(Some(1));
    pool.acquire(AccessId(1), access(1, 1, Part::Parent, UserLimit, 1, 60), at(0)).expect("free");
    pool.release(AccessId(1), at(100));
    assert_eq!(pool.free_at(), Some(at(160)));
    let other = access(2, 2, Part::Parent, UserLimit, 1, 60);
    let full = Err(PoolRefusal::Full { needed: 1, free: 0, total: 1 });
    assert_eq!(pool.acquire(AccessId(2), other.clone(), at(159)), full);
    let back = pool.acquire(AccessId(3), access(1, 1, Part::Parent, UserLimit, 1, 60), at(159));
    assert_eq!(back, Ok(Granted { new_seats: 0, repeated: false }));
    pool.release(AccessId(3), at(159));
    assert_eq!(pool.acquire(AccessId(2), other.clone(), at(218)), full, "it lingers from the last release on");
    assert!(pool.acquire(AccessId(2), other, at(219)).is_ok());
}

#[test]
fn lingering_keeps_one_record_however_often_a_seat_comes_and_goes() {
    let mut pool = Pool::new(Some(1));
    for round in 0..1_000 {
        pool.acquire(AccessId(1), access(1, 1, Part::Parent, UserLimit, 1, 60), at(round)).expect("its own seat");
        pool.release(AccessId(1), at(round));
    }
    assert!(format!("{pool:?}").len() < 2_000, "the pool must not grow");
}

#[test]
fn exclusive_is_alone_on_its_station_for_its_entry() {
    let mut pool = Pool::new(Some(10));
    let on = |client, station, part, mode| access(client, station, part, mode, 1, 0);
    pool.acquire(AccessId(1), on(1, 1, Part::Module(0), Exclusive), at(0)).expect("first on the station");
    for mode in [Exclusive, UserLimit, StationShare, NoUserLimit] {
        assert_eq!(pool.acquire(AccessId(2), on(2, 1, Part::Module(0), mode), at(0)), Err(PoolRefusal::Exclusive));
    }
    pool.acquire(AccessId(3), on(3, 2, Part::Module(0), Exclusive), at(0)).expect("another station");
    pool.acquire(AccessId(4), on(2, 1, Part::Module(1), Exclusive), at(0)).expect("another entry of the pool");
    pool.acquire(AccessId(5), on(1, 1, Part::Module(0), Exclusive), at(0)).expect("the same program again");
    assert_eq!(pool.report().used, 3);
    pool.release(AccessId(1), at(0));
    assert_eq!(pool.acquire(AccessId(6), on(6, 1, Part::Module(0), UserLimit), at(0)), Err(PoolRefusal::Exclusive));
    pool.release(AccessId(5), at(0));
    pool.acquire(AccessId(6), on(6, 1, Part::Module(0), UserLimit), at(0)).expect("the station is free");
    assert_eq!(pool.acquire(AccessId(7), on(7, 1, Part::Module(0), Exclusive), at(0)), Err(PoolRefusal::Exclusive));
}

#[test]
fn fewer_seats_than_holders_throws_nobody_out_and_lets_nobody_in() {
    let mut pool = Pool::new(Some(3));
    for client in 0..3 {
        pool.acquire(AccessId(client), access(client, client, Part::Parent, UserLimit, 1, 0), at(0)).expect("free");
    }
    pool.set_total(Some(1));
    assert_eq!((pool.report().used, pool.free()), (3, Some(0)));
    pool.release(AccessId(0), at(0));
    let refused = pool.acquire(AccessId(9), access(9, 9, Part::Parent, UserLimit, 1, 0), at(0));
    assert_eq!(refused, Err(PoolRefusal::Full { needed: 1, free: 0, total: 1 }));
}

#[test]
fn announced_end_tells_when_a_seat_comes_free() {
    let mut pool = Pool::new(Some(1));
    pool.acquire(AccessId(1), access(1, 1, Part::Parent, UserLimit, 1, 0), at(0)).expect("free");
    assert_eq!(pool.free_at(), None, "nobody knows when a program ends");
    pool.announce_end(AccessId(1), Some(at(30)));
    assert_eq!(pool.free_at(), Some(at(30)));
    pool.announce_end(AccessId(1), Some(at(50)));
    assert_eq!(pool.free_at(), Some(at(50)));
    pool.announce_end(AccessId(1), None);
    assert_eq!(pool.free_at(), None);
    pool.announce_end(AccessId(1), Some(at(70)));
    pool.release(AccessId(1), at(1));
    assert_eq!(pool.free_at(), None);
}

/// 30,000 clients, each on a station of its own or all on one, come and go. A scan of all holders per access would take
/// minutes here.
#[test]
fn thirty_thousand_holders_come_and_go_without_scans() {
    const CLIENTS: u128 = 30_000;
    for (mode, stations, used) in
        [(UserLimit, CLIENTS, 30_000), (UserLimit, 1, 30_000), (StationShare, 1, 1), (StationShare, CLIENTS, 30_000)]
    {
        let mut pool = Pool::new(Some(30_000));
        for client in 0..CLIENTS {
            let seat = access(client, client % stations, Part::Parent, mode, 1, 10);
            pool.acquire(AccessId(client), seat, at(0)).expect("enough for all");
        }
        assert_eq!(pool.report().used, used);
        assert_eq!(pool.holders(8).len(), 8);
        for client in 0..CLIENTS {
            assert!(pool.release(AccessId(client), at(1)));
        }
        assert_eq!(pool.report().used, used, "all linger");
        pool.advance(at(11));
        assert_eq!(pool.report().used, 0);
    }
}
