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

type Answer = Arc<OnceCell<Option<Arc<PeerContainer>>>>;

/// The containers behind addresses.
#[derive(Clone)]
pub struct Peers {
    attestor: Option<Attestor>,
    clock: SharedClock,
    known: Arc<Mutex<HashMap<IpAddr, (Duration, Answer)>>>,
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
        Self { attestor, clock, known: Arc::default() }
    }

    /// The container that has this address, if the engine knows exactly one.
    pub async fn container(&self, address: IpAddr) -> Option<Arc<PeerContainer>> {
        let attestor = self.attestor.as_ref()?;
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        let answer = self.answer_for(address);
        let asked = answer.get_or_init(|| async {
            // Not to know is an answer as well: nothing that is for containers is granted then.
            attestor.peer(address).await.ok().flatten().map(|workload| Arc::new(container(workload)))
        });
        timeout(PATIENCE, asked).await.ok().cloned().flatten()
    }

    /// What was told of containers makes answers old.
    pub fn take_note(&self, told: &Told) {
        let mut known = self.known();
        match told {
            Told::Died(id) => known.retain(|_, (_, answer)| {
                answer.get().is_none_or(|found| found.as_ref().is_none_or(|found| found.id != *id))
            }),
            Told::Gap => known.clear(),
        }
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
