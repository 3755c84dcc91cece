//! Which container a peer's address belongs to: asked once for a crowd that comes from the same one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_clock::SharedClock;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::protocol::Workload;
use super::{Attestor, Told};
use crate::domain::peer::PeerContainer;

/// How long an answer counts. A container keeps its address while it runs, but the address may be another container's right
/// after, and the word of the death may come after the first caller.
const FRESH: Duration = Duration::from_secs(2);
/// A connection does not wait longer to learn where it comes from; without an answer it comes from no container.
const PATIENCE: Duration = Duration::from_secs(2);
/// Addresses that are remembered at most.
const MAX_KNOWN: usize = 4_096;

/// Deaths that are remembered, to know answers that were under way while their container died.
const MAX_DEATHS: usize = 1_024;

type Answer = Arc<OnceCell<Option<Arc<PeerContainer>>>>;

/// The containers that died lately.
#[derive(Debug, Default)]
struct Deaths {
    /// How many were told.
    count: u64,
    /// Whatever was asked before so many were told may be about one that died unseen.
    unseen: u64,
    /// The number of each.
    last: HashMap<String, u64>,
}

impl Deaths {
    fn take_note(&mut self, told: &Told) {
        self.count += 1;
        match told {
            Told::Died(id) if self.last.len() < MAX_DEATHS => {
                self.last.insert(id.clone(), self.count);
            }
            Told::Died(_) | Told::Gap => {
                self.last.clear();
                self.unseen = self.count;
            }
        }
    }

    /// Whether an answer about a container may be out of date, when so many deaths were told before it was asked for.
    fn may_concern(&self, id: &str, before: u64) -> bool {
        before < self.unseen || self.last.get(id).is_some_and(|number| before < *number)
    }
}

/// The containers behind addresses.
#[derive(Clone)]
pub struct Peers {
    attestor: Option<Attestor>,
    clock: SharedClock,
    known: Arc<Mutex<HashMap<IpAddr, (Duration, Answer)>>>,
    deaths: Arc<Mutex<Deaths>>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("known", &self.known().len()).finish_non_exhaustive()
    }
}

impl Peers {
    /// Answers by way of `attestor`; without one, nobody is in a container.
    #[must_use]
    pub fn new(attestor: Option<Attestor>, clock: SharedClock) -> Self {
        Self { attestor, clock, known: Arc::default(), deaths: Arc::default() }
    }

    /// The container that has this address, if the engine knows exactly one.
    pub async fn container(&self, address: IpAddr) -> Option<Arc<PeerContainer>> {
        let attestor = self.attestor.as_ref()?;
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        let answer = self.answer_for(address);
        let before = self.deaths().count;
        let asked = answer.get_or_init(|| async {
            // Not to know is an answer as well: nothing that is for containers is granted then.
            attestor.peer(address).await.ok().flatten().map(|workload| Arc::new(container(workload)))
        });
        let found = timeout(PATIENCE, asked).await.ok().cloned().flatten()?;
        // It died while it was asked for: the address may be another container's by now.
        let current = !self.deaths().may_concern(&found.id, before);
        current.then_some(found)
    }

    /// What was told of containers makes answers old.
    pub fn take_note(&self, told: &Told) {
        self.deaths().take_note(told);
        let mut known = self.known();
        match told {
            // What is under way may be about it: whoever comes from now on asks anew.
            Told::Died(id) => known.retain(|_, (_, answer)| {
                answer.get().is_some_and(|found| found.as_ref().is_none_or(|found| found.id != *id))
            }),
            Told::Gap => known.clear(),
        }
    }

    fn deaths(&self) -> std::sync::MutexGuard<'_, Deaths> {
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_for(&self, address: IpAddr) -> Answer {
        let now = self.clock.boottime();
        let mut known = self.known();
        if let Some((since, answer)) = known.get(&address)
            && now.saturating_sub(*since) < FRESH
        {
            return Arc::clone(answer);
        }
        if known.len() >= MAX_KNOWN {
            known.retain(|_, (since, _)| now.saturating_sub(*since) < FRESH);
        }
        let answer = Answer::default();
        // A crowd of addresses within two seconds is asked for one by one and not remembered.
        if known.len() < MAX_KNOWN {
            known.insert(address, (now, Arc::clone(&answer)));
        }
        answer
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, (Duration, Answer)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn container(workload: Workload) -> PeerContainer {
    PeerContainer { id: workload.id, name: workload.name, image: workload.image, labels: workload.labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_under_way_when_its_container_died_does_not_count() {
        let mut deaths = Deaths::default();
        let asked = deaths.count;
        assert!(!deaths.may_concern("a", asked));
        deaths.take_note(&Told::Died("b".to_owned()));
        assert!(!deaths.may_concern("a", asked), "another one died");
        deaths.take_note(&Told::Died("a".to_owned()));
        assert!(deaths.may_concern("a", asked));
        assert!(!deaths.may_concern("a", deaths.count), "it was started again and asked for afterwards");
        let asked = deaths.count;
        deaths.take_note(&Told::Gap);
        assert!(deaths.may_concern("c", asked), "nobody knows who died in a gap");
        assert!(!deaths.may_concern("c", deaths.count));
    }

    #[test]
    fn deaths_without_end_are_forgotten_on_the_safe_side() {
        let mut deaths = Deaths::default();
        for number in 0..=MAX_DEATHS {
            deaths.take_note(&Told::Died(number.to_string()));
        }
        assert!(deaths.last.len() <= MAX_DEATHS);
        assert!(deaths.may_concern("0", 0) && deaths.may_concern("anybody", 0));
        assert!(!deaths.may_concern("0", deaths.count));
    }
}
