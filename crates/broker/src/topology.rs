//! Who gets what: one topic exchange, one queue per consuming service, one dead-letter queue beside each.
//!
//! The routing key of an event is its type. Every process declares the whole topology when it connects, so a queue keeps
//! what was announced before its consumer ever ran, and no event is unroutable.

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString},
};

/// A consuming service and the events that it gets.
#[derive(Debug, Clone, Copy)]
pub struct QueueSpec {
    /// Name of the service.
    pub consumer: &'static str,
    /// Topic patterns over event types: `*` is one word, `#` any number of words.
    pub patterns: &'static [&'static str],
}

/// All consumers of the installation.
pub const QUEUES: &[QueueSpec] = &[
    QueueSpec { consumer: "notification-dispatcher", patterns: &["lictor.#"] },
    QueueSpec { consumer: "activation", patterns: &["lictor.update.confirmed.v1"] },
];

/// Deliveries of one message before it goes to the dead-letter queue.
pub const DELIVERY_LIMIT: u32 = 20;
/// Messages that a consumer holds unacknowledged: what arrives while those before are written goes into the next batch.
pub const PREFETCH: u16 = 256;

/// The names of one installation; `prefix` is `lictor` but for tests that share a broker.
#[derive(Debug, Clone)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Names that start with `prefix`.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The topic exchange that all events go to.
    pub fn exchange(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// The exchange of messages that could not be handled.
    pub fn dead_exchange(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// The queue of a consumer.
    pub fn queue(&self, consumer: &str) -> String {
        format!("{}.{consumer}", self.prefix)
    }

    /// The dead-letter queue of a consumer.
    pub fn dead_queue(&self, consumer: &str) -> String {
        format!("{}.{consumer}.dead", self.prefix)
    }
}

/// Declares everything; finding it there already changes nothing.
pub(crate) async fn declare(channel: &Channel, names: &Names) -> Result<(), lapin::Error> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(names.exchange().into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
    channel
        .exchange_declare(names.dead_exchange().into(), ExchangeKind::Direct, durable, FieldTable::default())
        .await?;
    for spec in QUEUES {
        let dead = names.dead_queue(spec.consumer);
        declare_queue(channel, &dead, quorum()).await?;
        bind(channel, &dead, &names.dead_exchange(), spec.consumer).await?;

        let queue = names.queue(spec.consumer);
        let mut arguments = quorum();
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongUInt(DELIVERY_LIMIT));
        arguments.insert("x-dead-letter-exchange".into(), text(&names.dead_exchange()));
        arguments.insert("x-dead-letter-routing-key".into(), text(spec.consumer));
        // A dead letter leaves its queue only after the dead-letter queue has it; that demands this overflow rule.
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        declare_queue(channel, &queue, arguments).await?;
        for pattern in spec.patterns {
            bind(channel, &queue, &names.exchange(), pattern).await?;
        }
    }
    Ok(())
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value.as_bytes().to_vec()))
}

async fn declare_queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), lapin::Error> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), durable, arguments).await?;
    Ok(())
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), lapin::Error> {
    channel
        .queue_bind(queue.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default())
        .await
}

/// True when a topic pattern matches an event type, as a topic exchange does it.
pub(crate) fn matches(pattern: &str, kind: &str) -> bool {
    fn words(pattern: &[&str], kind: &[&str]) -> bool {
        match (pattern.split_first(), kind.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => {
                words(rest, kind) || kind.split_first().is_some_and(|(_, shorter)| words(pattern, shorter))
            }
            (Some((word, rest)), Some((first, others))) => (*word == "*" || word == first) && words(rest, others),
            _ => false,
        }
    }
    let pattern: Vec<&str> = pattern.split('.').collect();
    let kind: Vec<&str> = kind.split('.').collect();
    words(&pattern, &kind)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_like_a_topic_exchange() {
        let kind = "lictor.update.confirmed.v1";
        for pattern in ["lictor.#", "#", "lictor.update.confirmed.v1", "lictor.*.confirmed.*", "lictor.#.v1"] {
            assert!(matches(pattern, kind), "{pattern}");
        }
        for pattern in ["", "lictor", "lictor.*", "lictor.update.confirmed", "*.confirmed.v1", "lictor.updat.#"] {
            assert!(!matches(pattern, kind), "{pattern}");
        }
    }
}
