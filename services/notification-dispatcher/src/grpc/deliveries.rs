//! `DeliveryService`: what became of notifications.

use lictor_api::notification::v1::{
    self as wire, GetDeliveryRequest, GetDeliveryResponse, ListDeliveriesRequest, ListDeliveriesResponse,
    delivery_service_server::DeliveryService,
};
use lictor_licensing::id::DeliveryId;
use tonic::{Request, Response, Status};

use super::{Desk, answer, commanded::Refusal, shown};
use crate::{
    domain::{delivery::DeliveryState, event::NAME_BYTES},
    store::listing::{self, Search},
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
        Ok(Response::new(ListDeliveriesResponse { deliveries: found.into_iter().map(shown::delivery).collect() }))
    }

    async fn get_delivery(
        &self,
        request: Request<GetDeliveryRequest>,
    ) -> Result<Response<GetDeliveryResponse>, Status> {
        let id: DeliveryId =
            request.into_inner().delivery_id.parse().map_err(|error| answer::invalid(error, "list the deliveries"))?;
        let search = Search { delivery: Some(id), limit: 1, ..Search::default() };
        let mut found = listing::deliveries(&self.0.db, &search).await.map_err(answer::storage)?;
        let Some(found) = found.pop() else {
            return Err(Refusal::NoDelivery.into());
        };
        let attempts = listing::attempts(&self.0.db, id).await.map_err(answer::storage)?;
        let body = listing::body(&self.0.db, id).await.map_err(answer::storage)?;
        Ok(Response::new(GetDeliveryResponse {
            delivery: Some(shown::delivery(found)),
            attempts: attempts.into_iter().map(shown::listed_attempt).collect(),
            body,
        }))
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
        Ok(wire::DeliveryState::Collapsed) => Some(DeliveryState::Collapsed),
        Err(_) => {
            return Err(answer::invalid(
                "this is no state of a delivery",
                "ask for due, leased, done, parked or collapsed",
            ));
        }
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
    Ok(Search { destination, state, event, delivery: None, limit })
}
