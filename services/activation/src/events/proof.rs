//! `update.confirmed` of the push update generator: by the broker for speed, by its feed for truth.

use std::time::Duration;

use lictor_api::event::v1::{Event, event::Data};
use lictor_broker::{Broker, Cursor, Refused, follow};
use lictor_clock::SharedClock;
use tokio_util::sync::CancellationToken;

use super::{SOURCE, UPDATE_SOURCE};
use crate::{saga::Runner, store::ProofOf};

/// How often the feed is read; the broker is faster.
const FEED_PAUSE: Duration = Duration::from_secs(2);

/// Takes one event in: what it proves becomes due. Other events only move the cursor.
///
/// # Errors
/// When the store does not answer.
pub async fn take_in(runner: Runner, clock: SharedClock, event: Event) -> Result<(), Refused> {
    let activations = match event.data {
        // References of others than this service's sagas are none of its ids.
        Some(Data::UpdateConfirmed(confirmed)) => {
            confirmed.references.iter().filter_map(|reference| reference.parse().ok()).collect()
        }
        _ => Vec::new(),
    };
    let proof =
        ProofOf { consumer: SOURCE, source: event.source, event_id: event.id, sequence: event.sequence, activations };
    if runner.store().take_proof(&proof, clock.now()).await? {
        runner.nudge();
    }
    Ok(())
}

/// Follows the generator's events both ways until `stop`.
///
/// # Errors
/// When the broker knows no such consumer.
pub async fn follow_updates(
    runner: Runner,
    broker: Broker,
    clock: SharedClock,
    stop: CancellationToken,
) -> Result<(), lictor_broker::BrokerError> {
    let handler = {
        let runner = runner.clone();
        move |event: Event| take_in(runner.clone(), clock.clone(), event)
    };
    let cursor = Cursor::new(runner.store().db().clone(), SOURCE, UPDATE_SOURCE);
    let fetch = |after, limit| {
        let peers = runner.peers().clone();
        async move { peers.update_events(after, limit).await }
    };
    let truth = follow(cursor, FEED_PAUSE, fetch, handler.clone(), stop.clone());
    let (speed, Ok(())) = tokio::join!(broker.consume(SOURCE, handler, stop), truth);
    speed
}
