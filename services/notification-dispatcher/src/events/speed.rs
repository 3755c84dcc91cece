//! Events from the broker: fast, and acknowledged only after they are durable.

use lictor_api::event::v1 as wire;
use lictor_broker::{Broker, BrokerError, Refused};
use tokio_util::sync::CancellationToken;

use super::{SOURCE, pull::checked};
use crate::engine::{EngineHandle, Intake};

/// Most events that are stored and acknowledged together.
const BATCH: usize = 256;

/// Consumes until `stop`.
///
/// # Errors
/// When this process consumes already, which is a fault of the program.
pub async fn consume(broker: Broker, engine: EngineHandle, stop: CancellationToken) -> Result<(), BrokerError> {
    let handler = move |events: Vec<wire::Event>| {
        let engine = engine.clone();
        async move {
            let mut intake = Intake::default();
            for event in events {
                // Only the form can be checked here: who may publish is the broker's business.
                let source = event.source.clone();
                match checked(event, &source) {
                    Ok(event) => intake.events.push(event),
                    Err(quarantined) => intake.quarantined.push(quarantined),
                }
            }
            engine.take(intake).await.map_err(|error| Refused::Later(error.to_string()))
        }
    };
    broker.consume_batches(SOURCE, BATCH, handler, stop).await
}
