//! The broker as services see it, whichever it is.

use std::{future::Future, sync::Arc};

use lictor_api::event::v1::Event;
use tokio_util::sync::CancellationToken;

use crate::{BrokerError, PublishError, Refused, consumer::Handler, in_process::InProcess, rabbit::Rabbit};

/// How to reach RabbitMQ.
#[derive(Debug, Clone)]
pub struct RabbitOptions {
    /// Start of all names on the broker; `lictor` but for tests that share one.
    pub prefix: String,
    /// PEM text of the CA that signed the broker's certificate, for `amqps://`.
    pub ca: Option<String>,
}

impl Default for RabbitOptions {
    fn default() -> Self {
        Self { prefix: "lictor".to_owned(), ca: None }
    }
}

/// RabbitMQ, or queues inside this process. Cheap to clone; all clones are one broker.
#[derive(Debug, Clone)]
pub struct Broker(Kind);

#[derive(Debug, Clone)]
enum Kind {
    InProcess(Arc<InProcess>),
    Rabbit(Arc<Rabbit>),
}

impl Broker {
    /// Bounded queues inside this process. What does not fit or is lost by a crash comes by the cursors.
    pub fn in_process() -> Self {
        Self(Kind::InProcess(Arc::new(InProcess::new())))
    }

    /// RabbitMQ at `amqp://USER:PASSWORD@HOST:PORT/VHOST` (`amqps://` with TLS). Nothing is connected yet: a broker that is
    /// down at start keeps nobody from working, because events wait in the outbox.
    ///
    /// # Errors
    /// `Settings` for a malformed address.
    pub fn rabbit(url: &str, options: RabbitOptions) -> Result<Self, BrokerError> {
        Ok(Self(Kind::Rabbit(Arc::new(Rabbit::new(url, options)?))))
    }

    /// Hands events over in their order and waits for the broker's confirmation of each.
    pub async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        match &self.0 {
            Kind::InProcess(broker) => {
                broker.publish(events);
                Ok(())
            }
            Kind::Rabbit(broker) => broker.publish(events).await,
        }
    }

    /// Gives `consumer`'s events to `handler`, one after the other, until `stop`. Reconnects by itself.
    ///
    /// # Errors
    /// `Consumer` when it is not in the topology or has a handler already (in-process).
    pub async fn consume<F, Fut>(
        &self,
        consumer: &'static str,
        handler: F,
        stop: CancellationToken,
    ) -> Result<(), BrokerError>
    where
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let one: Handler = Arc::new(move |events| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                for event in events {
                    handler(event).await?;
                }
                Ok(())
            })
        });
        self.consume_with(consumer, 1, one, stop).await
    }

    /// The same with up to `most` events at a time: those that are there already, without waiting for more. They are
    /// acknowledged together after the handler took them, and come again together when it did not. A handler that
    /// answers [`Refused::Poison`] condemns all of them, so it should keep a bad one aside by itself.
    ///
    /// # Errors
    /// Those of [`Broker::consume`].
    pub async fn consume_batches<F, Fut>(
        &self,
        consumer: &'static str,
        most: usize,
        handler: F,
        stop: CancellationToken,
    ) -> Result<(), BrokerError>
    where
        F: Fn(Vec<Event>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |events| Box::pin(handler(events)));
        self.consume_with(consumer, most.max(1), handler, stop).await
    }

    async fn consume_with(
        &self,
        consumer: &'static str,
        most: usize,
        handler: Handler,
        stop: CancellationToken,
    ) -> Result<(), BrokerError> {
        match &self.0 {
            Kind::InProcess(broker) => broker.consume(consumer, most, handler, stop).await,
            Kind::Rabbit(broker) => broker.consume(consumer, most, handler, stop).await,
        }
    }

    /// Connects once and declares the topology, to tell early that an address is wrong.
    pub async fn check(&self) -> Result<(), BrokerError> {
        match &self.0 {
            Kind::InProcess(_) => Ok(()),
            Kind::Rabbit(broker) => broker.check().await,
        }
    }

    /// `in-process` or `rabbitmq`, for logs.
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Kind::InProcess(_) => "in-process",
            Kind::Rabbit(_) => "rabbitmq",
        }
    }
}
