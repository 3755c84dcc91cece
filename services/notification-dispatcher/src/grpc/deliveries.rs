//! `DeliveryService`: what became of notifications.

use lictor_api::{
    convert::timestamp,
    notification::v1::{
        self as wire, ListDeliveriesRequest, ListDeliveriesResponse, delivery_service_server::DeliveryService,
    },
};
use tonic::{Request, Response, Status};

use super::{Desk, answer};
use crate::{
    domain::{delivery::DeliveryState, event::NAME_BYTES},
    store::listing::{self, Listed, Search},
};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

pub(super) struct Deliveries(pub(super) Desk);

#[tonic::async_trait]
impl DeliveryService for Deliveries {
    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        let search = search(request.into_inner())?;
        let found = listing::deliveries(&self.0.db, &search).await.map_err(answer::storage)?;
        Ok(Response::new(ListDeliveriesResponse { deliveries: found.into_iter().map(shown).collect() }))
    }
}

fn search(request: ListDeliveriesRequest) -> Result<Search, Status> {
    let destination = match request.destination_id.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error| answer::invalid(error, "list the destinations"))?),
    };
    let state = match wire::DeliveryState::try_from(request.state) {
        Ok(wire::DeliveryState::Unspecified) => None,
        Ok(wire::DeliveryState::Due) => Some(DeliveryState::Due),
        Ok(wire::DeliveryState::Leased) => Some(DeliveryState::Leased),
        Ok(wire::DeliveryState::Done) => Some(DeliveryState::Done),
        Ok(wire::DeliveryState::Parked) => Some(DeliveryState::Parked),
        Err(_) => return Err(answer::invalid("this is no state of a delivery", "ask for due, leased, done or parked")),
    };
    let event = Some(request.event).filter(|event| !event.is_empty());
    if event.as_ref().is_some_and(|event| event.len() > NAME_BYTES || event.contains('\0')) {
        return Err(answer::invalid(
            "this is neither the id of an event nor a subject",
            "give evt_… or the id of an order or license",
        ));
    }
    let limit = match request.limit {
        0 => DEFAULT_LIMIT,
        limit @ 1..=MAX_LIMIT => limit,
        _ => return Err(answer::invalid("at most 1000 deliveries are listed at once", "ask for fewer")),
    };
    Ok(Search { destination, state, event, limit })
}

fn shown(listed: Listed) -> wire::Delivery {
    let state = match listed.state {
        DeliveryState::Due => wire::DeliveryState::Due,
        DeliveryState::Leased => wire::DeliveryState::Leased,
        DeliveryState::Done => wire::DeliveryState::Done,
        DeliveryState::Parked => wire::DeliveryState::Parked,
    };
    wire::Delivery {
        delivery_id: listed.id,
        destination_id: listed.destination_id,
        event_id: listed.event_id,
        event_type: listed.event_type,
        subject: listed.subject,
        state: state.into(),
        attempts: listed.attempts,
        next_attempt_at: (listed.state == DeliveryState::Due).then(|| timestamp(listed.next_attempt_at)),
        last_attempt: listed.last.map(|last| wire::Attempt {
            at: Some(timestamp(last.at)),
            status: last.status,
            latency_ms: last.latency_ms,
            result: last.result,
            answer: last.answer,
        }),
    }
}
