//! The search list: which servers are asked, in which order, for how long.
//!
//! Servers of this machine come first, then the others, each group in the order in which it was given. A server that did not
//! answer is asked last for a while, so that nobody waits for it again and again; after that a new seat comes from the better
//! server again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Address;
use crate::client::{ATTEMPTS, Client, PAUSE};
use crate::error::{AcquireError, Reason, Refusal};
use crate::request::Request;
use crate::seat::Seat;
use crate::wait::passes;

/// Longest time for an answer over all servers, when no other is given.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Longest time for one server: it may ask others itself.
const SERVER_TIME: Duration = Duration::from_secs(10);
/// For how long a server that did not answer is asked last.
const REST: Duration = Duration::from_secs(10);
/// The number of the reason for a server that does not answer.
const NOT_FOUND: u32 = 101;

/// A wish with its names.
pub(crate) struct Wish<'a> {
    pub(crate) request: &'a Request,
    pub(crate) id: &'a [u8; 16],
    pub(crate) nonce: &'a [u8; 32],
}

/// What the search came to.
pub(crate) enum Found {
    Seat(Box<Seat>),
    /// Servers that are trusted have none; where waiting may help.
    Nothing {
        refusal: Refusal,
        queue: Option<Address>,
    },
}

/// The servers, and which of them did not answer lately.
#[derive(Debug)]
pub(crate) struct Search {
    servers: Vec<Address>,
    time_limit: Duration,
    /// Until when each is asked last, since boot.
    rests: Mutex<HashMap<Address, Duration>>,
}

impl Search {
    pub(crate) fn new(mut servers: Vec<Address>, time_limit: Option<Duration>) -> Self {
        // Stable: the order within a group stays.
        servers.sort_by_key(|address| !address.is_local());
        Self { servers, time_limit: time_limit.unwrap_or(TIME_LIMIT), rests: Mutex::default() }
    }

    pub(crate) fn servers(&self) -> &[Address] {
        &self.servers
    }

    pub(crate) fn first(&self) -> &Address {
        // No way to make a client gives an empty list.
        &self.servers[0]
    }

    /// All servers, those that rest last.
    fn in_order(&self, now: Duration) -> Vec<Address> {
        let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order = self.servers.clone();
        order.sort_by_key(|address| rests.get(address).is_some_and(|until| now < *until));
        order
    }

    fn note(&self, address: &Address, answered: bool, now: Duration) {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            rests.remove(address);
        } else {
            rests.insert(address.clone(), now.saturating_add(REST));
        }
    }

    /// Says in each reason which server it comes from, when there are several.
    pub(crate) fn naming(&self, address: &Address, mut refusal: Refusal) -> Refusal {
        if self.servers.len() > 1 {
            let unnamed = refusal.reasons.iter_mut().filter(|reason| reason.server.is_empty());
            unnamed.for_each(|reason| reason.server = address.to_string());
        }
        refusal
    }
}

/// What the servers said so far.
#[derive(Default)]
struct Said {
    reasons: Vec<Reason>,
    unreachable: Vec<(Address, String)>,
    other: Option<AcquireError>,
    queue: Option<Address>,
}

impl Client {
    /// Asks one server after the other, and all of them again when nobody answers.
    ///
    /// # Errors
    /// When no server could be asked or believed.
    pub(crate) async fn look(&self, wish: &Wish<'_>) -> Result<Found, AcquireError> {
        let search = &self.0.search;
        let until = self.0.clock.boottime().saturating_add(search.time_limit);
        let mut said = Said::default();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * attempt).await;
                said.unreachable.clear();
            }
            for address in search.in_order(self.0.clock.boottime()) {
                let left = until.saturating_sub(self.0.clock.boottime());
                if let Some(seat) = self.ask_one(&address, wish, left, &mut said).await {
                    return Ok(Found::Seat(seat));
                }
            }
            let late = until <= self.0.clock.boottime();
            if late || !said.reasons.is_empty() || said.other.is_some() {
                break;
            }
        }
        let Said { mut reasons, unreachable, other, queue } = said;
        // A server that can be believed says more than one that cannot, and that one more than silence.
        if reasons.is_empty() {
            return Err(other.unwrap_or(AcquireError::Unreachable(unreachable)));
        }
        reasons.extend(unreachable.into_iter().map(|(address, reason)| silent(&address, wish.request, &reason)));
        if let Some(error) = other {
            reasons.push(unhelpful(wish.request, &error));
        }
        Ok(Found::Nothing { refusal: Refusal { reasons }, queue })
    }

    async fn ask_one(&self, address: &Address, wish: &Wish<'_>, left: Duration, said: &mut Said) -> Option<Box<Seat>> {
        let search = &self.0.search;
        let limit = left.min(SERVER_TIME);
        let asked = if limit.is_zero() {
            Err(AcquireError::Unreachable(vec![(address.clone(), "there was no time left to ask it".to_owned())]))
        } else {
            match tokio::time::timeout(limit, self.acquire_from(address, wish)).await {
                Ok(asked) => asked,
                Err(_) => {
                    let reason = format!("no answer within {} s", limit.as_secs_f32());
                    Err(AcquireError::Unreachable(vec![(address.clone(), reason)]))
                }
            }
        };
        let now = self.0.clock.boottime();
        search.note(address, !matches!(asked, Err(AcquireError::Unreachable(_))) || limit.is_zero(), now);
        match asked {
            Ok(seat) => return Some(Box::new(seat)),
            Err(AcquireError::Refused(refusal)) => {
                if said.queue.is_none() && passes(&refusal) {
                    said.queue = Some(address.clone());
                }
                said.reasons.extend(search.naming(address, refusal).reasons);
            }
            Err(AcquireError::Unreachable(tried)) => said.unreachable.extend(tried),
            Err(error) => {
                said.other.get_or_insert(error);
            }
        }
        None
    }
}

/// A server that did not answer, among the reasons of those that did.
fn silent(address: &Address, request: &Request, reason: &str) -> Reason {
    Reason {
        serial: String::new(),
        product_code: request.product_code,
        code: NOT_FOUND,
        reason: format!("the licence server does not answer: {reason}"),
        holders: Vec::new(),
        free_at: None,
        instead: "check that it runs and can be reached".to_owned(),
        server: address.to_string(),
    }
}

/// A server that could not be believed or could not deal with it, among the reasons of those that could.
fn unhelpful(request: &Request, error: &AcquireError) -> Reason {
    let (server, instead) = match error {
        AcquireError::Failed { address, problem } => (address.to_string(), problem.next.clone()),
        AcquireError::NotTrusted { address, .. } => {
            (address.to_string(), "check which root the program has, and who answers there".to_owned())
        }
        AcquireError::Refused(_) | AcquireError::Unreachable(_) => (String::new(), String::new()),
    };
    Reason {
        serial: String::new(),
        product_code: request.product_code,
        code: 0,
        reason: error.to_string(),
        holders: Vec::new(),
        free_at: None,
        instead,
        server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_this_machine_come_first_and_silent_ones_last_for_a_while() {
        let list = Address::parse_list("far,localhost:1,near,unix:/s,127.0.0.1:2,[::1]:3").expect("addresses");
        let search = Search::new(list, None);
        let order = |now: u64| -> Vec<String> {
            search.in_order(Duration::from_secs(now)).iter().map(Address::to_string).collect()
        };
        let usual = ["localhost:1", "unix:/s", "127.0.0.1:2", "[::1]:3", "far:22350", "near:22350"];
        assert_eq!(order(0), usual);
        search.note(&search.servers()[0].clone(), false, Duration::from_secs(5));
        search.note(&search.servers()[4].clone(), false, Duration::from_secs(5));
        assert_eq!(order(6), ["unix:/s", "127.0.0.1:2", "[::1]:3", "near:22350", "localhost:1", "far:22350"]);
        assert_eq!(order(15), usual, "the better one again");
        search.note(&search.servers()[0].clone(), true, Duration::from_secs(7));
        assert_eq!(order(8)[0], "localhost:1", "as soon as it has answered");
    }
}
