//! What changes in the container by itself or by an update: licences that come, go and change, units and days that run out.

use std::collections::BTreeMap;
use std::time::Duration;

use lictor_clock::{Timestamp, duration};
use lictor_licensing::decide::ends_at;
use lictor_licensing::id::{FirmCode, LicenseId};
use lictor_licensing::item::Part;
use lictor_signing::cbor;
use sha2::{Digest as _, Sha256};

use super::event::{Event, EventType};
use super::state::State;

const DAY: Duration = duration::hours(24);
/// Days before its end at which a licence is worth an event.
const DAYS: [u64; 3] = [30, 7, 1];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Levels {
    units: u8,
    days: u8,
}

/// What was seen last.
#[derive(Debug, Default)]
pub struct Noticing {
    began: bool,
    counters: BTreeMap<FirmCode, (u32, u64)>,
    licenses: BTreeMap<(FirmCode, LicenseId), [u8; 32]>,
    levels: BTreeMap<(FirmCode, LicenseId, Part), Levels>,
}

impl Noticing {
    /// What has changed in the container since the last look; the first one only learns what is there.
    pub fn changes(&mut self, state: &State, at: Timestamp) -> Vec<Event> {
        let counters: BTreeMap<_, _> =
            state.firms.iter().map(|(code, firm)| (*code, (firm.vendor.epoch, firm.vendor.counter))).collect();
        if self.began && counters == self.counters {
            return Vec::new();
        }
        let mut licenses = BTreeMap::new();
        for (code, firm) in &state.firms {
            for (id, license) in &firm.licenses {
                licenses.insert((*code, *id), Sha256::digest(cbor::encode(&license.source)).into());
            }
        }
        let mut events = Vec::new();
        if self.began {
            for (key, digest) in &licenses {
                match self.licenses.get(key) {
                    Some(before) if before == digest => {}
                    Some(_) => events.push(Event::of_license(EventType::LicenseModified, key.0, key.1, at)),
                    None => events.push(Event::of_license(EventType::LicenseAdded, key.0, key.1, at)),
                }
            }
            let gone = self.licenses.keys().filter(|key| !licenses.contains_key(key));
            events.extend(gone.map(|key| Event::of_license(EventType::LicenseRemoved, key.0, key.1, at)));
        }
        self.levels.retain(|(firm, license, _), _| licenses.contains_key(&(*firm, *license)));
        (self.began, self.counters, self.licenses) = (true, counters, licenses);
        events
    }

    /// Units and days that have fallen below a threshold since the last look.
    pub fn thresholds(&mut self, state: &State, now: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        for (code, firm) in &state.firms {
            for (id, license) in &firm.licenses {
                for entry in &license.entries {
                    // What is inherited is told once, for the part that it belongs to.
                    let own_units = entry.places().units == entry.part();
                    let left = license.units_left(entry).filter(|_| own_units);
                    let granted = entry.options().unit_counter.map_or(0, |counter| counter.0);
                    let end = ends_at(entry, &license.state, now);
                    let days = end.map(|end| end.since(now).as_secs() / DAY.as_secs());
                    let levels = Levels {
                        units: left.map_or(0, |left| units_level(granted, left)),
                        days: end.map_or(0, |end| days_level(now, end)),
                    };
                    let known = self.levels.entry((*code, *id, entry.part())).or_default();
                    let before = std::mem::replace(known, levels);
                    let event =
                        |kind, count| Event::of_license(kind, *code, *id, now).with(entry.product_code(), count);
                    if levels.units > before.units {
                        events.push(event(EventType::UnitsLow, left));
                    }
                    if levels.days > before.days {
                        events.push(event(EventType::LicenseExpiring, days));
                    }
                }
            }
        }
        events
    }
}

const fn units_level(granted: u64, left: u64) -> u8 {
    if left == 0 {
        3
    } else if left <= granted / 100 {
        2
    } else if left <= granted / 10 {
        1
    } else {
        0
    }
}

fn days_level(now: Timestamp, end: Timestamp) -> u8 {
    if end <= now {
        return 4;
    }
    let left = end.since(now);
    DAYS.iter().filter(|days| left <= DAY * u32::try_from(**days).unwrap_or(u32::MAX)).count().try_into().unwrap_or(3)
}
