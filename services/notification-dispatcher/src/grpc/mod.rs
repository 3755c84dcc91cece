//! The RPCs: who may call them, and one file per group.

pub(crate) mod answer;
mod commanded;
mod deliveries;
mod destinations;
mod events;
mod feed;
mod quarantine;
mod replays;
mod reports;
mod shown;
mod trial;

use std::sync::Arc;

use lictor_api::{
    event::v1::event_feed_service_server::EventFeedServiceServer,
    notification::v1::{
        delivery_service_server::{DeliveryService, DeliveryServiceServer},
        destination_service_server::{DestinationService, DestinationServiceServer},
        event_service_server::EventServiceServer,
        quarantine_service_server::QuarantineServiceServer,
        replay_service_server::{ReplayService, ReplayServiceServer},
        report_service_server::ReportServiceServer,
    },
};
use lictor_auth::{Access, AccessTable, Caller, Role};
use lictor_clock::SharedClock;
use lictor_storage::Database;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, service::Routes};

use crate::{
    domain::{allow::AllowList, seal::Seal},
    engine::EngineHandle,
    report::period::Offset,
    transmission::Carrier,
};

const READERS: Access = Access::AnyOf(&[Role::Admin, Role::Auditor]);
const ADMIN: Access = Access::AnyOf(&[Role::Admin]);

/// Those who read figures, not receivers' answers.
const FIGURES: Access = Access::AnyOf(&[Role::Admin, Role::Auditor, Role::ProductManager, Role::BackOffice]);

/// The RPC whose rule counts for `GET /events` too.
pub(crate) const READ_EVENTS: &str = "/lictor.notification.v1.EventService/ReadEvents";

/// Every RPC of this service and who may call it.
pub static ACCESS: AccessTable = &[
    ("/lictor.notification.v1.DestinationService/AddDestination", ADMIN),
    ("/lictor.notification.v1.DestinationService/ListDestinations", READERS),
    ("/lictor.notification.v1.DestinationService/GetDestination", READERS),
    ("/lictor.notification.v1.DestinationService/UpdateDestination", ADMIN),
    ("/lictor.notification.v1.DestinationService/DeleteDestination", ADMIN),
    ("/lictor.notification.v1.DestinationService/RotateSecret", ADMIN),
    ("/lictor.notification.v1.DestinationService/TestDestination", ADMIN),
    ("/lictor.notification.v1.DestinationService/DisableDestination", ADMIN),
    ("/lictor.notification.v1.DestinationService/EnableDestination", ADMIN),
    ("/lictor.notification.v1.DeliveryService/ListDeliveries", READERS),
    ("/lictor.notification.v1.DeliveryService/GetDelivery", READERS),
    ("/lictor.notification.v1.ReplayService/StartReplay", ADMIN),
    ("/lictor.notification.v1.ReplayService/ListReplays", READERS),
    ("/lictor.notification.v1.ReplayService/CancelReplay", ADMIN),
    ("/lictor.notification.v1.QuarantineService/ListQuarantined", READERS),
    ("/lictor.notification.v1.QuarantineService/ReprocessQuarantined", ADMIN),
    (READ_EVENTS, Access::AnyOf(&[Role::Admin, Role::Auditor, Role::BackOffice])),
    ("/lictor.notification.v1.ReportService/RunReport", FIGURES),
    ("/lictor.notification.v1.ReportService/ListReports", FIGURES),
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
    /// What opens the secrets of destinations.
    pub seal: Seal,
    /// Makes test deliveries.
    pub carrier: Carrier,
    /// Places for test deliveries.
    pub trials: Arc<Semaphore>,
    /// Places for readers of events.
    pub readers: Arc<Semaphore>,
    /// Rung when a replay was written down.
    pub replays: Arc<Notify>,
    /// Rung when a destination was deleted.
    pub deletions: Arc<Notify>,
    /// Ends streams when the service stops.
    pub stop: CancellationToken,
    /// The calendar of reports.
    pub report_offset: Offset,
}

/// The handlers of destinations, for the pages, which check roles as the table above says.
pub(crate) fn destinations(desk: &Desk) -> impl DestinationService {
    destinations::Destinations(desk.clone())
}

/// The handlers of deliveries, for the pages.
pub(crate) fn deliveries(desk: &Desk) -> impl DeliveryService {
    deliveries::Deliveries(desk.clone())
}

/// The handlers of replays, for the pages.
pub(crate) fn replays(desk: &Desk) -> impl ReplayService {
    replays::Replays(desk.clone())
}

/// A request as the gate hands it on: with who calls.
pub(crate) fn by<T>(caller: &Arc<Caller>, mut request: Request<T>) -> Request<T> {
    request.extensions_mut().insert(Arc::clone(caller));
    request
}

/// All RPC groups.
pub fn routes(desk: &Desk) -> Routes {
    Routes::default()
        .add_service(DestinationServiceServer::new(destinations::Destinations(desk.clone())))
        .add_service(ReplayServiceServer::new(replays::Replays(desk.clone())))
        .add_service(EventServiceServer::new(events::Events(desk.clone())))
        .add_service(DeliveryServiceServer::new(deliveries::Deliveries(desk.clone())))
        .add_service(ReportServiceServer::new(reports::Reports(desk.clone())))
        .add_service(QuarantineServiceServer::new(quarantine::Quarantine(desk.clone())))
        .add_service(EventFeedServiceServer::new(feed::Feed(desk.clone())))
}
