//! The technical end of licenses moves.

use std::collections::BTreeSet;

use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::LicenseId,
};

use super::{Board, Mark, earlier};
use crate::domain::{
    allocation::Intent,
    choice,
    license::{Allocation, Planned},
    renewal,
};

impl Board<'_> {
    /// Draws that licenses get a later end, in the container of the board or, with none, in the first that has some.
    ///
    /// # Errors
    /// A [`Problem`] when none of them is to be renewed.
    pub fn renew(&mut self, licenses: &[LicenseId]) -> Result<(), Problem> {
        let mut places = BTreeSet::new();
        for license in licenses {
            let at = self.place_of(*license)?;
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
        self.draft.container.clone_from(&here);
        if let Some((_, serial)) = places.iter().find(|(container, _)| *container == here) {
            self.draft.serial.clone_from(serial);
        }
        let mut refusal = None;
        for license in licenses {
            match self.renew_one(*license) {
                Ok(()) => {}
                Err(problem) if problem.code == ErrorCode::Conflict => return Err(problem),
                // The others go on.
                Err(problem) => refusal = refusal.or(Some(problem)),
            }
        }
        if self.draft.marks.is_empty() {
            return Err(refusal.unwrap_or_else(|| {
                Problem::new(ErrorCode::InvalidArgument, "a renewal names no license", "name a license")
            }));
        }
        self.draft.others = places.into_iter().filter(|(container, _)| *container != here).collect();
        Ok(())
    }

    fn renew_one(&mut self, license: LicenseId) -> Result<(), Problem> {
        let at = self.place_of(license)?;
        let sold = &self.sold[at].license;
        choice::in_trade(sold)?;
        self.undisturbed(at)?;
        let parts: Vec<&Allocation> = self.parts_here(at).filter(|part| part.state.is_issued()).collect();
        let current = parts.iter().filter_map(|part| part.expires_at).min().ok_or_else(|| {
            Problem::new(
                ErrorCode::WrongState,
                format!("the license {license} has no end in this container that could be moved"),
                "nothing is left to do",
            )
        })?;
        let next = renewal::next_end(&sold.policy, sold.renewal_cancelled_at, current, self.situation.now)?;
        let own = earlier(Some(next), self.sold[at].item.options().expiration_time);
        let marks: Vec<Mark> = parts
            .iter()
            .map(|part| {
                let end = earlier(own, part.loan.as_ref().map(|loan| loan.until));
                let planned =
                    Planned { by: self.situation.activation, intent: Intent::Renewed, seats: part.quantity, end };
                Mark { part: part.id, planned, merges_into: None }
            })
            .collect();
        if marks.iter().all(|mark| mark.planned.end <= Some(current)) {
            return Err(Problem::new(
                ErrorCode::WrongState,
                format!("the license {license} ends for good, or goes back to its lender, and is not renewed beyond"),
                "nothing is left to do",
            ));
        }
        self.draft.marks.extend(marks);
        Ok(())
    }
}
