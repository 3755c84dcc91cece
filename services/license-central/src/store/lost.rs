//! A container was lost and blocked while others were about to change it.

use std::collections::BTreeSet;

use lictor_clock::Timestamp;
use lictor_licensing::{error::ErrorCode, error::Problem, id::ActivationId};
use lictor_storage::Tx;

use super::{
    license,
    reservation::{self, Reservation},
    transfer,
};
use crate::{
    domain::{
        allocation::{AllocationState, Intent},
        license::License,
        plan::{holding, lose_awaited},
        reservation::ReservationState,
    },
    events::Moment,
    failure::Failure,
};

/// Lets plans go that have issued nothing for containers that are being written off: the issuer refuses them from now on.
/// Other replacements of them go on.
pub(super) async fn end_those_without_issue(
    tx: &mut Tx,
    licenses: &mut Vec<License>,
    containers: &BTreeSet<String>,
    activation: ActivationId,
    now: Timestamp,
) -> Result<(), Failure> {
    let replaces = |part: &&crate::domain::license::Allocation| {
        part.planned.is_some_and(|planned| planned.intent == Intent::WrittenOff)
    };
    let parts = licenses.iter().flat_map(|license| &license.allocations);
    let there = parts.filter(|part| containers.contains(&part.container) && !replaces(part));
    let others: Vec<ActivationId> = there.flat_map(holding).filter(|by| *by != activation).collect();
    let mut gone = false;
    for (by, holder) in reservation::holders(tx.conn(), others.into_iter()).await? {
        if holder.state == ReservationState::Reserved {
            reservation::give_way(tx, by, "its container was lost and blocked", now).await?;
            gone = true;
        }
    }
    if gone {
        *licenses = reservation::locked(tx, license::LOST_WITH_ACTIVATION, activation).await?;
    }
    Ok(())
}

/// Whether an activation takes seats out of a container that was lost meanwhile.
pub(super) fn departs_from(licenses: &[License], activation: ActivationId) -> bool {
    licenses.iter().flat_map(|license| &license.allocations).any(|part| {
        part.state == AllocationState::Lost
            && part.planned.is_some_and(|planned| planned.by == activation && planned.intent == Intent::Departed)
    })
}

/// Seats that were being carried into a container when it was blocked, and were refused there, are lost with it.
pub(super) async fn lose_what_waits(
    tx: &mut Tx,
    mut before: Vec<License>,
    reservation: &Reservation,
    moment: &Moment,
) -> Result<(), Failure> {
    for part in before.iter_mut().flat_map(|license| &mut license.allocations) {
        part.planned = part.planned.filter(|planned| planned.by != reservation.activation);
    }
    let mut after = before.clone();
    let mut outcomes = Vec::with_capacity(after.len());
    for license in &mut after {
        let outcome = lose_awaited(license);
        outcomes.push(outcome.map_err(|wrong| Problem::new(ErrorCode::WrongState, wrong.to_string(), "ask support"))?);
    }
    if after == before {
        return Ok(());
    }
    let ended = transfer::end_lost(tx, &before, &after, moment.now).await?;
    Ok(reservation::write(tx, reservation, (&before, &mut after), &outcomes, &ended, 0, moment).await?)
}
