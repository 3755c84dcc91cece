//! Ways to a destination: each is a variant of [`Transmission`] and a file here.

pub mod email;
pub mod executable;
mod failure;
pub mod file;
pub mod guard;
pub mod mailer;
pub mod names;
mod odata_error;
pub mod sap;
pub mod transmitter;
pub mod way;
pub mod webhook;

use std::{sync::Arc, time::Duration};

use lictor_api::notification::v1::{self as wire, transmission::Kind as Wire};
use lictor_clock::SharedClock;
use lictor_licensing::id::DestinationId;
use prost::bytes::Bytes;
use tracing::{Instrument, field};

use self::{
    email::EmailWay,
    executable::ExecutableSender,
    file::{FileSender, FileWay},
    mailer::Mailer,
    sap::{SapSender, SapWay},
    transmitter::TransmitterSender,
    way::{CustomWay, WayError},
};
use crate::domain::{allow::AllowList, outcome::Attempt, secret::HeldKey, target::Target};

/// One notification, ready to be sent to one destination.
#[derive(Debug, Clone)]
pub struct Shipment {
    /// The receiver's dedupe key: the event's id, with a number when the event makes several records.
    pub event_id: String,
    /// Which destination.
    pub destination_id: DestinationId,
    /// How it is reached.
    pub transmission: Arc<Transmission>,
    /// What signs it, newest first; webhooks only.
    pub keys: Arc<Vec<HeldKey>>,
    /// The body, byte for byte as on every other attempt.
    pub body: Bytes,
    /// Its media type.
    pub content_type: &'static str,
    /// The trace of the change.
    pub traceparent: Option<String>,
    /// 1 for the first attempt.
    pub number: u32,
    /// Longest time of this call; nothing for what the settings say.
    pub timeout: Option<Duration>,
}

impl Shipment {
    /// What the receiver gets as `traceparent`: the span of this attempt, and where none is exported the trace of the
    /// change as it came.
    fn traceparent(&self) -> Option<String> {
        let stored = || self.traceparent.clone().filter(|text| lictor_telemetry::is_traceparent(text));
        lictor_telemetry::current_traceparent().or_else(stored)
    }
}

/// How a destination is reached, checked.
#[derive(Debug, Clone)]
pub enum Transmission {
    /// POST of signed JSON.
    Webhook(Target),
    /// POST of an entity to an OData service.
    Sap(SapWay),
    /// The operator's own program, or a gRPC Transmitter.
    Custom(CustomWay),
    /// One mail per delivery.
    Email(EmailWay),
    /// A line per delivery.
    File(FileWay),
}

impl Transmission {
    /// Reads what the contract says. `allow` is nothing for one that was checked when it was stored: each call checks
    /// anew, because the operator may have changed the list since.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn read(wanted: &wire::Transmission, allow: Option<&AllowList>) -> Result<Self, WayError> {
        match &wanted.kind {
            Some(Wire::Webhook(webhook)) => Ok(Self::Webhook(match allow {
                Some(allow) => Target::new(&webhook.url, allow)?,
                None => Target::stored(&webhook.url)?,
            })),
            Some(Wire::Sap(sap)) => Ok(Self::Sap(way::sap(sap, allow)?)),
            Some(Wire::Custom(custom)) => Ok(Self::Custom(way::custom(custom, allow)?)),
            Some(Wire::Email(email)) => Ok(Self::Email(way::email(email)?)),
            Some(Wire::File(file)) => Ok(Self::File(way::file(file)?)),
            None => Err(WayError::Other("the destination does not say how it is reached".to_owned())),
        }
    }

    /// What an attempt is called in traces.
    const fn span_name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook attempt",
            Self::Sap(_) => "sap attempt",
            Self::Custom(CustomWay::Executable(_)) => "executable attempt",
            Self::Custom(CustomWay::Transmitter(_)) => "transmitter attempt",
            Self::Email(_) => "mail attempt",
            Self::File(_) => "file attempt",
        }
    }
}

/// The ways beside webhooks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ways {
    /// OData services.
    pub sap: SapSender,
    /// The operator's programs.
    pub executables: ExecutableSender,
    /// gRPC services.
    pub transmitters: TransmitterSender,
    /// Mail.
    pub mailer: Mailer,
    /// Files.
    pub files: FileSender,
}

/// What the ways need in common. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Carrier {
    webhooks: webhook::Sender,
    ways: Ways,
    clock: SharedClock,
}

impl Carrier {
    /// A carrier over one HTTP client.
    pub fn new(webhooks: webhook::Sender, ways: Ways, clock: SharedClock) -> Self {
        Self { webhooks, ways, clock }
    }

    /// Whether this program is set up for a way; asked when a destination is added or changed.
    ///
    /// # Errors
    /// What the operator has to settle first.
    pub fn accepts(&self, transmission: &Transmission) -> Result<(), WayError> {
        match transmission {
            Transmission::Webhook(_) | Transmission::Sap(_) | Transmission::Custom(CustomWay::Transmitter(_)) => Ok(()),
            Transmission::Custom(CustomWay::Executable(name)) => {
                self.ways.executables.check(name).map(drop).map_err(|error| WayError::Other(error.to_string()))
            }
            Transmission::Email(_) if self.ways.mailer.is_open() => Ok(()),
            Transmission::Email(_) => Err(WayError::Other(mailer::CLOSED.to_owned())),
            Transmission::File(_) if self.ways.files.is_open() => Ok(()),
            Transmission::File(_) => Err(WayError::Other(file::CLOSED.to_owned())),
        }
    }

    /// Makes one attempt, in a span that is a child of the change. Never fails: whatever happens is an [`Attempt`].
    pub async fn carry(&self, shipment: &Shipment) -> Attempt {
        let span = tracing::info_span!(
            "attempt",
            otel.name = shipment.transmission.span_name(),
            otel.kind = "client",
            event.id = %shipment.event_id,
            destination.id = %shipment.destination_id,
            attempt = shipment.number,
            http.response.status_code = field::Empty,
            result = field::Empty,
        );
        lictor_telemetry::set_parent(&span, shipment.traceparent.as_deref());
        let attempt = self.send(shipment).instrument(span.clone()).await;
        if attempt.status > 0 {
            span.record("http.response.status_code", attempt.status);
        }
        span.record("result", attempt.result.name());
        attempt
    }

    async fn send(&self, shipment: &Shipment) -> Attempt {
        let clock = &*self.clock;
        match &*shipment.transmission {
            Transmission::Webhook(target) => self.webhooks.send(target, shipment, clock).await,
            Transmission::Sap(way) => self.ways.sap.send(way, shipment, clock).await,
            Transmission::Custom(CustomWay::Executable(name)) => {
                self.ways.executables.send(name, shipment, clock).await
            }
            Transmission::Custom(CustomWay::Transmitter(way)) => {
                self.ways.transmitters.send(way, shipment, clock).await
            }
            Transmission::Email(way) => email::send(&self.ways.mailer, way, shipment, clock).await,
            Transmission::File(way) => self.ways.files.send(way, shipment, clock).await,
        }
    }
}
