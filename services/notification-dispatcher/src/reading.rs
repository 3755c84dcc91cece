//! Events for receivers that fetch: one page after a cursor, over gRPC and HTTP alike.

use lictor_licensing::error::ErrorCode;
use lictor_storage::Database;
use tonic::Status;

use crate::{
    domain::filter::TypeFilter,
    grpc::answer,
    store::feed::{self, Placed},
};

/// Rows looked at for one page, so that a narrow filter over many events answers in time.
const LOOK_AT: u32 = 2_000;
/// Most bytes of the events of one page.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) events: Vec<Placed>,
    /// Where the next page begins.
    pub(crate) cursor: u64,
    /// Whether there is a next page already.
    pub(crate) more: bool,
}

/// Event types that are wanted; none for all.
pub(crate) fn filter(types: &[String]) -> Result<TypeFilter, Status> {
    TypeFilter::new(types.iter().map(String::as_str))
        .map_err(|error| answer::invalid(error, "name event types, or none for all"))
}

/// A request that breaks a rule of form.
pub(crate) fn malformed(message: &str) -> Status {
    answer::invalid(message, "ask for /events?after=CURSOR&limit=200")
}

/// At most `limit` events after the cursor.
pub(crate) async fn page(db: &Database, after: u64, limit: u32, filter: &TypeFilter) -> Result<Page, Status> {
    let (last, gone_through) = feed::ends(db).await.map_err(answer::storage)?;
    if after > last {
        return Err(answer::refuse(
            ErrorCode::Conflict,
            format!("the cursor {after} is beyond the last event {last}: the dispatcher's database was restored"),
            "begin again with cursor 0, and leave out the events that you know by their ids",
        ));
    }
    if after > 0 && after < gone_through {
        return Err(answer::refuse(
            ErrorCode::NotFound,
            format!("events after {after} are kept no longer"),
            "begin again with cursor 0, which is the oldest event that is kept",
        ));
    }
    let from = i64::try_from(after).map_err(|_| malformed("after is no cursor"))?;
    let rows = feed::after(db, from, LOOK_AT.min(if filter.patterns().is_empty() { limit + 1 } else { LOOK_AT }))
        .await
        .map_err(answer::storage)?;
    let (mut events, mut cursor, mut bytes, looked_at) = (Vec::new(), after, 0, rows.len());
    let mut seen = 0;
    for row in rows {
        let wanted = filter.wants(&row.kind);
        let full = events.len() >= limit as usize || (bytes + row.body.len() > PAGE_BYTES && !events.is_empty());
        if wanted && full {
            break;
        }
        seen += 1;
        cursor = row.cursor;
        if wanted {
            bytes += row.body.len();
            events.push(row);
        }
    }
    let more = seen < looked_at || (looked_at > 0 && cursor < last && !filter.patterns().is_empty());
    Ok(Page { events, cursor, more })
}
