//! A container was lost and blocked: what else lay in it is lost with it, whatever ticket it came from.

use std::collections::BTreeSet;

use super::{Fact, Outcome, Stepping, step::fact_of};
use crate::domain::{
    allocation::{AllocationState, Intent, WrongStep},
    license::{Allocation, License},
    subscription,
};

/// Borrowed seats in a lost container: they go back to their lender when the loan is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoesBack {
    /// The part, as it was.
    pub part: Allocation,
}

/// The containers that a plan writes off as lost.
#[must_use]
pub fn written_off_by(licenses: &[License], by: lictor_licensing::id::ActivationId) -> BTreeSet<String> {
    let parts = licenses.iter().flat_map(|license| &license.allocations);
    parts
        .filter(|part| part.planned.is_some_and(|planned| planned.by == by && planned.intent == Intent::WrittenOff))
        .map(|part| part.container.clone())
        .collect()
}

impl Stepping<'_> {
    /// What the plan itself did not carry over from the blocked containers is lost there. Gives the borrowed seats.
    ///
    /// # Errors
    /// [`WrongStep`] never, unless a state is unknown to this rule.
    pub fn lose(
        &self,
        license: &mut License,
        containers: &BTreeSet<String>,
        outcome: &mut Outcome,
    ) -> Result<Vec<GoesBack>, WrongStep> {
        let mut back = Vec::new();
        let over = license.over().is_some();
        for part in &mut license.allocations {
            if part.activation == self.by || part.state.is_over() || !containers.contains(&part.container) {
                continue;
            }
            let before = part.clone();
            let going = part.planned.map(|planned| planned.intent);
            match (part.state, part.withdrawn) {
                (AllocationState::Lost, _) => continue,
                // An update that carries it may be on its way: it is lost when it was issued, and never was when it was not.
                (AllocationState::Reserved, _) => {
                    part.withdrawn = Some((self.by, Intent::WrittenOff));
                    continue;
                }
                // Its way back to its lender needs no proof, but time.
                (AllocationState::Returning, Some((_, Intent::Departed))) if part.loan.is_some() && !over => continue,
                (AllocationState::Returning, Some((_, how)))
                    if over || matches!(how, Intent::Withdrawn | Intent::Merged | Intent::Cleared) =>
                {
                    if how == Intent::Cleared
                        && part.subscription.is_some()
                        && let Some(end) = part.expires_at
                    {
                        license.remaining = Some(subscription::remaining(end, self.now));
                    }
                    write_off(part)?;
                }
                (AllocationState::Awaited, _) if part.planned.is_some() => {
                    part.withdrawn = Some((self.by, Intent::WrittenOff));
                    continue;
                }
                (state, _) if over && state.may_be_in_container() => write_off(part)?,
                _ if part.loan.is_some() && going == Some(Intent::Departed) => continue,
                _ if part.loan.is_some() && going != Some(Intent::Withdrawn) => {
                    part.state = AllocationState::Returning;
                    part.withdrawn = Some((self.by, Intent::Departed));
                    part.planned = part.planned.filter(|planned| planned.intent == Intent::WrittenOff);
                    back.push(GoesBack { part: before.clone() });
                }
                _ => {
                    part.state = part.state.lose()?;
                    part.withdrawn = Some((self.by, Intent::WrittenOff));
                }
            }
            outcome.facts.push(lost(&before));
        }
        Ok(back)
    }
}

/// Seats that were refused by the container that they were carried into, because it was lost meanwhile, are lost.
///
/// # Errors
/// [`WrongStep`] never, unless a state is unknown to this rule.
pub fn lose_awaited(license: &mut License) -> Result<Outcome, WrongStep> {
    let mut outcome = Outcome::default();
    for part in &mut license.allocations {
        if part.state == AllocationState::Awaited && matches!(part.withdrawn, Some((_, Intent::WrittenOff))) {
            part.state = part.state.lose()?;
            outcome.facts.push(lost(part));
        }
    }
    Ok(outcome)
}

/// No seats of it count any more.
fn write_off(part: &mut Allocation) -> Result<(), WrongStep> {
    part.state = part.state.write_off()?;
    part.planned = None;
    Ok(())
}

/// What the history says of a part that is lost with its container.
pub(super) fn lost(part: &Allocation) -> Fact {
    fact_of("written-off", part, "the container was lost and blocked, and with it all that lay in it")
}
