//! Waiting for seats, first come first served for each product of a firm. Knows who waits and for how long; who can be
//! served is for [`super::waiting`] to say.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use lictor_licensing::id::{FirmCode, LicenseId, ProductCode};
use lictor_licensing::item::Part;

use super::session::RequestId;

/// Most who wait, for whatever it is.
pub const MAX_WAITERS: usize = 10_000;
/// Most who wait from one address; all programs of the Unix socket count as one.
pub const MAX_WAITERS_PER_PEER: usize = 1_000;
/// How much a seat that ended counts for the next estimate: the last ten or so decide.
const WEIGHT: f64 = 0.1;

/// What is waited for.
pub type Queue = (FirmCode, ProductCode);
/// A pool of seats: the licence, and the part that the pool lives on.
pub type Place = (LicenseId, Part);

/// What the queues have to know of somebody who waits.
pub trait Waits {
    /// His name for his wish.
    fn request_id(&self) -> RequestId;
    /// Where he comes from; none for the Unix socket.
    fn peer(&self) -> Option<IpAddr>;
    /// When he does not wish to wait any longer, since boot.
    fn until(&self) -> Duration;
    /// The pools whose seats he waits for.
    fn places(&self) -> &[Place];
}

/// Those who wait.
#[derive(Debug)]
pub struct Queues<W> {
    queues: BTreeMap<Queue, VecDeque<(u64, W)>>,
    /// Where each wish stands.
    requests: HashMap<RequestId, (Queue, u64)>,
    peers: HashMap<Option<IpAddr>, usize>,
    /// How many wait for each pool.
    claims: HashMap<Place, usize>,
    /// Ends of patience.
    ends: std::collections::BTreeSet<(Duration, RequestId)>,
    /// The last number that was given: none is given twice, so whoever leaves late takes nobody's place.
    last: u64,
}

impl<W> Default for Queues<W> {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            requests: HashMap::new(),
            peers: HashMap::new(),
            claims: HashMap::new(),
            ends: std::collections::BTreeSet::new(),
            last: 0,
        }
    }
}

fn count_down<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl<W: Waits> Queues<W> {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Adds somebody at the end.
    ///
    /// # Errors
    /// The newcomer, when too many wait already, in all or from his address.
    pub fn join(&mut self, queue: Queue, waiter: W) -> Result<(), W> {
        let of_peer = self.peers.get(&waiter.peer()).copied().unwrap_or(0);
        if self.requests.len() >= MAX_WAITERS || of_peer >= MAX_WAITERS_PER_PEER {
            return Err(waiter);
        }
        self.last += 1;
        self.note(queue, self.last, &waiter);
        self.queues.entry(queue).or_default().push_back((self.last, waiter));
        Ok(())
    }

    fn note(&mut self, queue: Queue, number: u64, waiter: &W) {
        self.requests.insert(waiter.request_id(), (queue, number));
        *self.peers.entry(waiter.peer()).or_default() += 1;
        self.ends.insert((waiter.until(), waiter.request_id()));
        for place in waiter.places() {
            *self.claims.entry(*place).or_default() += 1;
        }
    }

    fn unnote(&mut self, waiter: &W) {
        self.requests.remove(&waiter.request_id());
        count_down(&mut self.peers, &waiter.peer());
        self.ends.remove(&(waiter.until(), waiter.request_id()));
        waiter.places().iter().for_each(|place| count_down(&mut self.claims, place));
    }

    /// Somebody who waits under this name.
    #[must_use]
    pub fn get(&self, request: &RequestId) -> Option<&W> {
        let (queue, number) = self.requests.get(request)?;
        let queue = self.queues.get(queue)?;
        let at = queue.binary_search_by_key(number, |(number, _)| *number).ok()?;
        queue.get(at).map(|(_, waiter)| waiter)
    }

    /// Puts somebody in the place of whoever waits under the same name; gives that one back, or the newcomer when nobody
    /// does.
    ///
    /// # Errors
    /// The newcomer.
    pub fn replace(&mut self, waiter: W) -> Result<W, W> {
        let Some((queue, number)) = self.requests.get(&waiter.request_id()).copied() else { return Err(waiter) };
        let Some(known) = self.queues.get_mut(&queue) else { return Err(waiter) };
        let Ok(at) = known.binary_search_by_key(&number, |(number, _)| *number) else { return Err(waiter) };
        let Some((_, older)) = known.remove(at) else { return Err(waiter) };
        self.unnote(&older);
        self.note(queue, number, &waiter);
        if let Some(known) = self.queues.get_mut(&queue) {
            known.insert(at, (number, waiter));
        }
        Ok(older)
    }

    /// Takes somebody out, wherever he stands. None when he was served or left before.
    pub fn leave(&mut self, request: &RequestId) -> Option<W> {
        let (key, number) = self.requests.get(request).copied()?;
        let queue = self.queues.get_mut(&key)?;
        let at = queue.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let (_, waiter) = queue.remove(at)?;
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        self.unnote(&waiter);
        Some(waiter)
    }

    /// Whether somebody waits for seats of a pool: whoever comes now may not pass him.
    #[must_use]
    pub fn claims(&self, place: &Place) -> bool {
        self.claims.contains_key(place)
    }

    /// The place of a wish, 1 for next; none when it does not wait.
    #[must_use]
    pub fn position(&self, request: &RequestId) -> Option<usize> {
        let (queue, number) = self.requests.get(request)?;
        Some(self.queues.get(queue)?.binary_search_by_key(number, |(number, _)| *number).ok()? + 1)
    }

    /// How many wait for a product.
    #[must_use]
    pub fn waiting(&self, queue: &Queue) -> usize {
        self.queues.get(queue).map_or(0, VecDeque::len)
    }

    /// What is waited for, whoever has waited longest first.
    #[must_use]
    pub fn queues(&self) -> Vec<Queue> {
        let mut heads: Vec<_> = self.queues.iter().filter_map(|(key, queue)| Some((queue.front()?.0, *key))).collect();
        heads.sort_unstable();
        heads.into_iter().map(|(_, key)| key).collect()
    }

    /// The waiters of a queue with their places, the head first.
    pub fn standing(&self, queue: &Queue) -> impl Iterator<Item = (usize, &W)> {
        let waiters = self.queues.get(queue).into_iter().flatten();
        waiters.enumerate().map(|(place, (_, waiter))| (place + 1, waiter))
    }

    /// Goes through a queue from its head: `serve` says whether a waiter leaves it, stays, or is the last to be looked at. Gives
    /// those who leave, with the numbers of their places.
    pub fn serve(&mut self, key: &Queue, mut serve: impl FnMut(&mut W) -> Turn) -> Vec<(u64, W)> {
        let Some(mut queue) = self.queues.remove(key) else { return Vec::new() };
        let mut served = Vec::new();
        let mut passed = VecDeque::new();
        while let Some((number, mut waiter)) = queue.pop_front() {
            self.unnote(&waiter);
            let turn = serve(&mut waiter);
            if turn == Turn::Leaves {
                served.push((number, waiter));
                continue;
            }
            self.note(*key, number, &waiter);
            passed.push_back((number, waiter));
            if turn == Turn::HoldsUp {
                break;
            }
        }
        passed.append(&mut queue);
        if !passed.is_empty() {
            self.queues.insert(*key, passed);
        }
        served
    }

    /// Puts somebody back who was served, in the place with his number.
    pub fn put_back(&mut self, key: Queue, number: u64, waiter: W) {
        self.note(key, number, &waiter);
        let queue = self.queues.entry(key).or_default();
        let at = queue.partition_point(|(known, _)| *known < number);
        queue.insert(at, (number, waiter));
    }

    /// The wishes whose patience is over.
    #[must_use]
    pub fn over(&self, boottime: Duration) -> Vec<RequestId> {
        let over = self.ends.iter().take_while(|(until, _)| *until <= boottime);
        over.map(|(_, request)| *request).collect()
    }

    /// Takes everybody out.
    pub fn clear(&mut self) {
        let last = self.last;
        *self = Self { last, ..Self::default() };
    }
}

/// What becomes of a waiter whose turn it is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// He has his answer.
    Leaves,
    /// He waits on, for other seats than those behind him may want.
    Stays,
    /// He waits on, and so does everybody behind him.
    HoldsUp,
}

/// How long seats of a product were held lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HoldTime(Option<f64>);

impl HoldTime {
    /// Notes a seat that came free after `held`.
    pub fn note(&mut self, held: Duration) {
        let held = held.as_secs_f64();
        self.0 = Some(self.0.map_or(held, |so_far| so_far + WEIGHT * (held - so_far)));
    }

    /// How long somebody at `position` (1 is next) waits when `seats` are held at once, one of them ending every hold
    /// time divided by the seats; none as long as nobody gave a seat back.
    #[must_use]
    pub fn wait_at(&self, position: usize, seats: u32) -> Option<Duration> {
        let turns = f64::from(u32::try_from(position).unwrap_or(u32::MAX));
        Duration::try_from_secs_f64(self.0? * turns / f64::from(seats.max(1))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct One {
        name: u8,
        wants: u32,
        peer: u8,
        until: u64,
        places: Vec<Place>,
    }

    impl Waits for One {
        fn request_id(&self) -> RequestId {
            [self.name; 16]
        }
        fn peer(&self) -> Option<IpAddr> {
            Some([10, 0, 0, self.peer].into())
        }
        fn until(&self) -> Duration {
            Duration::from_secs(self.until)
        }
        fn places(&self) -> &[Place] {
            &self.places
        }
    }

    fn queue(product: u32) -> Queue {
        (FirmCode::new(6_000_001).expect("a firm"), ProductCode(product))
    }

    fn one(name: u8, wants: u32) -> One {
        One { name, wants, peer: name, until: u64::from(name), places: vec![(LicenseId::from_u128(1), Part::Parent)] }
    }

    fn serve(queues: &mut Queues<One>, mut free: u32) -> Vec<u8> {
        let served = queues.serve(&queue(7), |waiter| {
            if waiter.wants > free {
                return Turn::HoldsUp;
            }
            free -= waiter.wants;
            Turn::Leaves
        });
        served.into_iter().map(|(_, waiter)| waiter.name).collect()
    }

    #[test]
    fn whoever_is_put_back_stands_where_he_stood() {
        let mut queues = Queues::default();
        for name in 1..=4 {
            queues.join(queue(7), one(name, 1)).expect("room");
        }
        let mut free = 2;
        let served = queues.serve(&queue(7), |_| {
            free -= 1;
            if free < 0 { Turn::HoldsUp } else { Turn::Leaves }
        });
        assert_eq!(served.len(), 2);
        queues.join(queue(7), one(5, 1)).expect("room");
        // In any order: the numbers say where.
        for (number, waiter) in served.into_iter().rev() {
            queues.put_back(queue(7), number, waiter);
        }
        assert_eq!(queues.position(&one(1, 1).request_id()), Some(1));
        assert_eq!(serve(&mut queues, 5), [1, 2, 3, 4, 5]);
        assert!(queues.is_empty());
    }

    #[test]
    fn first_come_first_served_and_a_large_wish_is_not_passed() {
        let mut queues = Queues::default();
        for (name, wants) in [(1, 1), (2, 5), (3, 1), (4, 1)] {
            queues.join(queue(7), one(name, wants)).expect("room");
        }
        assert_eq!(serve(&mut queues, 4), [1]);
        assert_eq!(queues.position(&[2; 16]), Some(1));
        assert_eq!(queues.position(&[4; 16]), Some(3));
        assert_eq!(queues.position(&[1; 16]), None);
        assert!(queues.claims(&(LicenseId::from_u128(1), Part::Parent)));
        assert_eq!(serve(&mut queues, 7), [2, 3, 4]);
        assert!(queues.is_empty() && !queues.claims(&(LicenseId::from_u128(1), Part::Parent)));
    }

    #[test]
    fn whoever_leaves_lets_the_others_move_up() {
        let mut queues = Queues::default();
        (1..=3).for_each(|name| queues.join(queue(7), one(name, 1)).expect("room"));
        assert_eq!(queues.leave(&[2; 16]), Some(one(2, 1)));
        assert_eq!(queues.leave(&[2; 16]), None, "twice");
        assert_eq!(queues.position(&[3; 16]), Some(2));
        queues.leave(&[1; 16]).expect("there");
        assert_eq!(queues.position(&[3; 16]), Some(1));
        queues.leave(&[3; 16]).expect("there");
        assert!(queues.is_empty() && queues.over(Duration::MAX).is_empty());
    }

    #[test]
    fn the_same_wish_again_keeps_its_place() {
        let mut queues = Queues::default();
        (1..=2).for_each(|name| queues.join(queue(7), one(name, 1)).expect("room"));
        let again = One { until: 99, peer: 9, ..one(1, 1) };
        assert_eq!(queues.replace(again), Ok(one(1, 1)));
        assert_eq!(queues.position(&[1; 16]), Some(1));
        assert_eq!(queues.over(Duration::from_secs(50)), [[2; 16]], "its patience is the new one");
        assert!(queues.replace(one(8, 1)).is_err(), "nobody waits under this name");
        queues.leave(&[1; 16]).expect("there");
        queues.leave(&[2; 16]).expect("there");
        assert!(queues.peers.is_empty() && queues.claims.is_empty() && queues.ends.is_empty());
    }

    #[test]
    fn a_queue_has_an_end_in_all_and_for_each_address() {
        let mut queues = Queues::default();
        let waiter = |number: usize, peer: u8| Many(number, peer);
        for number in 0..MAX_WAITERS_PER_PEER {
            queues.join(queue(7), waiter(number, 1)).expect("room");
        }
        assert!(queues.join(queue(8), waiter(99_999, 1)).is_err(), "one address");
        for number in MAX_WAITERS_PER_PEER..MAX_WAITERS {
            let peer = u8::try_from(number / MAX_WAITERS_PER_PEER + 1).expect("few");
            queues.join(queue(7), waiter(number, peer)).expect("room");
        }
        assert!(queues.join(queue(8), waiter(99_999, 200)).is_err(), "in all");
    }

    #[derive(Debug)]
    struct Many(usize, u8);

    impl Waits for Many {
        fn request_id(&self) -> RequestId {
            (self.0 as u128).to_be_bytes()
        }
        fn peer(&self) -> Option<IpAddr> {
            Some([10, 0, 0, self.1].into())
        }
        fn until(&self) -> Duration {
            Duration::ZERO
        }
        fn places(&self) -> &[Place] {
            &[]
        }
    }

    #[test]
    fn estimates_follow_how_long_seats_are_held() {
        let mut held = HoldTime::default();
        assert_eq!(held.wait_at(1, 5), None);
        held.note(Duration::from_secs(100));
        assert_eq!(held.wait_at(1, 5), Some(Duration::from_secs(20)));
        assert_eq!(held.wait_at(5, 5), Some(Duration::from_secs(100)));
        for _ in 0..100 {
            held.note(Duration::from_secs(10));
        }
        assert!(held.wait_at(1, 1).is_some_and(|wait| wait < Duration::from_secs(11)));
        assert_eq!(held.wait_at(1, 0), held.wait_at(1, 1));
    }
}
