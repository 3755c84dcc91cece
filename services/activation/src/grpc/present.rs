//! How sagas look on the wire.

use lictor_api::{activation::v1 as wire, convert::timestamp};
use lictor_licensing::error::Problem;

use crate::domain::{
    saga::Saga,
    state::{Kind, State},
};

/// A saga.
pub(super) fn activation(saga: &Saga) -> wire::Activation {
    let container = saga.container.as_ref();
    wire::Activation {
        activation_id: saga.id.to_string(),
        kind: match saga.kind() {
            Kind::Activate => wire::ActivationKind::Activate,
            Kind::Push => wire::ActivationKind::Push,
            Kind::Withdraw => wire::ActivationKind::Withdraw,
            Kind::Return => wire::ActivationKind::Return,
            Kind::Depart => wire::ActivationKind::Depart,
            Kind::Arrive => wire::ActivationKind::Arrive,
            Kind::Renew => wire::ActivationKind::Renew,
            Kind::Replace => wire::ActivationKind::Replace,
            Kind::Rebase => wire::ActivationKind::Rebase,
        }
        .into(),
        state: match saga.state {
            _ if saga.stalled => wire::ActivationState::Stalled,
            State::Requested => wire::ActivationState::Requested,
            // It still holds what is being given back.
            State::Reserved | State::Refusing => wire::ActivationState::Reserved,
            State::Issued => wire::ActivationState::Issued,
            State::Completed => wire::ActivationState::Completed,
            State::Confirmed => wire::ActivationState::Confirmed,
            State::Refused => wire::ActivationState::Refused,
        }
        .into(),
        serial: container.map(|container| container.serial.clone()).unwrap_or_default(),
        container_id: container.map(|container| container.id.clone()).unwrap_or_default(),
        firm_code: saga.firm,
        license_ids: saga.licenses.iter().map(ToString::to_string).collect(),
        from: saga.from,
        to: saga.to,
        ticket: saga.ticket_masked.clone(),
        reason: saga.problem.as_ref().map(|problem| reason(problem, saga.stalled)).unwrap_or_default(),
        created_at: Some(timestamp(saga.created_at)),
        waits_for: saga.waits_for().to_owned(),
        next_attempt_at: (!saga.state.is_over()).then_some(saga.next_attempt_at).flatten().map(timestamp),
        transfer_id: saga.purpose.transfer().map(|transfer| transfer.to_string()).unwrap_or_default(),
    }
}

/// Whoever looks at a stalled saga is told what can be done about it.
fn reason(problem: &Problem, stalled: bool) -> String {
    if stalled { format!("{}; next: {}", problem.message, problem.next) } else { problem.message.clone() }
}
