//! The counter inside this process: for one replica, for tests, and while Redis does not answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use lictor_clock::Timestamp;

use crate::domain::limit::{Charge, millis};

/// Names that are remembered; with more, those that owe nothing are forgotten, and if none is, new ones share a count.
const MAX_NAMES: usize = 100_000;
/// The name under which those are counted that find no place.
const OTHERS: &str = "others";

/// Paid-for times by name. Cheap to clone; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts(HashMap<(&'static str, String), i64>);

impl Memory {
    /// Takes all charges or none; the error is the wait in milliseconds.
    pub fn take(&self, charges: &[Charge], now: Timestamp) -> Result<(), i64> {
        let now_ms = millis(now);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Vec::with_capacity(charges.len());
        let mut wait = 0;
        for charge in charges {
            let place = counts.place_of(charge, now_ms);
            let paid = counts.0.get(&place).copied().unwrap_or(0);
            match charge.limit.take(charge.cost_ms, paid, now_ms) {
                Ok(paid) => next.push((place, paid)),
                Err(longer) => wait = wait.max(longer),
            }
        }
        if wait > 0 {
            return Err(wait);
        }
        counts.0.extend(next);
        Ok(())
    }

    /// Gives charges back.
    pub fn refund(&self, charges: &[Charge]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for charge in charges {
            let own = (charge.class, charge.who.clone());
            let place = if counts.0.contains_key(&own) { own } else { (charge.class, OTHERS.to_owned()) };
            if let Some(paid) = counts.0.get_mut(&place) {
                *paid = paid.saturating_sub(charge.cost_ms);
            }
        }
    }
}

impl Counts {
    fn place_of(&mut self, charge: &Charge, now_ms: i64) -> (&'static str, String) {
        let own = (charge.class, charge.who.clone());
        if !self.0.contains_key(&own) && self.0.len() >= MAX_NAMES {
            self.0.retain(|_, paid| *paid > now_ms);
            if self.0.len() >= MAX_NAMES {
                return (charge.class, OTHERS.to_owned());
            }
        }
        own
    }
}
