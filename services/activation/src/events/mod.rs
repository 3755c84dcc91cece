//! The facts that activation announces, and those of the push update generator that it takes in.

mod block;
mod proof;

use lictor_api::event::v1::{ActivationCompleted, ActivationConfirmed, event::Data};
use lictor_broker::Announcement;
use lictor_clock::Timestamp;
use lictor_licensing::id::EventId;

pub use proof::{follow_updates, take_in, take_page};

use crate::{
    domain::{saga::Saga, state::State},
    ids,
};

/// Name of this service in `source`.
pub const SOURCE: &str = "activation";
/// Name of the service whose proofs it takes in.
pub const UPDATE_SOURCE: &str = "push-update-generator";

/// What is announced when a saga has come to its present state; nothing for most. Its number is given by the store.
#[must_use]
pub fn announcement(saga: &Saga, now: Timestamp) -> Option<Announcement> {
    // A withdrawal of a license in no container changes no container, and a rebase changes no license.
    if saga.to == 0 {
        return None;
    }
    let container = saga.container.as_ref()?;
    let subject = saga.licenses.first()?.to_string();
    let license_ids = saga.licenses.iter().map(ToString::to_string).collect();
    let (activation_id, kind) = (saga.id.to_string(), saga.kind().name().to_owned());
    let (ticket, counter) = (saga.ticket_masked.clone(), saga.to);
    let (serial, container_id) = (container.serial.clone(), container.id.clone());
    let data = match saga.state {
        State::Completed => Data::ActivationCompleted(ActivationCompleted {
            activation_id,
            kind,
            ticket,
            serial,
            container_id,
            license_ids,
            counter,
        }),
        State::Confirmed => Data::ActivationConfirmed(ActivationConfirmed {
            activation_id,
            kind,
            ticket,
            serial,
            container_id,
            license_ids,
            counter,
        }),
        _ => return None,
    };
    Some(Announcement {
        id: EventId::new(now, ids::random()).to_string(),
        source: SOURCE,
        subject,
        aggregate_sequence: 0,
        firm_code: saga.firm,
        time: now,
        data,
    })
}
