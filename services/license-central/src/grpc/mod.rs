//! The RPCs. Each file reads requests into the domain's types, asks the store, and writes answers; rules live below.

mod access;
mod allocation;
mod assignment;
mod catalogue;
mod customer;
mod edge;
mod events;
mod license;
mod order;
pub mod plan;

use std::sync::Arc;

use lictor_api::{central::v1 as central, event::v1 as event};
use lictor_clock::{SharedClock, Timestamp};
use lictor_runtime::MESSAGE_BYTES;
use tonic::service::Routes;

pub use access::ACCESS;

use crate::{domain::ticket_key::TicketKey, metrics::Metrics, store::Store};

/// What every RPC works with.
#[derive(Debug)]
pub struct Desk {
    /// The tables.
    pub store: Store,
    /// Makes tickets.
    pub key: TicketKey,
    /// The time.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
}

impl Desk {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// One group of RPCs over the desk.
#[derive(Debug, Clone)]
struct Counter(Arc<Desk>);

/// All RPCs of the service.
#[must_use]
pub fn routes(desk: Desk) -> Routes {
    let counter = Counter(Arc::new(desk));
    macro_rules! server {
        ($server:path) => {
            <$server>::new(counter.clone()).max_decoding_message_size(MESSAGE_BYTES)
        };
    }
    Routes::default()
        .add_service(server!(central::catalogue_service_server::CatalogueServiceServer<_>))
        .add_service(server!(central::customer_service_server::CustomerServiceServer<_>))
        .add_service(server!(central::order_service_server::OrderServiceServer<_>))
        .add_service(server!(central::license_service_server::LicenseServiceServer<_>))
        .add_service(server!(central::allocation_service_server::AllocationServiceServer<_>))
        .add_service(server!(central::assignment_service_server::AssignmentServiceServer<_>))
        .add_service(server!(event::event_feed_service_server::EventFeedServiceServer<_>))
}
