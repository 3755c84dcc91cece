//! Central's half of a saga: what one activation takes or takes back, and how far it is.
//!
//! `reserved -> kept -> committed -> confirmed`; `released` from `reserved`, and from `kept` when the issuer refused for
//! good. Before the update is issued a reservation can lapse; from then on it only goes forward, else a license would
//! exist twice.

use std::{fmt, str::FromStr, time::Duration};

use lictor_clock::Timestamp;
use lictor_licensing::error::{ErrorCode, Problem};

/// How long licenses stay reserved for an activation that goes no further.
pub const RESERVATION_TIME: Duration = Duration::from_mins(15);

/// Where a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservationState {
    /// Licenses are set aside until a time limit.
    Reserved,
    /// The issuer is being asked: no time limit any more.
    Kept,
    /// The update was issued.
    Committed,
    /// The container proved that it took the update.
    Confirmed,
    /// Ended with nothing issued.
    Released,
}

/// What a step means for a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on to this state.
    To(ReservationState),
    /// It was there before; nothing is to be done.
    Done,
}

impl ReservationState {
    /// All states.
    pub const ALL: &'static [Self] = &[Self::Reserved, Self::Kept, Self::Committed, Self::Confirmed, Self::Released];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Kept => "kept",
            Self::Committed => "committed",
            Self::Confirmed => "confirmed",
            Self::Released => "released",
        }
    }

    /// Whether others may take the licenses, because its time is over.
    #[must_use]
    pub fn has_lapsed(self, until: Timestamp, now: Timestamp) -> bool {
        self == Self::Reserved && now >= until
    }

    /// The issuer is about to be asked.
    ///
    /// # Errors
    /// A [`Problem`] when it lapsed or was released.
    pub fn keep(self, until: Timestamp, now: Timestamp) -> Result<Step, Problem> {
        match self {
            Self::Reserved if self.has_lapsed(until, now) => {
                Err(Problem::new(ErrorCode::WrongState, "the reservation has lapsed", "start the activation anew"))
            }
            Self::Reserved => Ok(Step::To(Self::Kept)),
            Self::Kept | Self::Committed | Self::Confirmed => Ok(Step::Done),
            Self::Released => Err(released()),
        }
    }

    /// The update was issued. Also taken after the time limit as long as nobody else took the licenses.
    ///
    /// # Errors
    /// A [`Problem`] when it was released.
    pub fn commit(self) -> Result<Step, Problem> {
        match self {
            Self::Reserved | Self::Kept => Ok(Step::To(Self::Committed)),
            Self::Committed | Self::Confirmed => Ok(Step::Done),
            Self::Released => Err(released()),
        }
    }

    /// It ends with nothing issued; `not_issued` is the issuer's word for it.
    ///
    /// # Errors
    /// A [`Problem`] when an update may have been issued.
    pub fn release(self, not_issued: bool) -> Result<Step, Problem> {
        match self {
            Self::Reserved => Ok(Step::To(Self::Released)),
            Self::Kept if not_issued => Ok(Step::To(Self::Released)),
            Self::Released => Ok(Step::Done),
            Self::Kept | Self::Committed | Self::Confirmed => Err(Problem::new(
                ErrorCode::WrongState,
                format!("a reservation that is {self} can only go forward"),
                "commit it",
            )),
        }
    }

    /// The container proved that it took the update.
    ///
    /// # Errors
    /// A [`Problem`] when nothing was committed.
    pub fn confirm(self) -> Result<Step, Problem> {
        match self {
            Self::Committed => Ok(Step::To(Self::Confirmed)),
            Self::Confirmed => Ok(Step::Done),
            Self::Reserved | Self::Kept => {
                Err(Problem::new(ErrorCode::WrongState, "the activation was not committed yet", "commit it first"))
            }
            Self::Released => Err(released()),
        }
    }
}

fn released() -> Problem {
    Problem::new(
        ErrorCode::WrongState,
        "the reservation was released and its licenses may belong to another activation",
        "start the activation anew",
    )
}

impl fmt::Display for ReservationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no state of a reservation")]
pub struct UnknownReservationState;

impl FromStr for ReservationState {
    type Err = UnknownReservationState;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|state| state.name() == name).ok_or(UnknownReservationState)
    }
}

#[cfg(test)]
mod tests {
    use super::{ReservationState as R, *};

    const UNTIL: Timestamp = Timestamp::from_micros(1_000);

    #[test]
    fn a_reservation_lapses_exactly_at_its_time() {
        assert_eq!(R::Reserved.keep(UNTIL, Timestamp::from_micros(999)), Ok(Step::To(R::Kept)));
        assert!(R::Reserved.keep(UNTIL, Timestamp::from_micros(1_000)).is_err());
        assert!(R::Reserved.has_lapsed(UNTIL, Timestamp::from_micros(1_000)));
    }

    #[test]
    fn a_kept_reservation_never_lapses() {
        for state in [R::Kept, R::Committed, R::Confirmed] {
            assert!(!state.has_lapsed(UNTIL, Timestamp::MAX));
            assert_eq!(state.keep(UNTIL, Timestamp::MAX), Ok(Step::Done));
        }
    }

    #[test]
    fn an_issued_update_is_never_released() {
        for state in [R::Committed, R::Confirmed] {
            assert!(state.release(true).is_err());
        }
        assert!(R::Kept.release(false).is_err());
        assert_eq!(R::Kept.release(true), Ok(Step::To(R::Released)));
    }

    #[test]
    fn a_released_reservation_never_comes_back() {
        assert!(R::Released.keep(UNTIL, Timestamp::from_micros(0)).is_err());
        assert!(R::Released.commit().is_err());
        assert!(R::Released.confirm().is_err());
    }

    #[test]
    fn every_step_may_be_repeated() {
        for state in R::ALL {
            for step in [R::commit, R::confirm, |s: R| s.release(true), |s: R| s.keep(UNTIL, Timestamp::from_micros(0))]
            {
                if let Ok(Step::To(next)) = step(*state) {
                    assert_eq!(step(next), Ok(Step::Done), "{state} -> {next}");
                }
            }
        }
    }
}
