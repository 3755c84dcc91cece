//! The question that a saga's purpose is for license-central, and what its plan makes of the saga.

use lictor_api::{
    central::v1::{
        ActivatePurpose, ArrivePurpose, DepartPurpose, LicensePick, PlanRequest, PlanResponse, RenewPurpose,
        ReplacePurpose, ReturnPurpose, WithdrawPurpose, plan_request::Purpose as Question,
    },
    convert::timestamp,
    types::v1::ContainerKind as WireKind,
};
use lictor_clock::Timestamp;
use lictor_licensing::{
    error::{ErrorCode, Problem},
    id::{ActivationId, LicenseId},
};

use super::{peers, steps::odd};
use crate::{
    domain::{
        purpose::{Container, Departure, Pick, Purpose},
        saga::{Asked, Saga},
        state::{Kind, State},
    },
    failure::Failure,
    ids,
};

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn pick(pick: &Pick) -> LicensePick {
    LicensePick { license_id: pick.license.to_string(), quantity: pick.quantity }
}

/// What license-central is asked; nothing for a saga that it does not plan.
pub(super) fn question(saga: &Saga) -> Option<PlanRequest> {
    let picks = |picks: &[Pick]| picks.iter().map(pick).collect();
    let purpose = match &saga.purpose {
        Purpose::Activate { ticket, picks: some } => Question::Activate(ActivatePurpose {
            ticket_id: ticket.to_string(),
            picks: picks(some),
            withdraw: Vec::new(),
        }),
        Purpose::Push { ticket, withdraw } => Question::Activate(ActivatePurpose {
            ticket_id: ticket.map(|ticket| ticket.to_string()).unwrap_or_default(),
            picks: Vec::new(),
            withdraw: texts(withdraw),
        }),
        Purpose::Withdraw { licenses, reason, .. } => {
            Question::Withdraw(WithdrawPurpose { license_ids: texts(licenses), reason: reason.clone() })
        }
        Purpose::Return { ticket, picks: some } => {
            Question::GiveBack(ReturnPurpose { ticket_id: ticket.to_string(), picks: picks(some) })
        }
        Purpose::Depart(departure) => Question::Depart(departing(departure)),
        Purpose::Arrive { transfer } => Question::Arrive(ArrivePurpose { transfer_id: transfer.to_string() }),
        Purpose::Renew { licenses } => Question::Renew(RenewPurpose { license_ids: texts(licenses) }),
        Purpose::Replace { ticket, lost_serial, by_hand } => Question::Replace(ReplacePurpose {
            ticket_id: ticket.to_string(),
            lost_serial: lost_serial.clone(),
            by_hand: *by_hand,
        }),
        Purpose::Rebase { .. } => return None,
    };
    Some(PlanRequest { purpose: Some(purpose), ..peers::question(saga) })
}

fn departing(departure: &Departure) -> DepartPurpose {
    let target = &departure.target;
    DepartPurpose {
        transfer_id: departure.transfer.to_string(),
        ticket_id: departure.ticket.map(|ticket| ticket.to_string()).unwrap_or_default(),
        pick: Some(pick(&departure.pick)),
        target_container_id: target.id.clone(),
        target_serial: target.serial.clone(),
        target_kind: WireKind::from(target.kind).into(),
        lend_until: departure.lend_until.map(timestamp),
        returns_transfer_id: departure.returns.map(|transfer| transfer.to_string()).unwrap_or_default(),
    }
}

/// What follows from a plan.
#[derive(Debug)]
pub(super) struct Planned {
    /// The saga after it.
    pub(super) next: Saga,
    /// What is begun with it.
    pub(super) begins: Vec<Saga>,
}

/// What a plan makes of its saga.
pub(super) fn planned(saga: &Saga, plan: &PlanResponse, now: Timestamp) -> Result<Planned, Failure> {
    if saga.firm != 0 && plan.firm_code != saga.firm {
        return Err(odd("a plan for another firm"));
    }
    let mut next = Saga { firm: plan.firm_code, licenses: licenses(plan)?, problem: None, ..saga.clone() };
    if let Purpose::Withdraw { awaits, .. } = &mut next.purpose {
        for part in &plan.on_their_way {
            if let Ok(id) = part.activation_id.parse::<ActivationId>()
                && id != saga.id
                && !awaits.contains(&id)
            {
                awaits.push(id);
            }
        }
    }
    let begins = elsewhere(&next, plan, now);
    if !plan.changes.is_empty() && !plan.done {
        if next.container.is_none() {
            next.container = Some(Container {
                id: plan.container_id.clone(),
                serial: plan.serial.clone(),
                kind: None,
                virtual_machine: false,
            });
        }
        next.state = to(saga, State::Reserved)?;
    } else if saga.kind() == Kind::Withdraw || plan.done {
        // No container holds it, or another saga's segment takes it out already.
        next.state = to(saga, State::Confirmed)?;
    } else {
        next.state = to(saga, State::Refusing)?;
        next.problem = Some(nothing_to_do(saga.kind()));
    }
    Ok(Planned { next, begins })
}

fn nothing_to_do(kind: Kind) -> Problem {
    let why = match kind {
        Kind::Push => "the licenses are being withdrawn already",
        _ => "the container holds what it should",
    };
    Problem::new(
        ErrorCode::WrongState,
        format!("there is nothing to do: {why}"),
        "fetch the pending update of the container",
    )
}

fn to(saga: &Saga, state: State) -> Result<State, Failure> {
    saga.state.to(state).map_err(|wrong| super::steps::fault(&wrong))
}

/// The licenses of a plan in its order, each once.
fn licenses(plan: &PlanResponse) -> Result<Vec<LicenseId>, Failure> {
    let mut licenses = Vec::with_capacity(plan.changes.len());
    for change in &plan.changes {
        let id = change.license_id.parse().map_err(|_| odd("a license id that is none"))?;
        if !licenses.contains(&id) {
            licenses.push(id);
        }
    }
    Ok(licenses)
}

/// A withdrawal covers every container that holds some of it: one saga for each.
fn elsewhere(saga: &Saga, plan: &PlanResponse, now: Timestamp) -> Vec<Saga> {
    let Purpose::Withdraw { licenses, reason, .. } = &saga.purpose else {
        return Vec::new();
    };
    let others = plan.others.iter().map(|other| {
        let purpose = Purpose::Withdraw { licenses: licenses.clone(), reason: reason.clone(), awaits: Vec::new() };
        let container = Container {
            id: other.container_id.clone(),
            serial: other.serial.clone(),
            kind: None,
            virtual_machine: false,
        };
        let id = ActivationId::new(now, ids::random());
        Saga::new(id, purpose, Asked::by_saga(saga, &other.container_id), now).of(saga.firm, Some(container))
    });
    others.collect()
}
