//! An event as it is taken in: checked once, then trusted.

use lictor_api::{convert::from_timestamp, event::v1 as wire};
use lictor_clock::Timestamp;
use lictor_licensing::id::EventId;

/// Most bytes of one encoded event.
pub const EVENT_BYTES: usize = 256 * 1024;
/// Most bytes of a type, source or subject.
pub const NAME_BYTES: usize = 256;

/// An event that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The receiver's dedupe key, the same on every delivery.
    pub id: EventId,
    /// `lictor.<noun>.<past verb>.v1`
    pub kind: String,
    /// The service that announces it.
    pub source: String,
    /// The aggregate.
    pub subject: String,
    /// 1, 2, 3 … per aggregate.
    pub aggregate_sequence: u64,
    /// 1, 2, 3 … per source, without gaps.
    pub sequence: u64,
    /// When it happened.
    pub time: Timestamp,
    /// The trace of the change.
    pub traceparent: Option<String>,
    /// The vendor.
    pub firm_code: u32,
    /// What happened.
    pub data: wire::event::Data,
}

/// Why an event cannot be delivered. It is kept aside with this reason, never dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not an encoded event at all.
    #[error("this is no encoded event")]
    Encoding,
    /// Larger than [`EVENT_BYTES`].
    #[error("the event is larger than 256 KiB")]
    TooLarge,
    /// The id has another form.
    #[error("the event's id is malformed")]
    Id,
    /// Type, source or subject is empty, too long or not plain.
    #[error("the event's {0} is malformed")]
    Name(&'static str),
    /// A sequence number is missing.
    #[error("the event has no {0}")]
    Sequence(&'static str),
    /// The time is missing or out of range.
    #[error("the event's time is malformed")]
    Time,
    /// A newer service says something that this version does not know.
    #[error("the event carries nothing that this version knows; next: update the notification dispatcher")]
    Unknown,
    /// What it says belongs to another type.
    #[error("the event's type does not fit what it carries")]
    Mismatch,
    /// It came from a service other than the one that it names.
    #[error("the event names another source than the service that it came from")]
    Foreign,
}

impl Event {
    /// What orders deliveries: those of one key reach a destination in sequence. The subject is the order for orders and
    /// tickets, the license for licenses and activations, the container for updates.
    pub fn order_key(&self) -> &str {
        &self.subject
    }
}

impl TryFrom<wire::Event> for Event {
    type Error = EventError;

    fn try_from(event: wire::Event) -> Result<Self, EventError> {
        let data = event.data.ok_or(EventError::Unknown)?;
        if event.r#type != lictor_broker::event_type(&data) {
            return Err(EventError::Mismatch);
        }
        if event.sequence == 0 || i64::try_from(event.sequence).is_err() {
            return Err(EventError::Sequence("sequence number"));
        }
        if event.aggregate_sequence == 0 || i64::try_from(event.aggregate_sequence).is_err() {
            return Err(EventError::Sequence("sequence number of its aggregate"));
        }
        Ok(Self {
            id: event.id.parse().map_err(|_| EventError::Id)?,
            kind: event.r#type,
            source: name(event.source, "source")?,
            subject: name(event.subject, "subject")?,
            aggregate_sequence: event.aggregate_sequence,
            sequence: event.sequence,
            time: event.time.as_ref().and_then(from_timestamp).ok_or(EventError::Time)?,
            traceparent: name(event.traceparent, "traceparent").ok(),
            firm_code: event.firm_code,
            data,
        })
    }
}

fn name(text: String, what: &'static str) -> Result<String, EventError> {
    let plain = (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(text) } else { Err(EventError::Name(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> wire::Event {
        wire::Event {
            id: EventId::from_u128(1).to_string(),
            r#type: "lictor.order.created.v1".to_owned(),
            source: "license-central".to_owned(),
            subject: "ord_1".to_owned(),
            aggregate_sequence: 1,
            sequence: 1,
            time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            traceparent: String::new(),
            firm_code: 10,
            data: Some(wire::event::Data::OrderCreated(wire::OrderCreated::default())),
        }
    }

    #[test]
    fn each_defect_has_its_reason() {
        assert!(Event::try_from(good()).is_ok());
        let cases: [(wire::Event, EventError); 9] = [
            (wire::Event { id: "evt_1".to_owned(), ..good() }, EventError::Id),
            (wire::Event { r#type: "lictor.ticket.created.v1".to_owned(), ..good() }, EventError::Mismatch),
            (wire::Event { source: String::new(), ..good() }, EventError::Name("source")),
            (wire::Event { subject: "a\nb".to_owned(), ..good() }, EventError::Name("subject")),
            (wire::Event { subject: "a".repeat(300), ..good() }, EventError::Name("subject")),
            (wire::Event { sequence: 0, ..good() }, EventError::Sequence("sequence number")),
            (
                wire::Event { aggregate_sequence: u64::MAX, ..good() },
                EventError::Sequence("sequence number of its aggregate"),
            ),
            (wire::Event { time: None, ..good() }, EventError::Time),
            (wire::Event { data: None, ..good() }, EventError::Unknown),
        ];
        for (event, why) in cases {
            assert_eq!(Event::try_from(event), Err(why));
        }
    }
}
