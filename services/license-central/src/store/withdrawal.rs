//! The vendor's word that takes licenses back: what shows of it at once, and how it is called off.

use lictor_licensing::{
    error::ErrorCode,
    id::{ActivationId, LicenseId},
};
use lictor_storage::{StorageError, Tx, outbox, sqlx};

use super::{
    history::{self, Note},
    license,
    plan::{end_parts, holders},
    reservation, transfer,
};
use crate::{
    domain::{
        allocation::{AllocationState, Intent},
        license::License,
        plan::{Draft, PlanRequest, Purpose, Sold},
        reservation::ReservationState,
    },
    events::Moment,
    failure::Failure,
    ids,
};

/// Whether a part needs no update and no proof to end: it lies in no container, or in one that is blocked.
const fn ends_at_once(state: AllocationState) -> bool {
    matches!(state, AllocationState::Awaited | AllocationState::Lost)
}

/// Seats that wait for their new container, or for a replacement of a lost one, end with a license that the vendor takes
/// back.
pub(super) async fn settle_awaited(
    tx: &mut Tx,
    request: &PlanRequest,
    mut sold: Vec<Sold>,
    moment: &Moment,
) -> Result<Vec<Sold>, Failure> {
    let Purpose::Withdraw { licenses, .. } = &request.purpose else {
        return Ok(sold);
    };
    let waits = |one: &Sold| {
        licenses.contains(&one.license.id) && one.license.allocations.iter().any(|part| ends_at_once(part.state))
    };
    if !sold.iter().any(waits) {
        return Ok(sold);
    }
    let holders = holders(tx, &sold).await?;
    let (mut parts, mut lost, mut transfers) = (Vec::new(), Vec::new(), Vec::new());
    for license in sold.iter_mut().map(|one| &mut one.license).filter(|license| licenses.contains(&license.id)) {
        for part in license.allocations.iter_mut().filter(|part| ends_at_once(part.state)) {
            if let Some(planned) = part.planned {
                let kept = holders.get(&planned.by).is_none_or(|holder| holder.state != ReservationState::Reserved);
                if kept {
                    return Err(Failure::refused(
                        ErrorCode::Conflict,
                        "a container is being programmed with the license right now",
                        "try again in a moment",
                    ));
                }
                reservation::give_way(tx, planned.by, "a license of it was withdrawn by the vendor", moment.now)
                    .await?;
                part.planned = None;
            }
            if part.state == AllocationState::Lost {
                part.state = AllocationState::WrittenOff;
                lost.push(part.id);
            } else {
                part.state = AllocationState::Ended;
                parts.push(part.id);
                transfers.extend(part.transfer);
            }
        }
    }
    end_parts(tx, &parts, AllocationState::Ended, moment.now).await?;
    end_parts(tx, &lost, AllocationState::WrittenOff, moment.now).await?;
    let ended = transfer::call_off(tx, &transfers, moment.now).await?;
    let mut events = Vec::new();
    for transfer in &ended {
        if let Some(one) = sold.iter_mut().find(|one| one.license.id == transfer.license) {
            one.license.version += 1;
            events.push(moment.transfer_changed(&one.license, transfer, ids::event(moment.now)));
            let text = "UPDATE license SET version = version + 1 WHERE license_id = $1";
            sqlx::query(text).bind(one.license.id.to_string()).execute(tx.conn()).await?;
        }
    }
    outbox::append_all(tx, &events).await?;
    Ok(sold)
}

/// The vendor took licenses back: from now on nobody gets a seat of them, whatever containers hold.
pub(super) async fn announce_withdrawal(
    tx: &mut Tx,
    activation: ActivationId,
    draft: &Draft,
    before: &[License],
    reason: &str,
    moment: &Moment,
) -> Result<(), StorageError> {
    let mut after: Vec<License> = before.to_vec();
    let (mut events, mut notes) = (Vec::new(), Vec::new());
    for license in after.iter_mut().filter(|license| draft.withdrawn.contains(&license.id)) {
        license.withdrawn_at = Some(moment.now);
        license.version += 1;
        // Plans that had issued nothing gave way.
        license.allocations.retain(|part| part.state != AllocationState::Reserved);
        events.push(moment.license_withdrawn(license, ids::event(moment.now)));
        notes.push(withdrawn(license.id, activation, reason));
    }
    license::save(tx, before, &after).await?;
    license::save_reason(tx, &draft.withdrawn, reason).await?;
    history::note(tx, &notes, moment.now).await?;
    outbox::append_all(tx, &events).await
}

fn withdrawn(license: LicenseId, activation: ActivationId, reason: &str) -> Note {
    Note {
        license,
        what: "withdrawn",
        container: String::new(),
        serial: String::new(),
        quantity: 0,
        activation: Some(activation),
        counter: 0,
        expires_at: None,
        why: if reason.is_empty() { "the vendor took it back".to_owned() } else { reason.to_owned() },
    }
}

/// A withdrawal that was announced is called off because nothing was issued for it, unless another one stands.
pub(super) async fn call_withdrawal_off(
    tx: &mut Tx,
    activation: ActivationId,
    moment: &Moment,
) -> Result<(), StorageError> {
    let sold = license::locked(tx, license::OF_ACTIVATION, &[activation.to_string()]).await?;
    let before: Vec<License> = sold.into_iter().map(|one| one.license).collect();
    let mut after = before.clone();
    let mut events = Vec::new();
    for license in &mut after {
        let by_another = license.allocations.iter().any(|part| {
            part.withdrawn.is_some_and(|(_, intent)| intent == Intent::Withdrawn)
                || part.planned.is_some_and(|planned| planned.by != activation && planned.intent == Intent::Withdrawn)
        });
        if license.withdrawn_at.is_some() && !by_another {
            let previous = license.state();
            license.withdrawn_at = None;
            license.version += 1;
            events.push(moment.license_changed(license, previous, ids::event(moment.now)));
        }
    }
    license::save(tx, &before, &after).await?;
    outbox::append_all(tx, &events).await
}
