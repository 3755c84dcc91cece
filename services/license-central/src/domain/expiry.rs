//! When a license truly ends, and which notice of it is due.
//!
//! Each number of days ahead is announced once, and then the end itself, once. Who was away for weeks announces only the
//! nearest number that was reached meanwhile: nobody wants three letters at once. A number that was behind already when
//! the end was settled (a license of ten days, thirty days ahead) is never announced.

use lictor_clock::{Timestamp, duration::days};

use super::{
    license::{Allocation, License},
    policy::NoticeDays,
};

/// The date on which a license ends as things stand, a technical end that will be moved included; none when it does not
/// end by date, is over, or is a subscription that lies in no container. Lent seats go back, so their end is not its own.
#[must_use]
pub fn end_as_things_stand(license: &License) -> Option<Timestamp> {
    if license.over().is_some() {
        return None;
    }
    license.expires_at.into_iter().chain(end_of_entries(license)).min()
}

/// The date on which a license ends and nothing will move it.
#[must_use]
pub fn true_end(license: &License) -> Option<Timestamp> {
    let renews = license.policy.renewal.is_some() && license.renewal_cancelled_at.is_none();
    if license.over().is_some() {
        return None;
    }
    let entries = if renews { None } else { end_of_entries(license) };
    license.expires_at.into_iter().chain(entries).min()
}

/// The latest end of its entries; none when there is none, or one of them does not end.
fn end_of_entries(license: &License) -> Option<Timestamp> {
    let own = |part: &&Allocation| part.state.may_be_in_container() && part.loan.is_none();
    let ends = license.allocations.iter().filter(own).map(|part| part.expires_at);
    // No end at all is later than any date.
    ends.max_by_key(|end| end.map_or(Timestamp::MAX, |end| end)).flatten()
}

/// Since when the true end is what it is; `placed_at` is when the youngest of its entries was planned.
#[must_use]
pub fn settled_at(license: &License, end: Timestamp, placed_at: Option<Timestamp>) -> Timestamp {
    if license.expires_at == Some(end) {
        return license.created_at;
    }
    let later = placed_at.into_iter().chain(license.renewal_cancelled_at).max();
    later.unwrap_or(license.created_at).max(license.created_at)
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// So many days ahead.
    Ahead(u16),
    /// It has ended.
    Ended,
}

impl Notice {
    /// How it is remembered: the days ahead, 0 for the end.
    #[must_use]
    pub const fn days(self) -> u16 {
        match self {
            Self::Ahead(days) => days,
            Self::Ended => 0,
        }
    }
}

/// What is due for one license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// What to announce now.
    pub notice: Option<Notice>,
    /// When to look again; none when everything was said.
    pub next: Option<Timestamp>,
}

/// Decides what is due at `now` for a license that ends at `end`, as was settled at `settled`. `noticed` is the fewest
/// days ahead of this very end that were announced, 0 for the end itself.
#[must_use]
pub fn due(now: Timestamp, end: Timestamp, settled: Timestamp, leads: NoticeDays, noticed: Option<u16>) -> Due {
    if noticed == Some(0) {
        return Due { notice: None, next: None };
    }
    if now >= end {
        return Due { notice: Some(Notice::Ended), next: None };
    }
    let ahead = |lead: u16| end.saturating_sub(days(u64::from(lead)));
    let open = |lead: &u16| noticed.is_none_or(|noticed| *lead < noticed) && ahead(*lead) > settled;
    let notice = leads.iter().filter(open).filter(|lead| ahead(*lead) <= now).last().map(Notice::Ahead);
    let next = leads.iter().filter(open).map(ahead).find(|at| *at > now).unwrap_or(end);
    Due { notice, next: Some(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

    fn day(number: u64) -> Timestamp {
        START.saturating_add(days(number))
    }

    fn at(now: u64, noticed: Option<u16>) -> Due {
        due(day(now), day(100), START, NoticeDays::USUAL, noticed)
    }

    #[test]
    fn every_lead_is_announced_once_and_then_the_end() {
        assert_eq!(at(0, None), Due { notice: None, next: Some(day(70)) });
        assert_eq!(at(70, None), Due { notice: Some(Notice::Ahead(30)), next: Some(day(93)) });
        assert_eq!(at(71, Some(30)), Due { notice: None, next: Some(day(93)) });
        assert_eq!(at(93, Some(30)), Due { notice: Some(Notice::Ahead(7)), next: Some(day(99)) });
        assert_eq!(at(99, Some(7)), Due { notice: Some(Notice::Ahead(1)), next: Some(day(100)) });
        assert_eq!(at(99, Some(1)), Due { notice: None, next: Some(day(100)) });
        assert_eq!(at(100, Some(1)), Due { notice: Some(Notice::Ended), next: None });
        assert_eq!(at(100, Some(0)), Due { notice: None, next: None });
    }

    #[test]
    fn who_slept_announces_only_the_nearest_lead() {
        assert_eq!(at(95, None), Due { notice: Some(Notice::Ahead(7)), next: Some(day(99)) });
        assert_eq!(at(99, Some(30)).notice, Some(Notice::Ahead(1)));
        assert_eq!(at(300, None).notice, Some(Notice::Ended));
        assert_eq!(at(95, Some(7)).notice, None, "the farther one is not made up for");
    }

    #[test]
    fn a_lead_that_was_behind_when_the_end_was_settled_is_never_announced() {
        let short = |now: u64| due(day(now), day(10), START, NoticeDays::USUAL, None);
        assert_eq!(short(0), Due { notice: None, next: Some(day(3)) });
        assert_eq!(short(3).notice, Some(Notice::Ahead(7)));
        let exact = due(START, day(30), START, NoticeDays::USUAL, None);
        assert_eq!(exact, Due { notice: None, next: Some(day(23)) }, "a month is not announced on its first day");
    }

    #[test]
    fn without_leads_only_the_end_is_announced() {
        let none = NoticeDays::try_from(Vec::new()).expect("none");
        assert_eq!(due(START, day(10), START, none, None), Due { notice: None, next: Some(day(10)) });
        assert_eq!(due(day(10), day(10), START, none, None).notice, Some(Notice::Ended));
    }

    #[test]
    fn looking_at_any_times_announces_each_lead_at_most_once_and_always_ends() {
        for gap in 1..120 {
            let (mut noticed, mut said) = (None, Vec::new());
            let mut now = 0;
            while now < 400 {
                let due = at(now, noticed);
                if let Some(notice) = due.notice {
                    said.push(notice.days());
                    noticed = Some(notice.days());
                }
                now += gap;
            }
            assert_eq!(said.last(), Some(&0), "every {gap} days");
            assert!(said.windows(2).all(|pair| pair[0] > pair[1]), "every {gap} days: {said:?}");
        }
    }
}
