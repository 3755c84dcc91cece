//! Reading a source's feed from where the consumer stands: heals whatever the broker lost.

use std::{future::Future, time::Duration};

use lictor_api::event::v1::Event;
use lictor_storage::{Database, StorageError, inbox};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::Refused;

/// Events asked for at once.
const PAGE: u32 = 500;

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

    /// Fetches pages after the position and gives each to `handle`, without the events from a hole on; tells how many
    /// events were given. `handle` must move the cursor, with [`inbox::take`] event by event or with [`inbox::advance`].
    ///
    /// # Errors
    /// The first refusal of the source or the handler, or a hole; the position then stands before what was refused.
    pub async fn catch_up<F, FetchFut, H, HandleFut>(&self, fetch: &F, handle: &H) -> Result<u64, Refused>
    where
        F: Fn(u64, u32) -> FetchFut,
        FetchFut: Future<Output = Result<Vec<Event>, Status>>,
        H: Fn(Vec<Event>) -> HandleFut,
        HandleFut: Future<Output = Result<(), Refused>>,
    {
        let mut given = 0;
        loop {
            let position = self.position().await?;
            let mut page = fetch(position, PAGE).await?;
            if page.is_empty() {
                return Ok(given);
            }
            let hole = self.cut_at_hole(&mut page, position);
            if !page.is_empty() {
                given += page.len() as u64;
                handle(page).await?;
                if self.position().await? <= position {
                    return Err(Refused::Later("the handler did not move the cursor".to_owned()));
                }
            }
            if let Some(hole) = hole {
                return Err(hole);
            }
        }
    }

    /// Leaves out everything from the first event that does not follow on: what is missing may be an event that is not
    /// shown yet, and it is never stepped over.
    fn cut_at_hole(&self, page: &mut Vec<Event>, position: u64) -> Option<Refused> {
        let follows = |(event, expected): &(&Event, u64)| event.sequence == *expected && event.source == self.source;
        let whole = page.iter().zip(position + 1..).take_while(follows).count();
        let hole = page.get(whole).map(|event| {
            let expected = position + 1 + whole as u64;
            Refused::Later(format!(
                "the feed of {} gave number {} of {} where {expected} comes next",
                self.source, event.sequence, event.source
            ))
        });
        page.truncate(whole);
        hole
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
    H: Fn(Vec<Event>) -> HandleFut,
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
