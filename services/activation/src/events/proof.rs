//! `update.confirmed` of the push update generator: by the broker for speed, by its feed for truth.
//!
//! Noting a proof twice changes nothing, so what comes by the broker is one statement, and what comes by the feed is one
//! transaction for each page, however many events of others are in it.

use std::time::Duration;

use lictor_api::event::v1::{Event, event::Data};
use lictor_broker::{Broker, Cursor, Refused, follow};
use lictor_clock::SharedClock;
use lictor_licensing::id::ActivationId;
use tokio_util::sync::CancellationToken;

use super::{SOURCE, UPDATE_SOURCE};
use crate::{saga::Runner, store::ReadThrough};

/// How often the feed is read; the broker is faster.
const FEED_PAUSE: Duration = Duration::from_secs(2);

/// What an event proves: references of others than this service's sagas are none of its ids.
fn proven(event: &Event) -> Vec<ActivationId> {
    match &event.data {
        Some(Data::UpdateConfirmed(confirmed)) => {
            confirmed.references.iter().filter_map(|reference| reference.parse().ok()).collect()
        }
        _ => Vec::new(),
    }
}

/// Takes one event in: what it proves becomes due.
///
/// # Errors
/// When the store does not answer.
pub async fn take_in(runner: Runner, clock: SharedClock, event: Event) -> Result<(), Refused> {
    if runner.store().take_proofs(&proven(&event), clock.now()).await? {
        runner.nudge();
    }
    Ok(())
}

/// Takes a page of the feed in, and that it was read: what it proves becomes due, and license-central hears of blocks.
///
/// # Errors
/// When the store or license-central does not answer: the page is read again then.
pub async fn take_page(runner: Runner, clock: SharedClock, page: Vec<Event>) -> Result<(), Refused> {
    let Some(last) = page.last() else { return Ok(()) };
    for event in &page {
        super::block::tell(&runner, event).await?;
    }
    let activations: Vec<ActivationId> = page.iter().flat_map(proven).collect();
    let read = ReadThrough { consumer: SOURCE, source: UPDATE_SOURCE, sequence: last.sequence };
    if runner.store().take_page(&activations, read, clock.now()).await? {
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
    let one = {
        let (runner, clock) = (runner.clone(), clock.clone());
        move |event| take_in(runner.clone(), clock.clone(), event)
    };
    let cursor = Cursor::new(runner.store().db().clone(), SOURCE, UPDATE_SOURCE);
    let fetch = {
        let peers = runner.peers().clone();
        move |after, limit| {
            let peers = peers.clone();
            async move { peers.update_events(after, limit).await }
        }
    };
    let page = move |page| take_page(runner.clone(), clock.clone(), page);
    let truth = follow(cursor, FEED_PAUSE, fetch, page, stop.clone());
    let (speed, Ok(())) = tokio::join!(broker.consume(SOURCE, one, stop), truth);
    speed
}
