//! The events of this service. They leave through its own outbox, so they reach destinations like all others.

use lictor_api::event::v1::{DestinationDisabled, event::Data};
use lictor_broker::{Announcement, announce};
use lictor_clock::Timestamp;
use lictor_licensing::id::{DestinationId, EventId};
use lictor_storage::{StorageError, Tx, outbox};

use super::SOURCE;
use crate::random;

/// Destinations belong to the installation, not to one vendor: their events carry no firm code.
const NO_FIRM: u32 = 0;

/// Announces that a destination was disabled. Needs the ledger's lock.
pub async fn destination_disabled(
    tx: &mut Tx,
    id: DestinationId,
    reason: &str,
    now: Timestamp,
) -> Result<(), StorageError> {
    let subject = id.to_string();
    let announcement = Announcement {
        id: EventId::new(now, random::bytes()).to_string(),
        source: SOURCE,
        aggregate_sequence: outbox::next_aggregate_sequence(tx, &subject).await?,
        subject: subject.clone(),
        firm_code: NO_FIRM,
        time: now,
        data: Data::DestinationDisabled(DestinationDisabled { destination_id: subject, reason: reason.to_owned() }),
    };
    announce(tx, announcement).await
}
