//! Licenses of a ticket go in; what the vendor takes back comes out in the same segment.

use std::time::Duration;

use lictor_clock::Timestamp;
use lictor_licensing::{
    binding,
    error::{ErrorCode, Problem},
    id::{LicenseId, TicketId},
};

use super::{Board, Mark, Pick, earlier};
use crate::domain::{
    allocation::{AllocationState, Intent},
    choice::{self, Taken},
    license::{Allocation, Planned},
    renewal,
    subscription::{self, Features, Joining, Running},
};

impl Board<'_> {
    /// Draws that licenses of a ticket go in and others come out for good.
    ///
    /// # Errors
    /// A [`Problem`] when something is not free, not there, or may not live in this container.
    pub fn activate(
        &mut self,
        ticket: Option<TicketId>,
        picks: &[Pick],
        withdraw: &[LicenseId],
    ) -> Result<(), Problem> {
        for license in withdraw {
            self.take_back_here(*license)?;
        }
        let Some(ticket) = ticket else { return Ok(()) };
        let on_ticket =
            self.sold.iter().filter(|sold| sold.license.ticket == ticket && !withdraw.contains(&sold.license.id));
        for taken in choice::choose(on_ticket, picks)? {
            self.put_in(taken)?;
        }
        Ok(())
    }

    /// Refuses a license that may not live in this container.
    pub(super) fn may_live_here(&self, at: usize) -> Result<(), Problem> {
        let (sold, place) = (&self.sold[at], &self.situation.place);
        let kind = place.kind.ok_or_else(|| {
            Problem::new(ErrorCode::InvalidArgument, "the kind of the container is missing", "name it")
        })?;
        binding::may_live(sold.item.bindings(), kind, place.virtual_machine).map_err(|forbidden| {
            Problem::new(
                ErrorCode::BindingForbidden,
                format!("{} of {}: {forbidden}", sold.license.id, sold.license.item),
                "use a container of a kind that the license allows, or ask the vendor for another binding",
            )
        })
    }

    fn put_in(&mut self, taken: Taken) -> Result<(), Problem> {
        let at = self.place_of(taken.license)?;
        self.undisturbed(at)?;
        self.same_terms_here(at, None)?;
        self.may_live_here(at)?;
        let license = &self.sold[at].license;
        let end = if self.sold[at].item.options().subscription.is_some() {
            Some(self.join(at, taken.seats, license.remaining)?)
        } else {
            // Seats that join an entry share its end.
            let first = || renewal::first_end(&license.policy, license.renewal_cancelled_at, self.situation.now);
            self.end_here(at).unwrap_or_else(first)
        };
        let put = self.part(at, taken.seats, end);
        self.draft.puts.push(put);
        Ok(())
    }

    /// A new part of a license here, straight from the vendor; it ends at `end` or with its item.
    pub(super) fn part(&mut self, at: usize, seats: u32, end: Option<Timestamp>) -> Allocation {
        let id = self.situation.fresh.id();
        let sold = &self.sold[at];
        let options = sold.item.options();
        Allocation {
            id,
            license: sold.license.id,
            activation: self.situation.activation,
            withdrawn: None,
            planned: None,
            container: self.situation.place.id.clone(),
            serial: self.situation.place.serial.clone(),
            quantity: seats,
            state: AllocationState::Reserved,
            expires_at: earlier(end, options.expiration_time),
            subscription: options.subscription.as_ref().map(|option| option.display_name().to_string()),
            transfer: None,
            loan: None,
            moves: 0,
            replaces: None,
            merges_into: None,
        }
    }

    /// Lets a subscription join what runs here under its name: that comes out, and its days are added. Gives the new end.
    pub(super) fn join(&mut self, at: usize, seats: u32, remaining: Option<Duration>) -> Result<Timestamp, Problem> {
        let option = self.sold[at]
            .item
            .options()
            .subscription
            .clone()
            .ok_or_else(|| Problem::new(ErrorCode::Internal, "license-central failed", "look into its log"))?;
        let present = self.running(option.display_name().as_str(), at)?;
        let license = self.sold[at].license.id;
        let joining = Joining {
            license,
            subscription: &option,
            features: Features::of(&self.sold[at].item),
            quantity: seats,
            remaining,
        };
        let joined = subscription::join(&joining, &present, self.situation.now)?;
        if let Some(merged) = joined.merges {
            match self.draft.puts.iter_mut().find(|put| put.license == merged) {
                Some(put) => put.merges_into = Some(license),
                None => self.take_out(merged, Intent::Merged, Some(license))?,
            }
        }
        for leftover in joined.leftovers {
            self.take_out(leftover, Intent::Cleared, None)?;
        }
        Ok(joined.ends_at)
    }

    /// What lies here, or is put in by this plan, under the display name of a subscription.
    fn running(&self, name: &str, joining: usize) -> Result<Vec<Running>, Problem> {
        let marked = |part: &Allocation| self.draft.marks.iter().any(|mark| mark.part == part.id);
        let mut present = Vec::new();
        for (at, sold) in self.sold.iter().enumerate() {
            let named = |part: &&Allocation| part.subscription.as_deref() == Some(name);
            if self.parts_here(at).any(|part| named(&part)) && at != joining {
                self.undisturbed(at)?;
            }
            let issued = self.parts_here(at).filter(|part| part.state.is_issued() && !marked(part));
            let put = self.draft.puts.iter().filter(|put| put.license == sold.license.id && put.merges_into.is_none());
            for part in issued.chain(put).filter(named) {
                present.push(Running {
                    license: part.license,
                    features: Features::of(&sold.item),
                    quantity: part.quantity,
                    ends_at: part.expires_at.unwrap_or(Timestamp::MAX),
                });
            }
        }
        Ok(present)
    }

    /// Marks all that a license has here as coming out.
    fn take_out(&mut self, license: LicenseId, intent: Intent, into: Option<LicenseId>) -> Result<(), Problem> {
        let at = self.place_of(license)?;
        let marked = self.mark(at, 0, intent, None, |_| true);
        for mark in self.draft.marks.iter_mut().filter(|mark| marked.contains(&mark.part)) {
            *mark = Mark { merges_into: into, planned: Planned { ..mark.planned }, ..mark.clone() };
        }
        Ok(())
    }
}
