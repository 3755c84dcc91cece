//! The RPCs: who may call them, and one file per group.

mod answer;
mod deliveries;
mod destinations;
mod feed;

use std::sync::Arc;

use lictor_api::{
    event::v1::event_feed_service_server::EventFeedServiceServer,
    notification::v1::{
        delivery_service_server::DeliveryServiceServer, destination_service_server::DestinationServiceServer,
    },
};
use lictor_auth::{Access, AccessTable, Role};
use lictor_clock::SharedClock;
use lictor_storage::Database;
use tonic::service::Routes;

use crate::{domain::allow::AllowList, engine::EngineHandle};

const READERS: Access = Access::AnyOf(&[Role::Admin, Role::Auditor]);
const ADMIN: Access = Access::AnyOf(&[Role::Admin]);

/// Every RPC of this service and who may call it.
pub static ACCESS: AccessTable = &[
    ("/lictor.notification.v1.DestinationService/AddDestination", ADMIN),
    ("/lictor.notification.v1.DestinationService/ListDestinations", READERS),
    ("/lictor.notification.v1.DestinationService/DisableDestination", ADMIN),
    ("/lictor.notification.v1.DestinationService/EnableDestination", ADMIN),
    ("/lictor.notification.v1.DeliveryService/ListDeliveries", READERS),
    ("/lictor.event.v1.EventFeedService/ListEvents", Access::AnyOf(&[Role::Service, Role::Admin, Role::Auditor])),
];

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The tables.
    pub db: Database,
    /// The time.
    pub clock: SharedClock,
    /// To be told of changes.
    pub engine: EngineHandle,
    /// What destinations may be beyond the public internet.
    pub allow: Arc<AllowList>,
}

/// All RPC groups.
pub fn routes(desk: &Desk) -> Routes {
    Routes::default()
        .add_service(DestinationServiceServer::new(destinations::Destinations(desk.clone())))
        .add_service(DeliveryServiceServer::new(deliveries::Deliveries(desk.clone())))
        .add_service(EventFeedServiceServer::new(feed::Feed(desk.clone())))
}
