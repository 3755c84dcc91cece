//! Both legs of a transfer: seats leave here, or come in from where they left.

use lictor_clock::Timestamp;
use lictor_licensing::{
    binding,
    error::{ErrorCode, Problem},
};

use super::{Board, Departure, Mark, Place, Sold, earlier, leave};
use crate::domain::{
    allocation::{AllocationState, Intent},
    license::{Allocation, Loan, Planned},
    renewal,
    transfer::{CLOCK_TOLERANCE, Transfer, TransferState},
};

impl Board<'_> {
    /// Draws that seats leave this container for `target`; `given_back` is the loan that ends by it.
    ///
    /// # Errors
    /// A [`Problem`] when the license does not allow it, or the seats are not here.
    pub fn depart(
        &mut self,
        departure: &Departure,
        target: &Place,
        given_back: Option<&Transfer>,
    ) -> Result<(), Problem> {
        let at = self.place_of(departure.pick.license)?;
        if departure.ticket.is_some_and(|ticket| self.sold[at].license.ticket != ticket) {
            return Err(Problem::new(
                ErrorCode::NotFound,
                format!("the ticket has no license {}", departure.pick.license),
                "ask what is on the ticket",
            ));
        }
        if target.id == self.situation.place.id {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                "the seats would leave for the container that they lie in",
                "name another container",
            ));
        }
        let own = |part: &Allocation| match given_back {
            Some(loan) => part.transfer == Some(loan.id),
            None => part.loan.is_none(),
        };
        let seats = self.own_seats_here(at, departure.pick.quantity, own)?;
        let moves = self.parts_here(at).filter(|part| own(part)).map(|part| part.moves).max().unwrap_or_default();
        if given_back.is_none() {
            self.may_move(at, moves, departure.lend_until, target)?;
        }
        self.mark(at, departure.pick.quantity, Intent::Departed, None, own);
        self.draft.begins = Some(Transfer {
            id: departure.transfer,
            firm: self.sold[at].license.firm,
            license: departure.pick.license,
            quantity: seats,
            from_container: self.situation.place.id.clone(),
            from_serial: self.situation.place.serial.clone(),
            to_container: target.id.clone(),
            to_serial: target.serial.clone(),
            to_kind: target.kind,
            lend_until: departure.lend_until,
            returns: departure.returns,
            gone_by: given_back.and_then(|loan| loan.lend_until).map(|end| end.saturating_add(CLOCK_TOLERANCE)),
            state: TransferState::Departing,
            depart_by: self.situation.activation,
            arrive_by: None,
            created_at: self.situation.now,
        });
        Ok(())
    }

    fn may_move(&self, at: usize, moves: u32, until: Option<Timestamp>, target: &Place) -> Result<(), Problem> {
        let sold = &self.sold[at];
        let rule = sold
            .item
            .options()
            .transfer
            .filter(|rule| rule.may_move)
            .ok_or_else(|| leave::forbids(sold, "moved", "ask the vendor to take it back and sell it anew"))?;
        leave::nothing_used_up(sold, "moved")?;
        if rule.depth != 0 && moves >= u32::from(rule.depth) {
            let verb = format!("moved on: it was moved {moves} times in a row, and {} are allowed", rule.depth);
            return Err(leave::forbids(sold, &verb, "ask the vendor"));
        }
        let kind = target.kind.ok_or_else(|| {
            Problem::new(ErrorCode::InvalidArgument, "the kind of the new container is missing", "name it")
        })?;
        binding::may_live(sold.item.bindings(), kind, target.virtual_machine).map_err(|forbidden| {
            Problem::new(
                ErrorCode::BindingForbidden,
                format!("{} of {}: {forbidden}", sold.license.id, sold.license.item),
                "use a container of a kind that the license allows, or ask the vendor for another binding",
            )
        })?;
        if let Some(until) = until {
            self.may_be_lent(sold, until)?;
        }
        let loan = until.map(|until| Loan { until, lender: self.situation.place.serial.clone() });
        let there = |part: &&Allocation| {
            part.container == target.id && !part.state.is_over() && part.state != AllocationState::Returning
        };
        match sold.license.allocations.iter().filter(there).find(|part| !part.same_terms(loan.as_ref())) {
            None => Ok(()),
            Some(part) => Err(Problem::new(
                ErrorCode::LicenseForbids,
                format!("container {} has seats of the license {} on other terms", part.serial, part.license),
                "lent seats and own seats of one license never lie in one container: use another one",
            )),
        }
    }

    fn may_be_lent(&self, sold: &Sold, until: Timestamp) -> Result<(), Problem> {
        if until <= self.situation.now || until >= Timestamp::MAX.saturating_sub(CLOCK_TOLERANCE) {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                "a loan ends after now and before the year 9999",
                "name a later date, or none for a move for good",
            ));
        }
        if sold.item.options().subscription.is_some() {
            return Err(leave::forbids(sold, "lent: its days run in one container", "move it for good"));
        }
        if sold.item.parts().any(|part| sold.item.native(part).activation_time.is_some_and(|from| from >= until)) {
            return Err(leave::forbids(sold, "lent until a date before it becomes active", "name a later date"));
        }
        Ok(())
    }

    /// Draws that the seats of a transfer come in here.
    ///
    /// # Errors
    /// A [`Problem`] when they have not left yet, or came in already.
    pub fn arrive(&mut self, transfer: &Transfer) -> Result<(), Problem> {
        let at = self.place_of(transfer.license)?;
        self.undisturbed(at)?;
        if transfer.to_container != self.situation.place.id {
            return Err(Problem::new(
                ErrorCode::InvalidArgument,
                format!("the transfer goes to container {}", transfer.to_serial),
                "ask for the transfer to see where it goes",
            ));
        }
        let awaited = |part: &&Allocation| part.state == AllocationState::Awaited && part.transfer == Some(transfer.id);
        let waiting = self.parts_here(at).find(awaited).map(|part| (part.id, part.quantity));
        if let Some((id, seats)) = waiting {
            let end = self.end_of_arrival(at, seats, transfer.lend_until)?;
            let planned = self.coming_in(seats, end);
            self.draft.marks.push(Mark { part: id, planned, merges_into: None });
            return Ok(());
        }
        if !transfer.is_gone_by_date(self.situation.now) {
            return Err(not_to_arrive(transfer));
        }
        self.arrive_by_date(at, transfer)
    }

    /// A loan is over by more than any clock is wrong: its seats come back, whether the borrower proves it or not.
    fn arrive_by_date(&mut self, at: usize, transfer: &Transfer) -> Result<(), Problem> {
        let left: Vec<&Allocation> = self.sold[at]
            .license
            .allocations
            .iter()
            .filter(|part| {
                part.state == AllocationState::Returning
                    && part.withdrawn == Some((transfer.depart_by, Intent::Departed))
            })
            .collect();
        if left.is_empty() {
            return Err(not_to_arrive(transfer));
        }
        if left.iter().any(|part| part.planned.is_some()) {
            return Err(super::board::busy(transfer.license));
        }
        let moves = left.iter().map(|part| part.moves).max().unwrap_or_default();
        self.draft.gone = left.iter().map(|part| part.id).collect();
        let end = self.end_of_arrival(at, transfer.quantity, transfer.lend_until)?;
        let part = self.part(at, transfer.quantity, end);
        self.draft.puts.push(Allocation {
            // As if it had waited: it goes on waiting when this plan ends with nothing issued.
            state: AllocationState::Awaited,
            planned: Some(self.coming_in(transfer.quantity, end)),
            transfer: Some(transfer.id),
            moves: moves_after(moves, transfer),
            ..part
        });
        Ok(())
    }

    fn coming_in(&self, seats: u32, end: Option<Timestamp>) -> Planned {
        Planned { by: self.situation.activation, intent: Intent::Arrived, seats, end }
    }

    fn end_of_arrival(
        &mut self,
        at: usize,
        seats: u32,
        lend_until: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, Problem> {
        let own = if self.sold[at].item.options().subscription.is_some() {
            let remaining = self.sold[at].license.remaining;
            Some(self.join(at, seats, remaining)?)
        } else {
            let license = &self.sold[at].license;
            let first = || renewal::first_end(&license.policy, license.renewal_cancelled_at, self.situation.now);
            // The end of a loan is none of own seats, which may meet it here when both were on their way at once.
            let own = |part: &&Allocation| part.state.is_issued() && part.loan.is_none();
            let joined = self.parts_here(at).filter(|_| lend_until.is_none()).find(own);
            joined.map_or_else(first, |part| part.expires_at)
        };
        Ok(earlier(earlier(own, lend_until), self.sold[at].item.options().expiration_time))
    }
}

/// How many times in a row seats were moved once this transfer has arrived: what was lent and comes back never was.
pub(super) fn moves_after(moves: u32, transfer: &Transfer) -> u32 {
    if transfer.returns.is_some() { moves.saturating_sub(1) } else { moves.saturating_add(1) }
}

fn not_to_arrive(transfer: &Transfer) -> Problem {
    let refused = |text: &str, next: &str| Problem::new(ErrorCode::WrongState, text, next);
    match transfer.state {
        TransferState::Departing => refused(
            "the seats have not left their old container yet",
            "import the pending update of the old container and send its receipt",
        ),
        TransferState::Departed | TransferState::Arriving => Problem::new(
            ErrorCode::Conflict,
            "the seats are being carried in by another activation right now",
            "try again in a few minutes",
        ),
        TransferState::Arrived => refused("the transfer is done", "nothing is left to do"),
        TransferState::CalledOff => refused("the transfer was called off", "begin another one"),
    }
}
