//! Reading a source's feed from where the consumer stands: heals whatever the broker lost.

use std::{future::Future, time::Duration};

use lictor_api::event::v1::Event;
use lictor_storage::{Database, StorageError, inbox};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Instrument;

use crate::Refused;

/// Events asked for at once.
const PAGE: u32 = 200;

/// Where a consumer stands in one source.
#[derive(Debug, Clone)]
pub struct Cursor {
    db: Database,
    consumer: &'static str,
    source: String,
}

impl Cursor {
    /// The cursor of `consumer` for `source`, kept in the consumer's own database.
    pub fn new(db: Database, consumer: &'static str, source: impl Into<String>) -> Self {
        Self { db, consumer, source: source.into() }
    }

    /// The number of the last event before which nothing is missing; 0 at the beginning.
    pub async fn position(&self) -> Result<u64, StorageError> {
        inbox::cursor(&self.db, self.consumer, &self.source).await
    }

    /// Fetches pages after the position and gives each event to `handle` until the source has no more; tells how many
    /// were given. `handle` must move the cursor with [`inbox::take`].
    ///
    /// # Errors
    /// The first refusal of the source or the handler; the position then stands before that event.
    pub async fn catch_up<F, FetchFut, H, HandleFut>(&self, fetch: &F, handle: &H) -> Result<u64, Refused>
    where
        F: Fn(u64, u32) -> FetchFut,
        FetchFut: Future<Output = Result<Vec<Event>, Status>>,
        H: Fn(Event) -> HandleFut,
        HandleFut: Future<Output = Result<(), Refused>>,
    {
        let mut given = 0;
        loop {
            let position = self.position().await?;
            let page = fetch(position, PAGE).await?;
            if page.is_empty() {
                return Ok(given);
            }
            let mut expected = position;
            for event in page {
                expected += 1;
                if event.sequence != expected || event.source != self.source {
                    // Never step over a hole: it may be an event that is not shown yet.
                    return Err(Refused::Later(format!(
                        "the feed of {} gave number {} of {} where {expected} comes next",
                        self.source, event.sequence, event.source
                    )));
                }
                let span = tracing::info_span!("event", otel.name = %event.r#type, otel.kind = "consumer", event.id = %event.id);
                lictor_telemetry::set_parent(&span, Some(&event.traceparent));
                handle(event).instrument(span).await?;
                given += 1;
            }
            if self.position().await? <= position {
                return Err(Refused::Later("the handler did not move the cursor".to_owned()));
            }
        }
    }
}

/// Catches up now and then every `interval`, until `stop`. Refusals are logged and tried again at the next turn.
///
/// # Errors
/// None; the result is there so that it can be spawned like other background tasks.
pub async fn follow<F, FetchFut, H, HandleFut>(
    cursor: Cursor,
    interval: Duration,
    fetch: F,
    handle: H,
    stop: CancellationToken,
) -> Result<(), std::convert::Infallible>
where
    F: Fn(u64, u32) -> FetchFut,
    FetchFut: Future<Output = Result<Vec<Event>, Status>>,
    H: Fn(Event) -> HandleFut,
    HandleFut: Future<Output = Result<(), Refused>>,
{
    while !stop.is_cancelled() {
        let caught = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            caught = cursor.catch_up(&fetch, &handle) => caught,
        };
        if let Err(refused) = caught {
            tracing::warn!(source = cursor.source, reason = %refused, "the feed cannot be read to its end");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
    Ok(())
}
