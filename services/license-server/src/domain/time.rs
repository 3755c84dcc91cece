//! Which time counts. Nobody can make a clock honest from inside the machine; this bounds what a wrong one can do.
//!
//! - **signed**: the latest time that a vendor's time role has said to this very server. Never falls.
//! - **seen**: the latest time that the clock, or an update's date, made believable. A signed time puts it right.
//! - The later of both is the floor. It moves on with the time that the machine runs, so a clock that is set back, or
//!   stands at 1970, or goes slowly, wins nothing.
//! - A clock that leaps ahead of the floor by more than a day is used, but becomes part of the floor only after the
//!   machine ran for a day with it. So a clock set forward by mistake and back again leaves no trace, and one that stays
//!   is believed in the end.
//! - A clock that a signed time proved to be ahead is not used at all, until it is set anew.

use std::time::Duration;

use lictor_clock::{Timestamp, duration};
use lictor_signing::cbor::{Canonical, CborError, Reader, Writer};

use super::ask::Moment;

/// A clock may lag this far behind the floor before anybody is told.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// A clock that is further ahead of the floor than this has leapt; and this long it has to stay there to be believed.
pub const LEAP: Duration = duration::hours(24);

/// What is known about the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProvenTime {
    /// Latest time said by a time role; the epoch of Unix for none.
    signed: Timestamp,
    /// Latest time made believable; the epoch of Unix for none.
    seen: Timestamp,
    /// For how long the machine ran while its clock was a leap ahead.
    leap: Duration,
    /// How far ahead the clock was when a signed time proved it wrong.
    ahead_by: Option<Duration>,
    /// A floor, and the time since boot at which it held; lives as long as the process.
    running: Option<(Timestamp, Duration)>,
}

/// What is written down once a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The floor.
    pub at: Timestamp,
    /// For how long the clock has been a leap ahead.
    pub leap: Duration,
    /// Whether the clock is the one that was proven to be ahead.
    pub distrusted: bool,
}

impl ProvenTime {
    /// The latest proven time now: what licences are judged by at least.
    #[must_use]
    pub fn floor(&self, boottime: Duration) -> Timestamp {
        let kept = self.signed.max(self.seen);
        let run = self.running.map(|(at, since)| at.saturating_add(boottime.saturating_sub(since)));
        run.map_or(kept, |run| run.max(kept))
    }

    /// The time by which licences are judged.
    #[must_use]
    pub fn judged(&self, moment: Moment) -> Timestamp {
        let floor = self.floor(moment.boottime);
        if self.distrusts(moment) { floor } else { moment.now.max(floor) }
    }

    /// Whether the clock is not believed: too far behind the floor, or proven to be ahead.
    #[must_use]
    pub fn is_suspect(&self, moment: Moment) -> bool {
        moment.now.saturating_add(TOLERANCE) < self.floor(moment.boottime) || self.distrusts(moment)
    }

    /// How far the clock is ahead of the floor.
    fn lead(&self, moment: Moment) -> Duration {
        moment.now.since(self.floor(moment.boottime))
    }

    fn has_leapt(&self, moment: Moment) -> bool {
        self.floor(moment.boottime) > Timestamp::UNIX_EPOCH && self.lead(moment) > LEAP
    }

    /// While the machine is off its clock only gains on the floor. A smaller lead means that somebody set it.
    fn distrusts(&self, moment: Moment) -> bool {
        let proven = self.ahead_by.is_some_and(|ahead| self.lead(moment) > ahead.saturating_sub(LEAP));
        proven && self.has_leapt(moment)
    }

    /// From here on the floor runs with the machine.
    pub fn run(&mut self, boottime: Duration) {
        let floor = self.floor(boottime);
        self.running = (floor > Timestamp::UNIX_EPOCH).then_some((floor, boottime));
    }

    /// Whether the floor runs with the machine yet.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// A date that proves that this time has passed.
    pub fn see(&mut self, at: Timestamp) {
        self.seen = self.seen.max(at);
    }

    /// What to write down after the machine ran for `passed` since the last note; none while no time is known at all.
    #[must_use]
    pub fn note(&self, moment: Moment, passed: Duration) -> Option<Noted> {
        let floor = self.floor(moment.boottime);
        if floor == Timestamp::UNIX_EPOCH {
            return None;
        }
        let believed = Noted { at: moment.now.max(floor), leap: Duration::ZERO, distrusted: false };
        if !self.has_leapt(moment) {
            return Some(believed);
        }
        if self.distrusts(moment) {
            return Some(Noted { at: floor, leap: Duration::ZERO, distrusted: true });
        }
        let leap = self.leap.saturating_add(passed);
        Some(if leap >= LEAP { believed } else { Noted { at: floor, leap, distrusted: false } })
    }

    /// Takes over what was written down.
    pub fn take_note(&mut self, noted: Noted) {
        self.see(noted.at);
        self.leap = noted.leap;
        if !noted.distrusted {
            self.ahead_by = None;
        }
    }

    /// What a signed time says about the clock of this moment: how far it is ahead, when that is a leap.
    #[must_use]
    pub fn found_ahead(at: Timestamp, moment: Moment) -> Option<Duration> {
        Some(moment.now.since(at)).filter(|lead| *lead > LEAP)
    }

    /// Latest time that a time role has said.
    #[must_use]
    pub const fn signed(&self) -> Timestamp {
        self.signed
    }

    /// Takes over a signed time: the only thing that may take back what was only seen.
    pub fn take_signed(&mut self, at: Timestamp, ahead_by: Option<Duration>) {
        self.signed = self.signed.max(at);
        self.seen = at;
        self.leap = Duration::ZERO;
        self.ahead_by = ahead_by;
        self.running = None;
    }
}

impl Canonical for ProvenTime {
    fn write(&self, writer: &mut Writer) {
        writer.record(|fields| {
            fields.field(0, |w| w.time(self.signed));
            fields.field(1, |w| w.time(self.seen));
            fields.field(2, |w| write_span(w, self.leap));
            fields.option(3, self.ahead_by, write_span);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.fields()?;
        let time = Self {
            signed: fields.required(0, Reader::time)?,
            seen: fields.required(1, Reader::time)?,
            leap: fields.required(2, read_span)?,
            ahead_by: fields.optional(3, read_span)?,
            running: None,
        };
        fields.end()?;
        Ok(time)
    }
}

/// Writes a span as microseconds.
pub(super) fn write_span(writer: &mut Writer, span: Duration) {
    writer.uint(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
}

/// Reads a span of microseconds.
pub(super) fn read_span(reader: &mut Reader<'_>) -> Result<Duration, CborError> {
    reader.uint().map(Duration::from_micros)
}
