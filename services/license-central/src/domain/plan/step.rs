//! The steps of a plan after it was drawn: its update was issued, its container proved it.

use std::collections::BTreeMap;

use lictor_clock::Timestamp;
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::ActivationId,
};

use super::{Fresh, earlier, transfer::moves_after};
use crate::domain::{
    allocation::{AllocationState, Intent, WrongStep},
    license::{Allocation, License, Loan},
    subscription,
    transfer::Transfer,
};

/// One thing that happened to a license in one container; words and numbers as the history takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What happened.
    pub what: &'static str,
    /// SHA-256 of the container's device key, hex.
    pub container: String,
    /// Its serial.
    pub serial: String,
    /// Seats that the container holds after it.
    pub quantity: u32,
    /// When the entry ends by date after it.
    pub expires_at: Option<Timestamp>,
    /// One sentence; may be empty.
    pub why: String,
}

/// What a step did to a license, beside what it changed in it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What happened, in this order.
    pub facts: Vec<Fact>,
    /// The vendor took the license back with this step.
    pub withdrawn: bool,
    /// The end of the entry was moved to this date.
    pub renewed: Option<Timestamp>,
    /// Seats wait for their new container.
    pub waits: bool,
}

/// What a step works with.
#[derive(Debug)]
pub struct Stepping<'a> {
    /// The activation whose plan makes it.
    pub by: ActivationId,
    /// The time.
    pub now: Timestamp,
    /// The transfer that the plan is the first leg of.
    pub departs: Option<&'a Transfer>,
    /// Ids for new parts.
    pub fresh: Fresh<'a>,
}

impl Stepping<'_> {
    /// The update was issued: what comes in is collected, what leaves is returning.
    ///
    /// # Errors
    /// [`WrongStep`] when a part was taken away meanwhile: then nothing may be issued for it.
    pub fn commit(&mut self, license: &mut License) -> Result<Outcome, WrongStep> {
        let mut outcome = Outcome::default();
        let mut touched: BTreeMap<String, Touch> = BTreeMap::new();
        let mut split = Vec::new();
        for part in &mut license.allocations {
            if part.activation == self.by && part.state == AllocationState::Reserved {
                if let Some(carrier) = part.merges_into {
                    // Its days went on to another license of the same plan: it never gets in.
                    part.state = part.state.release()?;
                    license.merged_into = Some(carrier);
                    outcome.facts.push(merged(part, &carrier.to_string()));
                    continue;
                }
                part.state = part.state.commit()?;
                if part.subscription.is_some() {
                    license.remaining = None;
                }
                if is_doomed(part) {
                    part.state = part.state.lose()?;
                    outcome.facts.push(super::lost::lost(part));
                } else {
                    touch(&mut touched, part).comes_in = true;
                }
            }
            let Some(planned) = part.planned.filter(|planned| planned.by == self.by) else { continue };
            part.planned = None;
            if part.state == AllocationState::Lost && planned.intent != Intent::WrittenOff {
                // The container was blocked while this was being issued: nobody will see what became of it there.
                match planned.intent {
                    Intent::Renewed => part.expires_at = planned.end,
                    Intent::Withdrawn => {
                        part.state = part.state.write_off()?;
                        part.withdrawn = Some((self.by, Intent::Withdrawn));
                        outcome.withdrawn |= license.withdrawn_at.is_none();
                        license.withdrawn_at = license.withdrawn_at.or(Some(self.now));
                    }
                    Intent::Merged => {
                        part.state = part.state.write_off()?;
                        license.merged_into = part.merges_into;
                    }
                    _ => {}
                }
                continue;
            }
            match planned.intent {
                Intent::Renewed => {
                    part.expires_at = planned.end;
                    outcome.renewed = outcome.renewed.max(planned.end);
                    touch(&mut touched, part).renewed = true;
                }
                Intent::Arrived => {
                    part.state = part.state.commit()?;
                    part.activation = self.by;
                    part.expires_at = planned.end;
                    if part.subscription.is_some() {
                        license.remaining = None;
                    }
                    if is_doomed(part) {
                        part.state = part.state.lose()?;
                        outcome.facts.push(super::lost::lost(part));
                        continue;
                    }
                    touch(&mut touched, part).comes_in = true;
                }
                Intent::WrittenOff => {
                    if part.state != AllocationState::Lost {
                        outcome.facts.push(fact_of("written-off", part, "the container was lost and blocked"));
                    }
                    part.state = part.state.write_off()?;
                    part.withdrawn = Some((self.by, Intent::WrittenOff));
                    // One lost container counts once, however many steps it takes to empty it.
                    if license.replaced_for.as_ref() != Some(&part.container) {
                        license.replaced_at = Some(self.now);
                        license.replaced_for = Some(part.container.clone());
                    }
                }
                intent => {
                    if planned.seats < part.quantity {
                        let stays = part.quantity - planned.seats;
                        split.push(Allocation { id: self.fresh.id(), quantity: stays, ..part.clone() });
                        part.quantity = planned.seats;
                    }
                    part.state = part.state.leave()?;
                    part.withdrawn = Some((self.by, intent));
                    touch(&mut touched, part).leaves = true;
                    if intent == Intent::Withdrawn && license.withdrawn_at.is_none() {
                        license.withdrawn_at = Some(self.now);
                        outcome.withdrawn = true;
                    }
                    if let Some(carrier) = part.merges_into.filter(|_| intent == Intent::Merged) {
                        license.merged_into = Some(carrier);
                        outcome.facts.push(merged(part, &carrier.to_string()));
                    }
                }
            }
        }
        license.allocations.extend(split);
        for (container, touch) in touched {
            let (parts, quantity, expires_at) = held(license, &container);
            let what = match touch {
                Touch { comes_in: true, .. } => "issued",
                Touch { renewed: true, .. } => "renewed",
                _ if parts > 0 => "lessened",
                _ => "leaving",
            };
            outcome.facts.push(Fact {
                what,
                container,
                serial: touch.serial,
                quantity,
                expires_at,
                why: String::new(),
            });
        }
        Ok(outcome)
    }

    /// The container proved that it took the update: what came in is confirmed, what left has ended.
    ///
    /// # Errors
    /// A [`Problem`] when nothing was issued, and while the container is being written off as lost: then ask again.
    pub fn confirm(&mut self, license: &mut License) -> Result<Outcome, Problem> {
        let mut outcome = Outcome::default();
        let mut touched: BTreeMap<String, Touch> = BTreeMap::new();
        let (mut seats, mut moves, mut left) = (0_u32, 0, None);
        for part in &mut license.allocations {
            if part.activation == self.by {
                let next = part.state.confirm().map_err(|wrong| wrong_step(&wrong))?;
                if next != part.state {
                    part.state = next;
                    touch(&mut touched, part).comes_in = true;
                }
            }
            let Some((_, intent)) = part.withdrawn.filter(|(by, _)| *by == self.by) else { continue };
            if part.state != AllocationState::Returning {
                continue;
            }
            if intent == Intent::Departed && self.departs.is_none() {
                // Borrowed seats of a lost container: they go back by date, and not by the proof of its replacement.
                continue;
            }
            if part.planned.is_some() {
                return Err(super::board::busy(part.license));
            }
            part.state = part.state.end().map_err(|wrong| wrong_step(&wrong))?;
            let touch = touch(&mut touched, part);
            touch.leaves = true;
            touch.returned = intent == Intent::Returned;
            if part.subscription.is_some()
                && intent != Intent::Merged
                && let Some(end) = part.expires_at
            {
                license.remaining = Some(subscription::remaining(end, self.now));
            }
            if intent == Intent::Departed {
                seats = seats.saturating_add(part.quantity);
                moves = moves.max(part.moves);
                left = Some(part.clone());
            }
        }
        for (container, touch) in touched {
            let (parts, quantity, expires_at) = held(license, &container);
            let what = match touch {
                _ if parts > 0 => "proven",
                Touch { returned: true, .. } => "returned",
                _ => "gone",
            };
            outcome.facts.push(Fact {
                what,
                container,
                serial: touch.serial,
                quantity,
                expires_at,
                why: String::new(),
            });
        }
        if let (Some(part), Some(transfer)) = (left, self.departs)
            && license.over().is_none()
        {
            outcome.waits = true;
            license.allocations.push(Allocation {
                id: self.fresh.id(),
                // The activation that brought it here may be confirmed later than this one, and has no say in it.
                activation: self.by,
                withdrawn: None,
                container: transfer.to_container.clone(),
                serial: transfer.to_serial.clone(),
                quantity: seats,
                state: AllocationState::Awaited,
                expires_at: None,
                transfer: Some(transfer.id),
                loan: transfer.lend_until.map(|until| Loan { until, lender: transfer.from_serial.clone() }),
                moves: moves_after(moves, transfer),
                replaces: None,
                ..part
            });
        }
        Ok(outcome)
    }
}

struct Touch {
    serial: String,
    comes_in: bool,
    renewed: bool,
    leaves: bool,
    returned: bool,
}

fn touch<'a>(touched: &'a mut BTreeMap<String, Touch>, part: &Allocation) -> &'a mut Touch {
    touched.entry(part.container.clone()).or_insert_with(|| Touch {
        serial: part.serial.clone(),
        comes_in: false,
        renewed: false,
        leaves: false,
        returned: false,
    })
}

/// Parts, seats and end of what a container holds of a license once everything issued has arrived.
fn held(license: &License, container: &str) -> (usize, u32, Option<Timestamp>) {
    let parts = license.allocations.iter().filter(|part| part.container == container && part.state.is_issued());
    parts.fold((0, 0, None), |(parts, seats, end): (usize, u32, _), part| {
        (parts + 1, seats.saturating_add(part.quantity), earlier(end, part.expires_at))
    })
}

fn merged(part: &Allocation, carrier: &str) -> Fact {
    Fact {
        what: "merged",
        container: part.container.clone(),
        serial: part.serial.clone(),
        quantity: 0,
        expires_at: None,
        why: format!("its days were added to {carrier}"),
    }
}

/// What the history says of one part.
pub(super) fn fact_of(what: &'static str, part: &Allocation, why: &str) -> Fact {
    Fact {
        what,
        container: part.container.clone(),
        serial: part.serial.clone(),
        quantity: part.quantity,
        expires_at: part.expires_at,
        why: why.to_owned(),
    }
}

/// Whether the container that a part is on its way into was lost meanwhile.
fn is_doomed(part: &Allocation) -> bool {
    matches!(part.withdrawn, Some((_, Intent::WrittenOff)))
}

fn wrong_step(wrong: &WrongStep) -> Problem {
    Problem::new(ErrorCode::WrongState, wrong.to_string(), "ask where the license lies")
}
