//! `EventFeedService`: the events of this service itself.

use lictor_api::event::v1::{ListEventsRequest, ListEventsResponse, event_feed_service_server::EventFeedService};
use tonic::{Request, Response, Status};

use super::{Desk, answer};

pub(super) struct Feed(pub(super) Desk);

#[tonic::async_trait]
impl EventFeedService for Feed {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let answered = lictor_broker::list_events(&self.0.db, &request.into_inner()).await.map_err(answer::storage)?;
        Ok(Response::new(answered))
    }
}
