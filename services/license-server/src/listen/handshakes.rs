//! TLS handshakes that are under way. There is room for so many; one more takes the place of the oldest of the address that has
//! most of them, so whoever opens connections and says nothing is in nobody's way but his own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Those that are under way. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    last: u64,
    count: usize,
    /// Of each address the oldest first.
    by_address: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
}

/// One handshake; over when dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    all: Handshakes,
    address: IpAddr,
    number: u64,
    evicted: Arc<Notify>,
}

impl Handshakes {
    /// Begins one more; with `most` of them under way, another one has to go.
    pub(super) fn begin(&self, address: IpAddr, most: usize) -> Handshake {
        let mut running = self.lock();
        if running.count >= most {
            running.evict();
        }
        running.last += 1;
        running.count += 1;
        let (number, evicted) = (running.last, Arc::new(Notify::new()));
        running.by_address.entry(address).or_default().insert(number, Arc::clone(&evicted));
        Handshake { all: self.clone(), address, number, evicted }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Ends the oldest of the address that has most; among equals the one that began first.
    fn evict(&mut self) {
        let oldest = |of: &BTreeMap<u64, Arc<Notify>>| of.keys().next().copied().unwrap_or(u64::MAX);
        let most = self.by_address.iter().max_by_key(|(_, of)| (of.len(), std::cmp::Reverse(oldest(of))));
        let Some((address, number)) = most.map(|(address, of)| (*address, oldest(of))) else { return };
        if let Some(evicted) = self.remove(address, number) {
            evicted.notify_one();
        }
    }

    fn remove(&mut self, address: IpAddr, number: u64) -> Option<Arc<Notify>> {
        let of = self.by_address.get_mut(&address)?;
        let removed = of.remove(&number)?;
        self.count -= 1;
        if of.is_empty() {
            self.by_address.remove(&address);
        }
        Some(removed)
    }
}

impl Handshake {
    /// Comes when this one has to make room.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        // Whoever was evicted is out already.
        let _ = self.all.lock().remove(self.address, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(handshake: &Handshake) -> bool {
        let mut told = std::pin::pin!(handshake.evicted());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        told.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn whoever_has_most_handshakes_makes_room_with_his_oldest() {
        let (greedy, modest) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let all = Handshakes::default();
        let first = all.begin(modest, 4);
        let flood: Vec<Handshake> = (0..3).map(|_| all.begin(greedy, 4)).collect();
        let newcomer = all.begin(IpAddr::from([10, 0, 0, 3]), 4);
        assert!(is_evicted(&flood[0]), "the oldest of the greedy one");
        assert!(![&first, &flood[1], &flood[2], &newcomer].into_iter().any(is_evicted));
        drop(flood);
        assert_eq!(all.lock().count, 2, "whoever was evicted is not counted twice");
        drop((first, newcomer));
        assert!(all.lock().by_address.is_empty());
    }

    #[test]
    fn with_room_nobody_has_to_go() {
        let all = Handshakes::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        let running: Vec<Handshake> = (0..4).map(|_| all.begin(address, 4)).collect();
        assert!(!running.iter().any(is_evicted));
        drop(running);
        let again: Vec<Handshake> = (0..4).map(|_| all.begin(address, 4)).collect();
        assert!(!again.iter().any(is_evicted));
    }
}
