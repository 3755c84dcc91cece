//! Two small collections that pools keep for each holder.

use lictor_clock::Timestamp;

/// A multiset of seat numbers of which mostly the largest matters. Holders nearly always have one distinct number, so a
/// sorted list beats a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(Vec<(u32, u32)>);

impl Tally {
    pub(super) fn add(&mut self, value: u32) {
        match self.0.binary_search_by_key(&value, |(value, _)| *value) {
            Ok(place) => self.0[place].1 += 1,
            Err(place) => self.0.insert(place, (value, 1)),
        }
    }

    pub(super) fn remove(&mut self, value: u32) {
        if let Ok(place) = self.0.binary_search_by_key(&value, |(value, _)| *value) {
            self.0[place].1 -= 1;
            if self.0[place].1 == 0 {
                self.0.remove(place);
            }
        }
    }

    /// The largest number; zero when there is none.
    pub(super) fn max(&self) -> u32 {
        self.0.last().map_or(0, |(value, _)| *value)
    }

    /// The largest number once `value` has been taken out one time.
    pub(super) fn max_without(&self, value: u32) -> u32 {
        match self.0.as_slice() {
            [.., (below, _), (top, 1)] if *top == value => *below,
            [(top, 1)] if *top == value => 0,
            _ => self.max(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Seats that stay taken for a while after their release: fewer and fewer seats until later and later times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lingering(Vec<(Timestamp, u32)>);

impl Lingering {
    /// Keeps `seats` taken until `until`.
    pub(super) fn keep(&mut self, seats: u32, until: Timestamp) {
        if seats == 0 || self.0.iter().any(|(end, kept)| *end >= until && *kept >= seats) {
            return;
        }
        self.0.retain(|(end, kept)| *end > until || *kept > seats);
        let place = self.0.partition_point(|(end, _)| *end < until);
        self.0.insert(place, (until, seats));
    }

    /// Lets go of what ends by `now`.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.0.retain(|(end, _)| *end > now);
    }

    /// Seats that are kept as of the last [`Self::expire`].
    pub(super) fn seats(&self) -> u32 {
        self.0.first().map_or(0, |(_, seats)| *seats)
    }

    /// When fewer seats will be kept.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.0.first().map(|(end, _)| *end)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
