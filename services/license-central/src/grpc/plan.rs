//! Plans and transfers between the wire and the domain.

use lictor_api::{
    central::v1::{self as wire, plan_request::Purpose as Asked},
    convert::from_timestamp,
    types::v1::{ContainerKind as WireKind, LicenseChange, PutLicense, RemoveLicense, license_change},
};
use lictor_licensing::id::TicketId;
use prost::Message;
use tonic::Status;

use super::edge;
use crate::{
    domain::plan::{Change, Departure, Entry, MAX_LICENSES, OnItsWay, Pick, Place, PlanRequest, Purpose, What},
    store::{DueWork, Plan},
};

/// Most bytes of a reason for people.
pub(super) const REASON_BYTES: usize = 256;
/// Most bytes of a serial.
pub(super) const SERIAL_BYTES: usize = 64;

/// What a caller asks for, in the domain's words.
///
/// # Errors
/// A status that names the field that is wrong.
pub fn read(request: wire::PlanRequest) -> Result<PlanRequest, Status> {
    let kind = request.kind();
    let activation = edge::id(&request.activation_id)?;
    let place = place(&request.container_id, &request.serial, kind, request.virtual_machine)?;
    let asked = request.purpose.ok_or_else(|| edge::invalid("the plan has no purpose", "name one"))?;
    let purpose = purpose(asked)?;
    let finds_it = matches!(purpose, Purpose::Withdraw { .. } | Purpose::Renew { .. } | Purpose::Arrive { .. });
    if place.is_none() && !finds_it {
        return Err(edge::invalid("the container is missing", "name the container that changes"));
    }
    Ok(PlanRequest { activation, place, purpose })
}

pub(super) fn place(id: &str, serial: &str, kind: WireKind, virtual_machine: bool) -> Result<Option<Place>, Status> {
    if id.is_empty() {
        return Ok(None);
    }
    Ok(Some(Place {
        id: edge::container_id(id)?,
        serial: edge::line("a serial", serial, SERIAL_BYTES)?,
        kind: kind.known(),
        virtual_machine,
    }))
}

fn purpose(asked: Asked) -> Result<Purpose, Status> {
    Ok(match asked {
        Asked::Activate(asked) => {
            let ticket = ticket(&asked.ticket_id)?;
            let withdraw = edge::ids(&asked.withdraw, MAX_LICENSES)?;
            if ticket.is_none() && (withdraw.is_empty() || !asked.picks.is_empty()) {
                return Err(edge::invalid("the plan names no ticket", "name the ticket that licenses are taken from"));
            }
            Purpose::Activate { ticket, picks: picks(&asked.picks)?, withdraw }
        }
        Asked::Withdraw(asked) => Purpose::Withdraw {
            licenses: some_licenses(&asked.license_ids)?,
            reason: edge::line("a reason", &asked.reason, REASON_BYTES)?,
        },
        Asked::GiveBack(asked) => {
            Purpose::GiveBack { ticket: edge::id(&asked.ticket_id)?, picks: picks(&asked.picks)? }
        }
        Asked::Depart(asked) => Purpose::Depart(departure(asked)?),
        Asked::Arrive(asked) => Purpose::Arrive { transfer: edge::id(&asked.transfer_id)? },
        Asked::Renew(asked) => Purpose::Renew { licenses: some_licenses(&asked.license_ids)? },
        Asked::Replace(asked) => Purpose::Replace {
            ticket: edge::id(&asked.ticket_id)?,
            lost_serial: edge::line("a serial", &asked.lost_serial, SERIAL_BYTES)?,
            by_hand: asked.by_hand,
        },
    })
}

fn departure(asked: wire::DepartPurpose) -> Result<Departure, Status> {
    let kind = asked.target_kind();
    let pick = asked.pick.ok_or_else(|| edge::invalid("the transfer names no license", "name a license"))?;
    let until = asked.lend_until.as_ref().map(|until| {
        from_timestamp(until)
            .ok_or_else(|| edge::invalid("the end of the loan is none of the years 0 to 9999", "correct it"))
    });
    let returns = (!asked.returns_transfer_id.is_empty()).then(|| edge::id(&asked.returns_transfer_id)).transpose()?;
    Ok(Departure {
        transfer: edge::id(&asked.transfer_id)?,
        ticket: ticket(&asked.ticket_id)?,
        pick: Pick { license: edge::id(&pick.license_id)?, quantity: pick.quantity },
        target: place(&asked.target_container_id, &asked.target_serial, kind, false)?,
        lend_until: until.transpose()?,
        returns,
    })
}

fn ticket(id: &str) -> Result<Option<TicketId>, Status> {
    (!id.is_empty()).then(|| edge::id(id)).transpose()
}

fn picks(picks: &[wire::LicensePick]) -> Result<Vec<Pick>, Status> {
    let ids: Vec<String> = picks.iter().map(|pick| pick.license_id.clone()).collect();
    // Checks how many there are; a license that is named twice is refused further on.
    edge::ids::<lictor_licensing::id::LicenseId>(&ids, MAX_LICENSES)?;
    picks.iter().map(|pick| Ok(Pick { license: edge::id(&pick.license_id)?, quantity: pick.quantity })).collect()
}

fn some_licenses(ids: &[String]) -> Result<Vec<lictor_licensing::id::LicenseId>, Status> {
    if ids.is_empty() {
        return Err(edge::invalid("the plan names no license", "name a license"));
    }
    edge::ids(ids, MAX_LICENSES)
}

/// The answer to a plan, as it is stored and sent.
#[must_use]
pub fn answer(plan: &Plan) -> Vec<u8> {
    let draft = &plan.draft;
    wire::PlanResponse {
        firm_code: plan.firm.get(),
        done: draft.is_done(),
        ticket: plan.ticket_masked.clone(),
        container_id: draft.container.clone(),
        serial: draft.serial.clone(),
        changes: draft.changes.iter().map(change).collect(),
        on_their_way: draft.on_their_way.iter().map(on_its_way).collect(),
        others: draft
            .others
            .iter()
            .map(|(container, serial)| wire::PlannedContainer {
                container_id: container.clone(),
                serial: serial.clone(),
            })
            .collect(),
        block_serial: draft.block_serial.clone(),
    }
    .encode_to_vec()
}

fn change(change: &Change) -> LicenseChange {
    let put = |entry: &Entry| PutLicense { product_item: entry.product_item.clone(), quantity: entry.quantity };
    let what = match &change.what {
        What::Add(entry) => license_change::Change::Add(put(entry)),
        What::Replace(entry) => license_change::Change::Replace(put(entry)),
        What::Withdraw => license_change::Change::Withdraw(RemoveLicense {}),
    };
    LicenseChange { license_id: change.license.to_string(), change: Some(what) }
}

fn on_its_way(part: &OnItsWay) -> wire::WithdrawnLicense {
    wire::WithdrawnLicense {
        license_id: part.license.to_string(),
        container_id: part.container.clone(),
        serial: part.serial.clone(),
        activation_id: part.activation.to_string(),
    }
}

/// Something that has become due.
pub(super) fn due(work: DueWork) -> wire::DueWork {
    use wire::due_work::Work;
    let work = match work {
        DueWork::Arrival(id) => Work::Arrival(wire::DueArrival { transfer_id: id.to_string(), key: id.to_string() }),
        DueWork::Loan(id) => Work::Loan(wire::DueLoan { transfer_id: id.to_string(), key: id.to_string() }),
        DueWork::Renewal(due) => Work::Renewal(wire::DueRenewal {
            firm_code: due.firm.get(),
            container_id: due.container,
            serial: due.serial,
            license_ids: due.licenses.iter().map(ToString::to_string).collect(),
            key: due.key,
        }),
    };
    wire::DueWork { work: Some(work) }
}
