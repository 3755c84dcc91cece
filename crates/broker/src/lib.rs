//! Events between services: one topology over RabbitMQ or inside the process. The broker gives speed; the outbox of the
//! announcing service and the cursor of the consuming one give truth.
//!
//! # Announcing
//! ```no_run
//! use lictor_api::event::v1::{Event, OrderCreated, event::Data};
//! use lictor_broker::{Announcement, Broker, announce, relay};
//! use lictor_clock::{SharedClock, Timestamp};
//! use lictor_storage::{Database, StorageError};
//! use lictor_telemetry::Metrics;
//! use tokio_util::sync::CancellationToken;
//!
//! async fn create_order(db: &Database, event_id: String, now: Timestamp) -> Result<(), StorageError> {
//!     let mut tx = db.begin().await?;
//!     // … the change …
//!     announce(&mut tx, Announcement {
//!         id: event_id,
//!         source: "license-central",
//!         subject: "ord_1".to_owned(),
//!         aggregate_sequence: 1, // the aggregate's version, or outbox::next_aggregate_sequence
//!         firm_code: 10,
//!         time: now,
//!         data: Data::OrderCreated(OrderCreated::default()),
//!     }).await?;
//!     tx.commit().await // wakes the relay
//! }
//!
//! // In `start`: frame.lifecycle().spawn("relay", relay(…)).
//! async fn relay_task(db: Database, broker: Broker, clock: SharedClock, metrics: Metrics, stop: CancellationToken) {
//!     let _ = relay(db, broker, "license-central", clock, &metrics, stop).await;
//! }
//! ```
//! `EventFeedService.ListEvents` is one call: [`list_events`].
//!
//! # Consuming
//! ```no_run
//! use std::time::Duration;
//! use lictor_api::event::v1::Event;
//! use lictor_broker::{Broker, Cursor, Refused, follow};
//! use lictor_clock::SharedClock;
//! use lictor_storage::{Database, inbox::{self, Taken}};
//! use tokio_util::sync::CancellationToken;
//!
//! const ME: &str = "notification-dispatcher";
//!
//! // For both ways in. It answers only after its own commit.
//! async fn take_in(db: Database, clock: SharedClock, event: Event) -> Result<(), Refused> {
//!     let mut tx = db.begin().await?;
//!     let taken = Taken { consumer: ME, source: &event.source, event_id: &event.id, sequence: event.sequence };
//!     if inbox::take(&mut tx, &taken, clock.now()).await? {
//!         // … store it; Err(Refused::Poison("…")) for one that can never be taken …
//!     }
//!     tx.commit().await?;
//!     Ok(())
//! }
//!
//! // The feed comes by pages.
//! async fn take_page(db: Database, clock: SharedClock, page: Vec<Event>) -> Result<(), Refused> {
//!     for event in page {
//!         take_in(db.clone(), clock.clone(), event).await?;
//!     }
//!     Ok(())
//! }
//!
//! async fn both_ways(broker: Broker, db: Database, clock: SharedClock, stop: CancellationToken) {
//!     let one = { let (db, clock) = (db.clone(), clock.clone()); move |event| take_in(db.clone(), clock.clone(), event) };
//!     let speed = broker.consume(ME, one, stop.clone());
//!     // Reads the source's feed at start and every 5 s, so whatever the broker lost arrives too.
//!     let cursor = Cursor::new(db.clone(), ME, "license-central");
//!     let page = move |page| take_page(db.clone(), clock.clone(), page);
//!     let fetch = |after, limit| async move { let _ = (after, limit); Ok(Vec::<Event>::new()) }; // EventFeedServiceClient::list_events
//!     let truth = follow(cursor, Duration::from_secs(5), fetch, page, stop);
//!     let _ = tokio::join!(speed, truth);
//! }
//! ```
//!
//! A handler that fails with [`Refused::Later`] is tried again in place with growing pauses for 15 s, then the message
//! goes back to its queue, and after 20 deliveries to the dead-letter queue; [`Refused::Poison`] goes there at once. The
//! cursor passes over neither: it stays before a refused event until the handler takes it.

mod broker;
mod consumer;
mod cursor;
mod error;
mod event;
mod in_process;
mod rabbit;
mod relay;
mod settings;
pub mod topology;

pub use broker::{Broker, RabbitOptions};
pub use cursor::{Cursor, Page, follow};
pub use error::{BrokerError, PublishError, Refused};
pub use event::{Announcement, announce, announce_all, event_type, list_events};
pub use relay::relay;
