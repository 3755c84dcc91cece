//! What comes out for good, or back to the vendor.

use std::collections::BTreeSet;

use lictor_licensing::{
    ProductItem,
    error::{ErrorCode, Problem},
    id::{LicenseId, TicketId},
};

use super::{Board, OnItsWay, Pick, Sold};
use crate::domain::{
    allocation::{AllocationState, Intent},
    choice,
    license::Allocation,
};

impl Board<'_> {
    /// Draws that the vendor takes licenses back, wherever they lie. This plan covers the container of the board; with
    /// none, the first that holds some of it.
    ///
    /// # Errors
    /// A [`Problem`] while one of them is being issued, or when a license is unknown.
    pub fn withdraw(&mut self, licenses: &[LicenseId]) -> Result<(), Problem> {
        let mut places = BTreeSet::new();
        for license in licenses {
            let at = self.place_of(*license)?;
            self.not_being_issued(at)?;
            if self.sold[at].license.withdrawn_at.is_none() {
                self.draft.withdrawn.push(*license);
            }
            for part in self.sold[at].license.allocations.iter().filter(|part| part.state.is_issued()) {
                places.insert((part.container.clone(), part.serial.clone()));
            }
        }
        if self.situation.place.id.is_empty()
            && let Some((container, serial)) = places.first()
        {
            self.situation.place.id.clone_from(container);
            self.situation.place.serial.clone_from(serial);
        }
        let here = self.situation.place.id.clone();
        if let Some((_, serial)) = places.iter().find(|(container, _)| *container == here) {
            self.draft.container.clone_from(&here);
            self.draft.serial.clone_from(serial);
        }
        for license in licenses {
            let at = self.place_of(*license)?;
            self.mark(at, 0, Intent::Withdrawn, None, |_| true);
            self.point_to_what_leaves(at, |_| true);
        }
        self.draft.others = places.into_iter().filter(|(container, _)| *container != here).collect();
        Ok(())
    }

    /// Draws that the vendor takes a license back that lies in this container alone.
    pub(super) fn take_back_here(&mut self, license: LicenseId) -> Result<(), Problem> {
        let at = self.place_of(license)?;
        self.not_being_issued(at)?;
        let here = self.situation.place.id.clone();
        let sold = &self.sold[at].license;
        let held = |part: &&Allocation| part.state.may_be_in_container() && part.state != AllocationState::Lost;
        if let Some(part) = sold.allocations.iter().filter(held).find(|part| part.container != here) {
            return Err(Problem::new(
                ErrorCode::WrongState,
                format!("the license {license} lies in container {}", part.serial),
                "push to that container, or withdraw the license by itself",
            ));
        }
        if !sold.allocations.iter().any(|part| held(&part)) {
            return Err(Problem::new(
                ErrorCode::WrongState,
                format!("the license {license} lies in no container: it is {}", sold.state()),
                "withdraw it by itself",
            ));
        }
        self.mark(at, 0, Intent::Withdrawn, None, |_| true);
        self.point_to_what_leaves(at, |part| part.container == here);
        Ok(())
    }

    /// Draws that the customer gives licenses of a ticket back.
    ///
    /// # Errors
    /// A [`Problem`] when one may not be given back, does not lie here, or nothing of the ticket does.
    pub fn give_back(&mut self, ticket: TicketId, picks: &[Pick]) -> Result<(), Problem> {
        let all: Vec<Pick> = self
            .sold
            .iter()
            .filter(|sold| sold.license.ticket == ticket)
            .map(|sold| Pick { license: sold.license.id, quantity: 0 })
            .collect();
        if let Some(foreign) = picks.iter().find(|pick| all.iter().all(|own| own.license != pick.license)) {
            return Err(Problem::new(
                ErrorCode::NotFound,
                format!("the ticket has no license {}", foreign.license),
                "ask what is on the ticket",
            ));
        }
        let mut refusal = None;
        for pick in if picks.is_empty() { &all } else { picks } {
            match self.give_one_back(*pick) {
                Ok(()) => {}
                // Without a wish, what cannot be given back stays.
                Err(problem) if picks.is_empty() && problem.code != ErrorCode::Conflict => {
                    // A rule is a better answer than "it is not there".
                    if refusal.is_none() || problem.code == ErrorCode::LicenseForbids {
                        refusal = Some(problem);
                    }
                }
                Err(problem) => return Err(problem),
            }
        }
        if self.draft.marks.is_empty() {
            return Err(refusal.unwrap_or_else(|| {
                Problem::new(
                    ErrorCode::WrongState,
                    "nothing of this ticket lies in this container",
                    "use another ticket",
                )
            }));
        }
        Ok(())
    }

    fn give_one_back(&mut self, pick: Pick) -> Result<(), Problem> {
        let at = self.place_of(pick.license)?;
        let own = |part: &Allocation| part.loan.is_none();
        self.own_seats_here(at, pick.quantity, own)?;
        let rule = self.sold[at].item.options().transfer;
        if !rule.is_some_and(|rule| rule.may_return) {
            return Err(forbids(&self.sold[at], "given back", "ask the vendor to take it back"));
        }
        nothing_used_up(&self.sold[at], "given back")?;
        self.mark(at, pick.quantity, Intent::Returned, None, own);
        Ok(())
    }

    /// Refuses when the wanted parts of a license here are not so many seats (0: at least one part), or must stay whole.
    pub(super) fn own_seats_here(
        &self,
        at: usize,
        seats: u32,
        wanted: impl Fn(&Allocation) -> bool,
    ) -> Result<u32, Problem> {
        let sold = &self.sold[at];
        let id = sold.license.id;
        choice::in_trade(&sold.license)?;
        self.undisturbed(at)?;
        let parts = || self.parts_here(at).filter(|part| part.state.is_issued() && wanted(part));
        let held = parts().map(|part| part.quantity).fold(0, u32::saturating_add);
        if parts().next().is_none() {
            let leaving = self.parts_here(at).any(|part| part.state == AllocationState::Returning);
            return Err(if leaving {
                Problem::new(
                    ErrorCode::WrongState,
                    format!("the license {id} is being taken out of this container already"),
                    "import the pending update of the container and send its receipt",
                )
            } else {
                Problem::new(
                    ErrorCode::WrongState,
                    format!("the license {id} has no seats of its own in this container"),
                    "ask where it lies",
                )
            });
        }
        if seats > held {
            return Err(Problem::new(
                ErrorCode::QuantityExhausted,
                format!("the license {id} has {held} seats in this container, not {seats}"),
                "name fewer seats",
            ));
        }
        if seats != 0 && seats < held {
            choice::may_be_divided(sold)?;
        }
        Ok(if seats == 0 { held } else { seats })
    }

    /// The vendor's word waits only for a plan whose update is being issued at this moment; others gave way.
    fn not_being_issued(&self, at: usize) -> Result<(), Problem> {
        let own = self.situation.activation;
        let mut parts = self.sold[at].license.allocations.iter().filter(|part| !part.state.is_over());
        if parts.any(|part| super::board::holding(part).any(|by| by != own)) {
            return Err(Problem::new(
                ErrorCode::Conflict,
                "a container is being programmed with the license right now",
                "try again in a moment",
            ));
        }
        Ok(())
    }

    fn point_to_what_leaves(&mut self, at: usize, wanted: impl Fn(&Allocation) -> bool) {
        for part in self.sold[at].license.allocations.iter().filter(|part| wanted(part)) {
            if part.state == AllocationState::Returning
                && let Some((activation, _)) = part.withdrawn
            {
                self.draft.on_their_way.push(OnItsWay {
                    license: part.license,
                    container: part.container.clone(),
                    serial: part.serial.clone(),
                    activation,
                });
            }
        }
    }
}

/// Refuses to carry what counts its use: in another container, or after a return, it would count anew.
pub(super) fn nothing_used_up(sold: &Sold, verb: &str) -> Result<(), Problem> {
    if counts_use(&sold.item) {
        return Err(forbids(
            sold,
            &format!("{verb}, because it counts units or a usage period that stay with the container"),
            "ask the vendor",
        ));
    }
    Ok(())
}

fn counts_use(item: &ProductItem) -> bool {
    item.parts().any(|part| {
        let options = item.native(part);
        options.unit_counter.is_some() || options.usage_period.is_some()
    })
}

pub(super) fn forbids(sold: &Sold, verb: &str, next: &str) -> Problem {
    Problem::new(
        ErrorCode::LicenseForbids,
        format!("the license {} of {} cannot be {verb}", sold.license.id, sold.license.item),
        next,
    )
}
