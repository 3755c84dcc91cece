//! Reading a source's feed from where the consumer stands: heals whatever the broker lost.

use std::{future::Future, time::Duration};

use lictor_api::event::v1::{Event, ListEventsResponse};
use lictor_storage::{Database, StorageError, inbox};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::Refused;

/// Events asked for at once.
const PAGE: u32 = 500;

/// What a source answers: events, and up to which number its events are gone.
#[derive(Debug, Default)]
pub struct Page {
    events: Vec<Event>,
    gone_through: u64,
}

impl From<ListEventsResponse> for Page {
    fn from(answer: ListEventsResponse) -> Self {
        Self { events: answer.events, gone_through: answer.gone_through }
    }
}

/// Of a source that keeps everything.
impl From<Vec<Event>> for Page {
    fn from(events: Vec<Event>) -> Self {
        Self { events, gone_through: 0 }
    }
}

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
    /// What the source keeps no longer is stepped over, with an error in the log unless nothing of it was ever read: a
    /// consumer that stays away for longer than a source keeps its events has missed some, and standing still would miss
    /// the rest too.
    ///
    /// # Errors
    /// The first refusal of the source or the handler, or a hole; the position then stands before what was refused.
    pub async fn catch_up<F, FetchFut, P, H, HandleFut>(&self, fetch: &F, handle: &H) -> Result<u64, Refused>
    where
        F: Fn(u64, u32) -> FetchFut,
        FetchFut: Future<Output = Result<P, Status>>,
        P: Into<Page>,
        H: Fn(Vec<Event>) -> HandleFut,
        HandleFut: Future<Output = Result<(), Refused>>,
    {
        let mut given = 0;
        loop {
            let mut position = self.position().await?;
            let Page { events: mut page, gone_through } = fetch(position, PAGE).await?.into();
            if gone_through > position {
                self.step_over(position, gone_through).await?;
                position = gone_through;
            }
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

    async fn step_over(&self, position: u64, gone_through: u64) -> Result<(), StorageError> {
        if position > 0 {
            let missed = gone_through - position;
            tracing::error!(
                source = self.source,
                position,
                missed,
                "events were missed: their source keeps them no longer"
            );
        }
        let mut tx = self.db.begin().await?;
        inbox::advance(&mut tx, self.consumer, &self.source, gone_through).await?;
        tx.commit().await
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
pub async fn follow<F, FetchFut, P, H, HandleFut>(
    cursor: Cursor,
    interval: Duration,
    fetch: F,
    handle: H,
    stop: CancellationToken,
) -> Result<(), std::convert::Infallible>
where
    F: Fn(u64, u32) -> FetchFut,
    FetchFut: Future<Output = Result<P, Status>>,
    P: Into<Page>,
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
