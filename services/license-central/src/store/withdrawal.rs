//! Taking licenses back: at once when no container holds them, else by a segment of the asking activation.

use std::collections::BTreeMap;

use lictor_licensing::{
    FirmCode,
    error::{ErrorCode, Problem},
    id::{ActivationId, LicenseId},
};
use lictor_storage::{Tx, outbox, retry};
use sha2::{Digest, Sha256};

use super::{Store, license, order::request_id_reused, reservation};
use crate::{
    domain::{
        allocation::AllocationState,
        license::{License, LicenseState},
        reservation::ReservationState,
    },
    events::Moment,
    failure::Failure,
    ids,
};

/// What an activation takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithdrawalRequest {
    /// The activation.
    pub activation: ActivationId,
    /// 1 to 100 licenses of one firm, each once.
    pub licenses: Vec<LicenseId>,
    /// Why; for people.
    pub reason: String,
    /// Only when all of them lie in this container.
    pub container: Option<String>,
}

/// A license that a container may still hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithdrawnLicense {
    /// The license.
    pub license: LicenseId,
    /// The container.
    pub container: String,
    /// The container's display serial.
    pub serial: String,
    /// The activation whose segment takes it out.
    pub activation: ActivationId,
}

/// What became of a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// The vendor.
    pub firm: FirmCode,
    /// Those that need a segment, or have one on its way; empty when all are withdrawn already.
    pub licenses: Vec<WithdrawnLicense>,
}

impl WithdrawalRequest {
    /// What a repeat has to equal, for an activation that only takes back.
    fn hash(&self) -> Vec<u8> {
        let mut licenses: Vec<String> = self.licenses.iter().map(ToString::to_string).collect();
        licenses.sort_unstable();
        let mut hash = Sha256::new_with_prefix(b"withdrawal\0");
        hash.update(licenses.join(","));
        hash.update([0]);
        hash.update(self.container.as_deref().unwrap_or_default());
        hash.finalize().to_vec()
    }
}

impl Store {
    /// Begins to take licenses back: all of them or none.
    pub async fn begin_withdrawal(&self, request: &WithdrawalRequest, moment: &Moment) -> Result<Withdrawal, Failure> {
        retry(|| async {
            let mut tx = self.db.begin().await?;
            let withdrawal = begin(&mut tx, request, moment).await?;
            tx.commit().await?;
            Ok(withdrawal)
        })
        .await
    }
}

async fn begin(tx: &mut Tx, request: &WithdrawalRequest, moment: &Moment) -> Result<Withdrawal, Failure> {
    let mut licenses = license::locked_by_ids(tx, &request.licenses).await?;
    if let Some(missing) = request.licenses.iter().find(|id| licenses.iter().all(|license| license.id != **id)) {
        return Err(Failure::refused(
            ErrorCode::NotFound,
            format!("there is no license {missing}"),
            "list the licenses to see their ids",
        ));
    }
    let firm = one_firm(&licenses)?;
    let head = reservation::head(tx, request.activation).await?;
    match &head {
        None => {}
        Some(head) if head.state == ReservationState::Released => {
            return Err(Failure::refused(
                ErrorCode::WrongState,
                format!("the activation was given up: {}", head.reason),
                "start the withdrawal anew",
            ));
        }
        // A repeat of what was begun under this activation.
        Some(_) if licenses.iter().all(|license| license.withdrawn_at.is_some()) => {
            return Ok(still_held(firm, &licenses));
        }
        Some(head) if head.state != ReservationState::Kept || head.asked == request.hash() => {
            return Err(request_id_reused());
        }
        Some(_) => {}
    }
    give_way(tx, &mut licenses, moment).await?;
    withdraw(tx, request, &mut licenses, moment).await?;
    let withdrawal = still_held(firm, &licenses);
    if head.is_none() {
        // Nothing of a container's is this activation's own when others take it all out already: it then has nothing to
        // issue and is given up, and a reservation that nothing refers to would stand in the way of that.
        let own = withdrawal.licenses.iter().any(|license| license.activation == request.activation);
        if own || request.container.is_none() {
            let state = if own { ReservationState::Kept } else { ReservationState::Confirmed };
            reservation::insert_head(tx, request.activation, firm, None, &request.hash(), state, moment.now).await?;
        }
    }
    // The column refers to the reservation, so it is written after that.
    license::save_allocations(tx, licenses.iter().flat_map(|license| &license.allocations), moment.now).await?;
    Ok(withdrawal)
}

fn one_firm(licenses: &[License]) -> Result<FirmCode, Failure> {
    let first = licenses.first().ok_or_else(|| Failure::invalid("a withdrawal names no license", "name a license"))?;
    if licenses.iter().any(|license| license.firm != first.firm) {
        return Err(Failure::invalid(
            "the licenses belong to several firms",
            "withdraw those of each firm by themselves",
        ));
    }
    Ok(first.firm)
}

/// Ends reservations that stand in the way. One whose update is being issued right now is waited for instead.
async fn give_way(tx: &mut Tx, licenses: &mut [License], moment: &Moment) -> Result<(), Failure> {
    for (activation, holder) in reservation::holders(tx.conn(), licenses).await? {
        if holder.state != ReservationState::Reserved {
            return Err(Failure::refused(
                ErrorCode::Conflict,
                "a container is being programmed with the license right now",
                "try again in a moment",
            ));
        }
        reservation::give_way(tx, activation, "a license of it was withdrawn by the vendor", moment.now).await?;
        for part in licenses.iter_mut().flat_map(|license| &mut license.allocations) {
            if part.activation == activation && part.state == AllocationState::Reserved {
                part.state = AllocationState::Ended;
            }
        }
    }
    Ok(())
}

async fn withdraw(
    tx: &mut Tx,
    request: &WithdrawalRequest,
    licenses: &mut [License],
    moment: &Moment,
) -> Result<(), Failure> {
    let event_ids = ids::events(licenses.len(), moment.now);
    let mut by_state: BTreeMap<&'static str, Vec<LicenseId>> = BTreeMap::new();
    let mut events = Vec::new();
    for (license, event_id) in licenses.iter_mut().zip(event_ids) {
        in_container(license, request.container.as_deref())?;
        if license.withdrawn_at.is_some() {
            continue;
        }
        license.withdrawn_at = Some(moment.now);
        license.version += 1;
        for part in license.allocations.iter_mut().filter(|part| part.state.may_be_in_container()) {
            if let Ok(next) = part.state.begin_return() {
                part.state = next;
                part.withdrawn_by = Some(request.activation);
            }
        }
        events.push(moment.license_withdrawn(license, event_id));
        by_state.entry(license.state().name()).or_default().push(license.id);
    }
    for (state, ids) in by_state {
        license::save_withdrawn(tx, state, &ids, &request.reason, moment.now).await?;
    }
    outbox::append_all(tx, &events).await?;
    Ok(())
}

fn in_container(license: &License, container: Option<&str>) -> Result<(), Problem> {
    let Some(container) = container else {
        return Ok(());
    };
    let held = license.allocations.iter().find(|part| part.state.may_be_in_container());
    match held {
        Some(part) if part.container == container => Ok(()),
        Some(part) => Err(Problem::new(
            ErrorCode::WrongState,
            format!("the license {} lies in container {}", license.id, part.serial),
            "push to that container, or withdraw the license by itself",
        )),
        None => Err(Problem::new(
            ErrorCode::WrongState,
            format!("the license {} lies in no container: it is {}", license.id, license.state()),
            "withdraw it by itself",
        )),
    }
}

fn still_held(firm: FirmCode, licenses: &[License]) -> Withdrawal {
    let licenses = licenses
        .iter()
        .filter(|license| license.state() == LicenseState::Returning)
        .flat_map(|license| &license.allocations)
        .filter_map(|part| {
            Some(WithdrawnLicense {
                license: part.license,
                container: part.container.clone(),
                serial: part.serial.clone(),
                activation: part.withdrawn_by?,
            })
        })
        .collect();
    Withdrawal { firm, licenses }
}
