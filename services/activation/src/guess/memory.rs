//! The counter inside this process: for one replica, for tests, and while Redis does not answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use lictor_clock::Timestamp;

use crate::domain::guess::{Limits, millis};

/// Addresses that are remembered; with more, those that owe nothing are forgotten, and if none is, new ones share a count.
const MAX_PEERS: usize = 50_000;
/// The name under which addresses are counted that find no place.
const OTHERS: &str = "others";

/// Paid-for times by address. Cheap to clone; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    peers: HashMap<String, i64>,
    all: i64,
}

impl Memory {
    /// Takes a try from both limits or from none; the error is the wait in milliseconds.
    pub fn take(&self, peer: &str, limits: &Limits, now: Timestamp) -> Result<(), i64> {
        let now_ms = millis(now);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = counts.place_of(peer, now_ms);
        let paid = counts.peers.get(&peer).copied().unwrap_or(0);
        let of_peer = limits.peer.take(paid, now_ms);
        let of_all = limits.all.take(counts.all, now_ms);
        match (of_peer, of_all) {
            (Ok(of_peer), Ok(of_all)) => {
                counts.peers.insert(peer, of_peer);
                counts.all = of_all;
                Ok(())
            }
            (one, other) => Err(one.err().unwrap_or(0).max(other.err().unwrap_or(0))),
        }
    }

    /// Gives a try back.
    pub fn refund(&self, peer: &str, limits: &Limits) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = limits.all.refund(counts.all);
        let name = if counts.peers.contains_key(peer) { peer } else { OTHERS };
        if let Some(paid) = counts.peers.get_mut(name) {
            *paid = limits.peer.refund(*paid);
        }
    }
}

impl Counts {
    fn place_of(&mut self, peer: &str, now_ms: i64) -> String {
        if !self.peers.contains_key(peer) && self.peers.len() >= MAX_PEERS {
            self.peers.retain(|_, paid| *paid > now_ms);
            if self.peers.len() >= MAX_PEERS {
                return OTHERS.to_owned();
            }
        }
        peer.to_owned()
    }
}
