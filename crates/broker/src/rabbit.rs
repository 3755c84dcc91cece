//! RabbitMQ: publishing with confirms, consuming with acknowledgement after the handler, reconnecting.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    tcp::OwnedTLSConfig,
    types::{AMQPValue, FieldTable, LongString},
    uri::{AMQPScheme, AMQPUri},
};
use lictor_api::event::v1::Event;
use prost::Message;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    BrokerError, PublishError, RabbitOptions,
    consumer::{Handler, Verdict, hand_over},
    topology::{self, Names, PREFETCH, QUEUES},
};

const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How often a consumer looks whether its connection is still there.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the confirmation of a message.
const CONFIRM_TIME: Duration = Duration::from_secs(30);
/// Seconds between heartbeats; a dead peer is noticed after about two.
const HEARTBEAT: u16 = 15;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Our own code for an orderly close.
const NORMAL: u16 = 200;

#[derive(Debug)]
pub(crate) struct Rabbit {
    uri: AMQPUri,
    ca: Option<String>,
    names: Names,
    publisher: Mutex<Option<Link>>,
}

struct Link {
    connection: Connection,
    channel: Channel,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Rabbit {
    pub(crate) fn new(url: &str, options: RabbitOptions) -> Result<Self, BrokerError> {
        let mut uri: AMQPUri = url.parse().map_err(|_| {
            BrokerError::Settings(
                "the broker's address is malformed; next: write amqp://USER:PASSWORD@HOST:PORT/VHOST".to_owned(),
            )
        })?;
        uri.query.heartbeat = Some(HEARTBEAT);
        if uri.scheme == AMQPScheme::AMQPS {
            // The provider must be there before the first handshake; a second installation does nothing.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        Ok(Self { uri, ca: options.ca, names: Names::new(options.prefix), publisher: Mutex::new(None) })
    }

    async fn connect(&self) -> Result<Link, BrokerError> {
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.ca.clone() };
        let properties = ConnectionProperties::default().with_connection_name("lictor".into());
        let runtime = lapin::runtime::default_runtime().map_err(|error| BrokerError::Settings(error.to_string()))?;
        let connecting = async {
            let connection = Connection::connect_uri_with_config(self.uri.clone(), properties, tls, runtime).await?;
            let channel = connection.create_channel().await?;
            topology::declare(&channel, &self.names).await?;
            Ok::<_, lapin::Error>(Link { connection, channel })
        };
        match tokio::time::timeout(CONNECT_TIME, connecting).await {
            Ok(link) => Ok(link?),
            Err(_) => Err(BrokerError::Unreachable(None)),
        }
    }

    pub(crate) async fn check(&self) -> Result<(), BrokerError> {
        let link = self.connect().await?;
        link.close().await;
        Ok(())
    }

    pub(crate) async fn publish(&self, events: &[Event]) -> Result<(), PublishError> {
        let mut publisher = self.publisher.lock().await;
        let link = match publisher.take() {
            Some(link) => link,
            None => self
                .publishing_link()
                .await
                .map_err(|error| PublishError { published: 0, reason: with_cause(&error) })?,
        };
        match self.publish_over(&link.channel, events).await {
            Ok(()) => {
                *publisher = Some(link);
                Ok(())
            }
            Err(error) => {
                // A new connection declares the topology again, which cures a queue that somebody deleted.
                link.close().await;
                Err(error)
            }
        }
    }

    async fn publishing_link(&self) -> Result<Link, BrokerError> {
        let link = self.connect().await?;
        in_time(CONNECT_TIME, link.channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(link)
    }

    async fn publish_over(&self, channel: &Channel, events: &[Event]) -> Result<(), PublishError> {
        let exchange = self.names.exchange();
        let mut confirms = Vec::with_capacity(events.len());
        let mut broken = None;
        for event in events {
            // `mandatory`: the broker gives a message back that no queue takes, instead of confirming and dropping it.
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let body = event.encode_to_vec();
            let sending = channel.basic_publish(
                exchange.as_str().into(),
                event.r#type.as_str().into(),
                options,
                &body,
                properties_of(event),
            );
            match in_time(CONFIRM_TIME, sending).await {
                Ok(confirm) => confirms.push(confirm),
                Err(error) => {
                    broken = Some(error.to_string());
                    break;
                }
            }
        }
        for (published, confirm) in confirms.into_iter().enumerate() {
            let failed = |reason: String| PublishError { published, reason };
            match tokio::time::timeout(CONFIRM_TIME, confirm).await {
                Ok(Ok(Confirmation::Ack(None))) => {}
                Ok(Ok(Confirmation::Ack(Some(_)))) => {
                    return Err(failed("gave one back: no queue takes it".to_owned()));
                }
                Ok(Ok(Confirmation::Nack(_))) => return Err(failed("refused one".to_owned())),
                Ok(Ok(Confirmation::NotRequested)) => return Err(failed("did not confirm".to_owned())),
                Ok(Err(error)) => return Err(failed(format!("broke off: {error}"))),
                Err(_) => return Err(failed("did not confirm in time".to_owned())),
            }
        }
        match broken {
            None => Ok(()),
            // What broke may have been sent or not: all of it is sent again, and consumers know an event by its id.
            Some(reason) => Err(PublishError { published: 0, reason: format!("broke off: {reason}") }),
        }
    }

    pub(crate) async fn consume(
        &self,
        consumer: &'static str,
        most: usize,
        handler: Handler,
        stop: CancellationToken,
    ) -> Result<(), BrokerError> {
        if !QUEUES.iter().any(|spec| spec.consumer == consumer) {
            return Err(BrokerError::Consumer(format!("{consumer} is no consumer of the topology")));
        }
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            match self.consume_once(consumer, most, &handler, &stop).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(consumer, error = with_cause(&error), "the broker is away, trying again"),
            }
            // A connection that held for a while starts the pauses anew.
            pause = if began.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    async fn consume_once(
        &self,
        consumer: &str,
        most: usize,
        handler: &Handler,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let link = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            link = self.connect() => link?,
        };
        in_time(CONNECT_TIME, link.channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
        let queue = self.names.queue(consumer);
        let options = BasicConsumeOptions::default();
        let consuming = link.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let deliveries = in_time(CONNECT_TIME, consuming).await?;
        tracing::info!(consumer, "consuming");
        let mut deliveries = deliveries.ready_chunks(most);
        loop {
            let arrived = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                arrived = deliveries.next() => arrived,
                () = broken(&link.connection) => return Err(BrokerError::Unreachable(None)),
            };
            match arrived {
                None => return Err(BrokerError::Unreachable(None)),
                // One that broke off leaves the others unacknowledged: they come again.
                Some(arrived) => settle(arrived.into_iter().collect::<Result<_, _>>()?, handler, stop).await?,
            }
        }
        // What was prefetched and not acknowledged goes back to the queue by itself.
        link.close().await;
        Ok(())
    }
}

async fn settle(arrived: Vec<Delivery>, handler: &Handler, stop: &CancellationToken) -> Result<(), BrokerError> {
    let mut events = Vec::with_capacity(arrived.len());
    let mut last = None;
    for delivery in arrived {
        match Event::decode(delivery.data.as_slice()) {
            Ok(event) => {
                events.push(event);
                last = Some(delivery.acker);
            }
            Err(error) => {
                tracing::error!(%error, routing_key = delivery.routing_key.as_str(), "a message is no event");
                let dead = BasicNackOptions { requeue: false, multiple: false };
                in_time(CONFIRM_TIME, delivery.acker.nack(dead)).await?;
            }
        }
    }
    let Some(acker) = last else {
        return Ok(());
    };
    // "Multiple" is everything up to the last one that has no verdict yet: exactly these.
    let multiple = events.len() > 1;
    let verdict = hand_over(handler, events, stop).await;
    let settling = async {
        match verdict {
            Verdict::Taken => acker.ack(BasicAckOptions { multiple }).await,
            Verdict::Again => acker.nack(BasicNackOptions { requeue: true, multiple }).await,
            Verdict::Dead => acker.nack(BasicNackOptions { requeue: false, multiple }).await,
        }
    };
    in_time(CONFIRM_TIME, settling).await?;
    Ok(())
}

/// Every answer has its time: a connection that breaks at the wrong moment may leave one that never comes.
async fn in_time<T>(limit: Duration, answer: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BrokerError::Unreachable(None)),
    }
}

/// Waits until the connection is no more. A stream of deliveries does not always end with it.
async fn broken(connection: &Connection) {
    while connection.status().connected() {
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

fn properties_of(event: &Event) -> BasicProperties {
    let mut headers = FieldTable::default();
    if !event.traceparent.is_empty() {
        let value = LongString::from(event.traceparent.clone().into_bytes());
        headers.insert(lictor_telemetry::TRACEPARENT.into(), AMQPValue::LongString(value));
    }
    BasicProperties::default()
        .with_content_type("application/protobuf".into())
        // 2: kept on disk.
        .with_delivery_mode(2)
        .with_message_id(event.id.as_str().into())
        .with_type(event.r#type.as_str().into())
        .with_headers(headers)
}

impl Link {
    async fn close(self) {
        // A connection that broke cannot be closed in order, and need not be.
        let _ = tokio::time::timeout(CONNECT_TIME, self.connection.close(NORMAL, "".into())).await;
    }
}

fn with_cause(error: &BrokerError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
