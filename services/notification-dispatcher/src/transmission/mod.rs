//! Ways to a destination. Webhooks are the first; each further way is a variant of [`Transmission`] and a file here.

mod failure;
pub mod guard;
pub mod webhook;

use std::sync::Arc;

use lictor_clock::SharedClock;
use lictor_licensing::id::{DestinationId, EventId};
use prost::bytes::Bytes;

use crate::domain::{outcome::Attempt, secret::SigningSecret, target::Target};

/// One event, ready to be sent to one destination.
#[derive(Debug, Clone)]
pub struct Shipment {
    /// The receiver's dedupe key.
    pub event_id: EventId,
    /// Which destination.
    pub destination_id: DestinationId,
    /// How it is reached.
    pub transmission: Transmission,
    /// The body, byte for byte as on every other attempt.
    pub body: Bytes,
    /// The trace of the change.
    pub traceparent: Option<String>,
    /// 1 for the first attempt.
    pub number: u32,
}

/// How a destination is reached.
#[derive(Debug, Clone)]
pub enum Transmission {
    /// POST of signed JSON.
    Webhook(Arc<webhook::Webhook>),
}

impl Transmission {
    /// Where it goes.
    pub fn target(&self) -> &Target {
        match self {
            Self::Webhook(webhook) => &webhook.target,
        }
    }

    /// What signs for it.
    pub fn secrets(&self) -> &[SigningSecret] {
        match self {
            Self::Webhook(webhook) => &webhook.secrets,
        }
    }
}

/// What the ways need in common.
#[derive(Debug, Clone)]
pub struct Carrier {
    webhooks: webhook::Sender,
    clock: SharedClock,
}

impl Carrier {
    /// A carrier over one HTTP client.
    pub fn new(webhooks: webhook::Sender, clock: SharedClock) -> Self {
        Self { webhooks, clock }
    }

    /// Makes one attempt. Never fails: whatever happens is an [`Attempt`].
    pub async fn carry(&self, shipment: &Shipment) -> Attempt {
        match &shipment.transmission {
            Transmission::Webhook(webhook) => self.webhooks.send(webhook, shipment, &*self.clock).await,
        }
    }
}
