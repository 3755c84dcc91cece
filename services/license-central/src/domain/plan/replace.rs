//! A container was lost: what it held of a ticket goes into another one, and no proof from the old one counts any more.

use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::TicketId,
};

use super::{Board, Mark};
use crate::domain::{
    allocation::{AllocationState, Intent},
    license::{Allocation, Planned},
};

impl Board<'_> {
    /// Draws that the licenses of a ticket leave a lost container and go into this one, by the rule of each.
    ///
    /// # Errors
    /// A [`Problem`] when nothing of the ticket lies there, or a rule forbids it.
    pub fn replace(&mut self, ticket: TicketId, lost_serial: &str, by_hand: bool) -> Result<(), Problem> {
        if self.situation.place.serial == lost_serial {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                "the lost container and the new one are the same",
                "name the serial of the container that was lost",
            ));
        }
        let concerned: Vec<usize> = (0..self.sold.len())
            .filter(|at| {
                let license = &self.sold[*at].license;
                license.ticket == ticket
                    && license.over().is_none()
                    && license.allocations.iter().any(|part| is_lost(part, lost_serial))
            })
            .collect();
        if concerned.is_empty() {
            return Err(Problem::new(
                ErrorCode::WrongState,
                format!("container {lost_serial} holds nothing of this ticket"),
                "check the serial of the lost container",
            ));
        }
        for at in concerned {
            self.replace_one(at, lost_serial, by_hand)?;
        }
        self.draft.block_serial = lost_serial.to_owned();
        Ok(())
    }

    fn replace_one(&mut self, at: usize, lost_serial: &str, by_hand: bool) -> Result<(), Problem> {
        let license = &self.sold[at].license;
        let id = license.id;
        // One lost container counts once, however many steps it takes to empty it.
        let counted = |part: &Allocation| license.replaced_for.as_ref() == Some(&part.container);
        let again = license.allocations.iter().filter(|part| is_lost(part, lost_serial)).all(counted);
        let last = license.replaced_at.filter(|_| !again);
        license.policy.replacement.allows(last, by_hand, self.situation.now)?;
        self.undisturbed(at)?;
        self.may_live_here(at)?;
        let lost: Vec<Allocation> =
            license.allocations.iter().filter(|part| is_lost(part, lost_serial)).cloned().collect();
        let own = self.situation.activation;
        let there = |part: &&Allocation| part.serial == lost_serial && !part.state.is_over();
        if license.allocations.iter().filter(there).any(|part| super::board::holding(part).any(|by| by != own)) {
            return Err(super::board::busy(id));
        }
        for part in lost {
            if part.container == self.situation.place.id {
                return Err(Problem::new(
                    ErrorCode::InvalidArgument,
                    "the lost container and the new one are the same",
                    "name the serial of the container that was lost",
                ));
            }
            let end = match part.expires_at {
                // Days that run go on running: what is left of them joins what runs here.
                Some(end) if part.subscription.is_some() => {
                    Some(self.join(at, part.quantity, Some(end.since(self.situation.now)))?)
                }
                end => end,
            };
            let put = self.part(at, part.quantity, end);
            self.draft.puts.push(Allocation {
                transfer: part.transfer,
                loan: part.loan.clone(),
                moves: part.moves,
                replaces: Some(part.id),
                ..put
            });
            let planned = Planned { by: own, intent: Intent::WrittenOff, seats: part.quantity, end: None };
            self.draft.marks.push(Mark { part: part.id, planned, merges_into: None });
        }
        Ok(())
    }
}

/// Whether a part goes along: the container may hold it, and it is not on its way out for good.
fn is_lost(part: &Allocation, lost_serial: &str) -> bool {
    let for_good =
        matches!(part.withdrawn, Some((_, Intent::Withdrawn | Intent::Merged | Intent::Cleared | Intent::WrittenOff)));
    part.serial == lost_serial
        && part.state.may_be_in_container()
        && !(part.state == AllocationState::Returning && for_good)
}
