//! `update.confirmed` of the push update generator: by the broker for speed, by its feed for truth.
//!
//! Noting a proof twice changes nothing, so what comes by the broker is one statement, and what comes by the feed is one
//! transaction for each page, however many events of others are in it.

use std::time::Duration;

use lictor_api::event::v1::{Event, event::Data};
use lictor_broker::{Broker, Cursor, Refused};
use lictor_clock::SharedClock;
use lictor_licensing::id::ActivationId;
use tokio_util::sync::CancellationToken;

use super::{SOURCE, UPDATE_SOURCE};
use crate::{saga::Runner, store::ReadThrough};

/// How often the feed is read; the broker is faster.
const FEED_PAUSE: Duration = Duration::from_secs(2);
/// Events of one page.
const PAGE: u32 = 500;

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

/// Reads the generator's feed from where this service stands to its end; tells how many events came.
///
/// # Errors
/// When the generator or the store does not answer, or an event is missing in between.
pub async fn catch_up(runner: &Runner, clock: &SharedClock) -> Result<u64, Refused> {
    let mut position = Cursor::new(runner.store().db().clone(), SOURCE, UPDATE_SOURCE).position().await?;
    let mut read = 0;
    loop {
        let page = runner.peers().update_events(position, PAGE).await?;
        let Some(last) = page.last().map(|event| event.sequence) else {
            return Ok(read);
        };
        for (event, expected) in page.iter().zip(position + 1..) {
            if event.sequence != expected || event.source != UPDATE_SOURCE {
                // Never step over a hole: it may be an event that is not shown yet.
                return Err(Refused::Later(format!(
                    "the feed gave number {} of {} where {expected} comes next",
                    event.sequence, event.source
                )));
            }
        }
        for event in &page {
            super::block::tell(runner, event).await?;
        }
        let activations: Vec<ActivationId> = page.iter().flat_map(proven).collect();
        let through = ReadThrough { consumer: SOURCE, source: UPDATE_SOURCE, sequence: last };
        if runner.store().take_page(&activations, through, clock.now()).await? {
            runner.nudge();
        }
        read += page.len() as u64;
        position = last;
    }
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
        let (runner, clock) = (runner.clone(), clock.clone());
        move |event: Event| take_in(runner.clone(), clock.clone(), event)
    };
    let truth = async {
        while !stop.is_cancelled() {
            let caught = tokio::select! {
                () = stop.cancelled() => return,
                caught = catch_up(&runner, &clock) => caught,
            };
            if let Err(refused) = caught {
                tracing::warn!(reason = %refused, "the generator's feed cannot be read to its end");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(FEED_PAUSE) => {}
            }
        }
    };
    let (speed, ()) = tokio::join!(broker.consume(SOURCE, handler, stop.clone()), truth);
    speed
}
