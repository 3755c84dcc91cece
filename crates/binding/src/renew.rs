//! Sealing anew after small changes, so that honest ones do not add up to a refusal.

use lictor_clock::Timestamp;

use crate::open::Opened;
use crate::profile::Reading;
use crate::seal::{Drift, Seal};

/// Most traits that are sealed anew within [`DRIFT_PERIOD_MICROS`]: whoever wants to walk a seal to another machine one
/// trait at a time needs months and leaves a record.
pub const MAX_DRIFT: usize = 2;
/// 30 days.
pub const DRIFT_PERIOD_MICROS: i64 = 30 * 24 * 3600 * 1_000_000;

/// What became of a seal after it was opened.
#[derive(Clone, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing changed, or something cannot be read at the moment: the seal stays as it is.
    NotNeeded,
    /// The changed traits are sealed with their new values.
    Renewed(Box<Seal>),
    /// Too much changed within 30 days. The seal still opens, but the next change may close it.
    TooMuch,
}

impl Seal {
    /// Seals what was `opened` to what `reading` says now. `seed` are fresh random bytes.
    #[must_use]
    pub fn renew(&self, opened: &Opened, reading: &Reading, now: Timestamp, seed: [u8; 32]) -> Renewal {
        let changed: Vec<_> = opened.matches.changed().collect();
        if changed.is_empty() || opened.matches.missing().next().is_some() {
            return Renewal::NotNeeded;
        }
        let since = now.as_micros().saturating_sub(DRIFT_PERIOD_MICROS);
        // What is dated in the future, because the clock was set back, counts as recent.
        let mut drifts: Vec<Drift> =
            self.header.drifts.iter().copied().filter(|drift| drift.at.as_micros() > since).collect();
        if drifts.len() + changed.len() > MAX_DRIFT {
            return Renewal::TooMuch;
        }
        drifts.extend(changed.into_iter().map(|kind| Drift { kind, at: now }));
        match Self::with_drifts(self.profile(), reading, &opened.secret, seed, drifts) {
            Ok(seal) => Renewal::Renewed(Box::new(seal)),
            Err(_) => Renewal::TooMuch,
        }
    }
}
