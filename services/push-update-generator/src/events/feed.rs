//! The event feed: what the broker may lose, a consumer fetches here.

use lictor_api::event::v1::{ListEventsRequest, ListEventsResponse, event_feed_service_server::EventFeedService};
use lictor_storage::Database;
use tonic::{Request, Response, Status};

use crate::problem;

/// Answers cursors over the outbox.
#[derive(Clone, Debug)]
pub struct EventFeed {
    db: Database,
}

impl EventFeed {
    /// The feed of this database.
    #[must_use]
    pub const fn new(db: Database) -> Self {
        Self { db }
    }
}

#[tonic::async_trait]
impl EventFeedService for EventFeed {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        lictor_broker::list_events(&self.db, request.get_ref())
            .await
            .map(Response::new)
            .map_err(|error| problem::status(problem::storage(&error)))
    }
}
