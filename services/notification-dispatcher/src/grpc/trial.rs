//! Test deliveries: one call with an event of no meaning, outside of the queue.

use std::sync::Arc;

use lictor_licensing::{
    error::ErrorCode,
    id::{DestinationId, EventId},
};
use lictor_storage::StorageError;
use serde_json::json;
use tonic::Status;

use super::{Desk, answer, commanded::Refusal};
use crate::{
    domain::{
        cloud_event::{CONTENT_TYPE, MAPPED_TYPE},
        outcome::Attempt,
    },
    events::SOURCE,
    random,
    store::destination,
    transmission::{Shipment, Transmission},
};

/// The type of the event.
const KIND: &str = "lictor.destination.tested.v1";

/// Makes the call and tells the event's id and what came of it.
pub(super) async fn make(desk: &Desk, id: DestinationId) -> Result<(String, Attempt), Status> {
    let now = desk.clock.now();
    let read = async {
        let mut tx = desk.db.begin().await?;
        let found = destination::find(&mut tx, id, &desk.seal).await?;
        let keys = destination::keys(&mut tx, id, now, &desk.seal).await?;
        tx.rollback().await?;
        Ok::<_, StorageError>((found, keys))
    };
    let (found, keys) = read.await.map_err(answer::storage)?;
    let found = found.ok_or(Refusal::Missing)?;
    let transmission = Transmission::read(&found.transmission, None)
        .map_err(|error| answer::invalid(error, "change how the destination is reached"))?;
    let _place = desk.trials.try_acquire().map_err(|_| {
        answer::refuse(ErrorCode::LimitExceeded, "too many test deliveries run at once", "wait for one to end")
    })?;
    let event_id = EventId::new(now, random::bytes()).to_string();
    let notification = json!({
        "specversion": "1.0",
        "id": event_id,
        "type": KIND,
        "source": format!("/lictor/{SOURCE}"),
        "subject": id.to_string(),
        "time": now.to_string(),
        "timestamp": now.to_string(),
        "datacontenttype": "application/json",
        "data": { "destination_id": id.to_string() },
    });
    let (body, content_type) = match &found.options.template {
        Some(template) => (template.fill(&notification), MAPPED_TYPE),
        None => (notification.to_string().into_bytes(), CONTENT_TYPE),
    };
    let shipment = Shipment {
        event_id: event_id.clone(),
        destination_id: id,
        transmission: Arc::new(transmission),
        keys: Arc::new(keys),
        body: body.into(),
        content_type,
        traceparent: lictor_telemetry::current_traceparent(),
        number: 1,
        timeout: found.options.limits.timeout,
    };
    Ok((event_id, desk.carrier.carry(&shipment).await))
}
