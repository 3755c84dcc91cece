//! EventFeedService: the facts of this service in their order, for consumers that heal gaps.

use lictor_api::event::v1::{ListEventsRequest, ListEventsResponse, event_feed_service_server::EventFeedService};
use tonic::{Request, Response, Status};

use super::{Counter, status};
use crate::failure::Failure;

#[tonic::async_trait]
impl EventFeedService for Counter {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let answer = lictor_broker::list_events(self.0.runner.store().db(), request.get_ref()).await;
        answer.map(Response::new).map_err(|error| status(Failure::from(error)))
    }
}
