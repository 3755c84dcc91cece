//! The licenses that a plan is drawn on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lictor_clock::Timestamp;
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{ActivationId, AllocationId, LicenseId},
};

use super::{Change, Draft, Fresh, Mark, Place, Sold, What, earlier, entry};
use crate::domain::{
    allocation::{AllocationState, Intent},
    license::{Allocation, Loan, Planned},
    reservation::ReservationState,
};

/// What is known of a plan that has issued nothing yet and holds parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Where it stands.
    pub state: ReservationState,
    /// Its time limit.
    pub until: Timestamp,
}

/// What a plan is drawn for.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The activation.
    pub activation: ActivationId,
    /// The time.
    pub now: Timestamp,
    /// The container that changes.
    pub place: Place,
    /// Ids for new parts.
    pub fresh: Fresh<'a>,
}

/// The licenses that a plan is drawn on, by id.
#[derive(Debug)]
pub struct Board<'a> {
    pub(super) sold: Vec<Sold>,
    pub(super) situation: Situation<'a>,
    pub(super) draft: Draft,
}

impl<'a> Board<'a> {
    /// A board with these licenses. `holders` knows the plans that have issued nothing and hold parts of them: those whose
    /// time is over give way, and when the vendor takes back (`by_force`) all that were not kept. The second value names
    /// the plans that do.
    #[must_use]
    pub fn new(
        mut sold: Vec<Sold>,
        holders: &HashMap<ActivationId, Holder>,
        by_force: impl Fn(LicenseId) -> bool,
        situation: Situation<'a>,
    ) -> (Self, BTreeSet<ActivationId>) {
        sold.sort_by_key(|sold| sold.license.id);
        let mut giving_way = BTreeSet::new();
        for (part, forced) in
            sold.iter().flat_map(|sold| sold.license.allocations.iter().map(|part| (part, by_force(sold.license.id))))
        {
            for by in holding(part) {
                let Some(holder) = holders.get(&by) else { continue };
                if holder.state.has_lapsed(holder.until, situation.now)
                    || (forced && holder.state == ReservationState::Reserved)
                {
                    giving_way.insert(by);
                }
            }
        }
        for part in sold.iter_mut().flat_map(|sold| &mut sold.license.allocations) {
            give_way(part, &giving_way);
        }
        let draft =
            Draft { container: situation.place.id.clone(), serial: situation.place.serial.clone(), ..Draft::default() };
        (Self { sold, situation, draft }, giving_way)
    }

    /// The plan, with the changes that follow from what was drawn.
    ///
    /// # Errors
    /// A [`Problem`] when an entry cannot be programmed.
    pub fn finish(mut self) -> Result<Draft, Problem> {
        self.draft.changes = self.changes()?;
        self.draft.on_their_way.sort_by_key(|part| (part.license, part.activation));
        self.draft.on_their_way.dedup();
        Ok(self.draft)
    }

    pub(super) fn place_of(&self, license: LicenseId) -> Result<usize, Problem> {
        self.sold.binary_search_by_key(&license, |sold| sold.license.id).map_err(|_| {
            Problem::new(
                ErrorCode::NotFound,
                format!("there is no license {license}"),
                "list the licenses to see their ids",
            )
        })
    }

    /// The parts of a license in the container that changes, those that are over left out.
    pub(super) fn parts_here(&self, at: usize) -> impl Iterator<Item = &Allocation> {
        let here = &self.situation.place.id;
        self.sold[at].license.allocations.iter().filter(move |part| part.container == *here && !part.state.is_over())
    }

    /// Refuses while another plan is about to change the entry of this license here.
    pub(super) fn undisturbed(&self, at: usize) -> Result<(), Problem> {
        let own = self.situation.activation;
        if self.parts_here(at).any(|part| holding(part).any(|by| by != own)) {
            return Err(busy(self.sold[at].license.id));
        }
        Ok(())
    }

    /// When the entry that a license has here ends; nothing when it has none here.
    pub(super) fn end_here(&self, at: usize) -> Option<Option<Timestamp>> {
        self.parts_here(at).find(|part| part.state.is_issued()).map(|part| part.expires_at)
    }

    /// Refuses to mix seats on different terms in one entry.
    pub(super) fn same_terms_here(&self, at: usize, loan: Option<&Loan>) -> Result<(), Problem> {
        let differs = |part: &&Allocation| part.state != AllocationState::Returning && !part.same_terms(loan);
        match self.parts_here(at).find(differs) {
            None => Ok(()),
            Some(part) => Err(Problem::new(
                ErrorCode::LicenseForbids,
                format!("container {} has seats of the license {} on other terms", part.serial, part.license),
                "lent seats and own seats of one license never lie in one container: use another one",
            )),
        }
    }

    /// Marks seats of a license here, part by part until they are enough; `seats` 0 means whole parts.
    pub(super) fn mark(
        &mut self,
        at: usize,
        seats: u32,
        intent: Intent,
        end: Option<Timestamp>,
        wanted: impl Fn(&Allocation) -> bool,
    ) -> Vec<AllocationId> {
        let mut left = seats;
        let mut marks = Vec::new();
        for part in self.parts_here(at).filter(|part| part.state.is_issued() && wanted(part)) {
            let taken = if seats == 0 { part.quantity } else { left.min(part.quantity) };
            if seats != 0 && taken == 0 {
                break;
            }
            left = left.saturating_sub(taken);
            let planned = Planned { by: self.situation.activation, intent, seats: taken, end };
            marks.push(Mark { part: part.id, planned, merges_into: None });
        }
        let ids = marks.iter().map(|mark| mark.part).collect();
        self.draft.marks.extend(marks);
        ids
    }

    fn changes(&self) -> Result<Vec<Change>, Problem> {
        let marks: BTreeMap<AllocationId, &Mark> = self.draft.marks.iter().map(|mark| (mark.part, mark)).collect();
        let mut all = [Vec::new(), Vec::new(), Vec::new()];
        for (at, sold) in self.sold.iter().enumerate() {
            let license = sold.license.id;
            let (mut before, mut touched) = (false, false);
            // Seats and end of each part that stays or comes in. The earliest end is the entry's.
            let mut after: Vec<(u32, Option<Timestamp>)> = Vec::new();
            for part in self.parts_here(at) {
                let planned = marks.get(&part.id).map(|mark| mark.planned);
                touched |= planned.is_some();
                if let Some(planned) = planned.filter(|planned| planned.intent == Intent::Arrived) {
                    after.push((part.quantity, planned.end));
                }
                if !part.state.is_issued() {
                    continue;
                }
                before = true;
                match planned {
                    Some(planned) if planned.intent.takes_out() => {
                        let stays = part.quantity.saturating_sub(planned.seats);
                        after.extend((stays > 0).then_some((stays, part.expires_at)));
                    }
                    Some(planned) => after.push((part.quantity, planned.end)),
                    None => after.push((part.quantity, part.expires_at)),
                }
            }
            for put in self.draft.puts.iter().filter(|put| put.license == license && put.merges_into.is_none()) {
                touched = true;
                after.push((put.quantity, put.expires_at));
            }
            if !touched {
                continue;
            }
            let seats = after.iter().fold(0, |sum: u32, (seats, _)| sum.saturating_add(*seats));
            let end = after.iter().fold(None, |end, (_, own)| earlier(end, *own));
            let what = match (before, after.is_empty()) {
                (false, true) => continue,
                (true, true) => What::Withdraw,
                (true, false) => What::Replace(entry::entry(&sold.item, seats, end)?),
                (false, false) => What::Add(entry::entry(&sold.item, seats, end)?),
            };
            let place = match what {
                What::Withdraw => 0,
                What::Replace(_) => 1,
                What::Add(_) => 2,
            };
            all[place].push(Change { license, what });
        }
        Ok(all.into_iter().flatten().collect())
    }
}

/// The plans that hold a part and have issued nothing yet.
pub fn holding(part: &Allocation) -> impl Iterator<Item = ActivationId> + use<> {
    let putting = (part.state == AllocationState::Reserved).then_some(part.activation);
    putting.into_iter().chain(part.planned.map(|planned| planned.by))
}

/// What becomes of a part when these plans end with nothing issued.
fn give_way(part: &mut Allocation, plans: &BTreeSet<ActivationId>) {
    if part.state == AllocationState::Reserved && plans.contains(&part.activation) {
        part.state = AllocationState::Ended;
    }
    if part.planned.is_some_and(|planned| plans.contains(&planned.by)) {
        part.planned = None;
    }
}

pub(super) fn busy(license: LicenseId) -> Problem {
    Problem::new(
        ErrorCode::Conflict,
        format!("the license {license} is being changed in this container by somebody else right now"),
        "try again in a few minutes",
    )
}
