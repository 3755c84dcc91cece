//! Events on their way: from a change into the outbox, from the outbox to the feed and the broker.

use lictor_api::{
    convert,
    event::v1::{Event, ListEventsRequest, ListEventsResponse, event::Data},
};
use lictor_clock::Timestamp;
use lictor_storage::{
    Database, StorageError, Tx,
    outbox::{self, NewEvent, StoredEvent},
};
use prost::Message;

/// Events in an answer when the caller names no number.
const DEFAULT_LIMIT: u32 = 200;
/// Most events in an answer.
const MAX_LIMIT: u32 = 1_000;
/// Most bytes of the events in an answer: well under what a client takes in one message.
const ANSWER_BYTES: usize = 3 * 1024 * 1024;

/// A fact to announce.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Fresh id, `evt_…`.
    pub id: String,
    /// The announcing service.
    pub source: &'static str,
    /// The aggregate.
    pub subject: String,
    /// 1, 2, 3 … per aggregate.
    pub aggregate_sequence: u64,
    /// The firm that it belongs to.
    pub firm_code: u32,
    /// When it happened.
    pub time: Timestamp,
    /// What happened; gives the event's type.
    pub data: Data,
}

/// Writes the event into the outbox as part of `tx`, with the trace of the current span.
pub async fn announce(tx: &mut Tx, announcement: Announcement) -> Result<(), StorageError> {
    outbox::append(tx, &row(announcement, lictor_telemetry::current_traceparent())).await
}

/// Writes several events into the outbox as part of `tx`, in their order, with few statements. Each brings the trace that
/// it belongs to, because one transaction may carry the changes of many callers.
pub async fn announce_all(tx: &mut Tx, announcements: Vec<(Announcement, Option<String>)>) -> Result<(), StorageError> {
    let rows: Vec<_> = announcements.into_iter().map(|(announcement, trace)| row(announcement, trace)).collect();
    outbox::append_all(tx, &rows).await
}

fn row(announcement: Announcement, traceparent: Option<String>) -> NewEvent {
    let Announcement { id, source, subject, aggregate_sequence, firm_code, time, data } = announcement;
    let kind = event_type(&data);
    let event = Event {
        id: id.clone(),
        r#type: kind.to_owned(),
        source: source.to_owned(),
        subject: subject.clone(),
        aggregate_sequence,
        sequence: 0,
        time: Some(convert::timestamp(time)),
        traceparent: traceparent.clone().unwrap_or_default(),
        firm_code,
        data: Some(data),
    };
    NewEvent {
        id,
        kind: kind.to_owned(),
        aggregate: subject,
        aggregate_sequence,
        payload: event.encode_to_vec(),
        traceparent,
        occurred_at: time,
    }
}

/// The type of an event, `lictor.<noun>.<past verb>.v1`; also its routing key.
pub const fn event_type(data: &Data) -> &'static str {
    match data {
        Data::OrderCreated(_) => "lictor.order.created.v1",
        Data::TicketCreated(_) => "lictor.ticket.created.v1",
        Data::LicenseCreated(_) => "lictor.license.created.v1",
        Data::LicenseChanged(_) => "lictor.license.changed.v1",
        Data::LicenseWithdrawn(_) => "lictor.license.withdrawn.v1",
        Data::LicenseExpiring(_) => "lictor.license.expiring.v1",
        Data::LicenseExpired(_) => "lictor.license.expired.v1",
        Data::LicenseRenewed(_) => "lictor.license.renewed.v1",
        Data::LicenseMerged(_) => "lictor.license.merged.v1",
        Data::TransferChanged(_) => "lictor.transfer.changed.v1",
        Data::ActivationCompleted(_) => "lictor.activation.completed.v1",
        Data::ActivationConfirmed(_) => "lictor.activation.confirmed.v1",
        Data::UpdateIssued(_) => "lictor.update.issued.v1",
        Data::UpdateConfirmed(_) => "lictor.update.confirmed.v1",
        Data::ContainerSuspected(_) => "lictor.container.suspected.v1",
        Data::ContainerRegistered(_) => "lictor.container.registered.v1",
        Data::ContainerRebased(_) => "lictor.container.rebased.v1",
        Data::ContainerBlocked(_) => "lictor.container.blocked.v1",
        Data::ContainerAssigned(_) => "lictor.container.assigned.v1",
        Data::RootRotated(_) => "lictor.root.rotated.v1",
        Data::DestinationDisabled(_) => "lictor.destination.disabled.v1",
    }
}

/// The answer of `EventFeedService.ListEvents`. Committed events that have no number yet get one first, so the feed works
/// without any relay.
pub async fn list_events(db: &Database, request: &ListEventsRequest) -> Result<ListEventsResponse, StorageError> {
    outbox::sequence(db).await?;
    let limit = if request.limit == 0 { DEFAULT_LIMIT } else { request.limit.min(MAX_LIMIT) };
    let mut bytes = 0;
    let mut events = Vec::new();
    // What goes between this and the page leaves a hole that a reader sees, and the next answer explains it.
    let gone_through = outbox::gone_through(db).await?;
    for stored in outbox::list_events(db, request.after_sequence, limit).await? {
        bytes += stored.event.payload.len();
        if bytes > ANSWER_BYTES && !events.is_empty() {
            break;
        }
        events.push(decode(&stored)?);
    }
    Ok(ListEventsResponse { events, gone_through })
}

/// The event of an outbox row, with its number.
pub(crate) fn decode(stored: &StoredEvent) -> Result<Event, StorageError> {
    let mut event = Event::decode(stored.event.payload.as_slice())
        .map_err(|error| StorageError::inconsistent("outbox", format!("{}: {error}", stored.event.id)))?;
    event.sequence = stored.sequence;
    Ok(event)
}
