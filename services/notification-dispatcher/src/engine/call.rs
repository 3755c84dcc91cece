//! Calls that run, each in a task of its own. Whatever becomes of a task, its end is reported: a slot is never lost.

use lictor_clock::Timestamp;
use lictor_licensing::id::{DeliveryId, DestinationId};
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{
    domain::outcome::Attempt,
    transmission::{Carrier, Shipment},
};

/// A call that ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) id: DeliveryId,
    /// Nothing when the task was cut or broke: the attempt is not on record and is made again.
    pub(super) attempt: Option<Attempt>,
}

/// What is remembered while a call runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) destination: DestinationId,
    pub(super) order_key: String,
    pub(super) number: u32,
    pub(super) first_attempt_at: Option<Timestamp>,
    pub(super) occurred_at: Option<Timestamp>,
    pub(super) abort: AbortHandle,
}

/// Reports the end of a task even when it is dropped half-way.
struct Report {
    id: DeliveryId,
    attempt: Option<Attempt>,
    sender: mpsc::UnboundedSender<Finished>,
}

impl Drop for Report {
    fn drop(&mut self) {
        // Nobody listens any more after a stop.
        let _ = self.sender.send(Finished { id: self.id, attempt: self.attempt.take() });
    }
}

/// Starts a call. The channel is bounded by the number of calls that may run.
pub(super) fn start(
    carrier: &Carrier,
    id: DeliveryId,
    shipment: Shipment,
    sender: &mpsc::UnboundedSender<Finished>,
) -> AbortHandle {
    let carrier = carrier.clone();
    let report = Report { id, attempt: None, sender: sender.clone() };
    let calling = async move {
        // The whole report moves into the task: its drop tells that the task ended.
        let mut report = report;
        let attempt = carrier.carry(&shipment).await;
        report.attempt = Some(attempt);
    };
    tokio::spawn(calling).abort_handle()
}
