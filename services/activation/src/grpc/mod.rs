//! The RPCs. Each file reads requests into the domain's types, has sagas carried out, and writes answers.

mod access;
mod activation;
mod edge;
mod events;
mod present;
mod push;

use std::sync::Arc;

use lictor_api::{activation::v1 as wire, event::v1 as event};
use lictor_clock::{SharedClock, Timestamp};
use lictor_licensing::id::ActivationId;
use lictor_runtime::{Lifecycle, MESSAGE_BYTES};
use tokio::sync::oneshot;
use tonic::{Status, service::Routes};
use tracing::Instrument;

pub use access::ACCESS;

use crate::{
    domain::saga::Saga,
    failure::Failure,
    guess::Guesses,
    ids,
    metrics::Metrics,
    saga::{Runner, Settled},
};

/// What every RPC works with.
#[derive(Debug)]
pub struct Desk {
    /// Carries sagas out.
    pub runner: Runner,
    /// Limits on guessing tickets.
    pub guesses: Guesses,
    /// The time.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
    /// Sagas go on when their caller has gone.
    pub lifecycle: Lifecycle,
}

impl Desk {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn fresh_id(&self) -> ActivationId {
        ActivationId::new(self.now(), ids::random())
    }

    /// Carries a saga out. A caller that goes away does not stop it.
    async fn carry_out(&self, saga: Saga) -> Result<Settled, Failure> {
        let (tell, told) = oneshot::channel();
        let runner = self.runner.clone();
        let work = async move {
            // Nobody may be there to hear it.
            let _ = tell.send(runner.run(saga).await);
        };
        self.lifecycle.spawn_work(work.in_current_span());
        told.await.unwrap_or(Err(Failure::Stopped))
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
            <$server>::new(counter.clone())
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES)
        };
    }
    Routes::default()
        .add_service(server!(wire::activation_service_server::ActivationServiceServer<_>))
        .add_service(server!(wire::push_service_server::PushServiceServer<_>))
        .add_service(server!(event::event_feed_service_server::EventFeedServiceServer<_>))
}

/// What a failed call answers.
fn status(failure: Failure) -> Status {
    failure.into()
}
