//! From a commit to a durable effect, over both brokers and through every kind of break.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::installation::{
    DISPATCHER, NOW, SEEN, SOURCE, Wire, amqp_url, announce_order, clean, confirmed, depth, private_prefix, rabbit,
    seen, take_in, take_page, wait_for,
};
use lictor_api::event::v1::{Event, ListEventsRequest};
use lictor_broker::{Broker, BrokerError, Cursor, Refused, follow, list_events, relay, topology::Names};
use lictor_clock::ManualClock;
use lictor_storage::{Database, inbox, outbox, testing::TestDatabase};
use lictor_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

/// Producer and consumer, each with an own database, joined by a broker.
struct Pair {
    producer: TestDatabase,
    consumer: TestDatabase,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Pair {
    async fn new() -> Self {
        Self {
            producer: TestDatabase::sqlite(&[]).await,
            consumer: TestDatabase::sqlite(SEEN).await,
            stop: CancellationToken::new(),
            tasks: Vec::new(),
        }
    }

    fn relay(&mut self, broker: &Broker) {
        let (db, broker, stop) = (self.producer.db.clone(), broker.clone(), self.stop.clone());
        self.tasks.push(tokio::spawn(async move {
            let clock = ManualClock::new(NOW).shared();
            let Ok(()) = relay(db, broker, SOURCE, clock, &Metrics::new(), stop).await;
        }));
    }

    fn consume(&mut self, broker: &Broker) {
        let (db, broker, stop) = (self.consumer.db.clone(), broker.clone(), self.stop.clone());
        self.tasks.push(tokio::spawn(async move {
            broker.consume(DISPATCHER, move |event| take_in(db.clone(), event), stop).await.expect("consuming");
        }));
    }

    fn follow(&mut self) {
        let (source, db, stop) = (self.producer.db.clone(), self.consumer.db.clone(), self.stop.clone());
        self.tasks.push(tokio::spawn(async move {
            let cursor = Cursor::new(db.clone(), DISPATCHER, SOURCE);
            let fetch = move |after, limit| feed(source.clone(), after, limit);
            let Ok(()) =
                follow(cursor, Duration::from_millis(100), fetch, move |page| take_page(db.clone(), page), stop).await;
        }));
    }

    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(5), task).await.expect("it stops").expect("no panic");
        }
        self.producer.remove().await;
        self.consumer.remove().await;
    }
}

async fn feed(db: Database, after: u64, limit: u32) -> Result<Vec<Event>, tonic::Status> {
    let request = ListEventsRequest { after_sequence: after, limit };
    let answer = list_events(&db, &request).await.map_err(|error| tonic::Status::internal(error.to_string()))?;
    Ok(answer.events)
}

fn ids(order: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|number| format!("evt_{order}_{number}")).collect()
}

async fn announced_events_arrive_in_order(broker: Broker) {
    let mut pair = Pair::new().await;
    pair.relay(&broker);
    pair.consume(&broker);
    for number in 1..=50 {
        announce_order(&pair.producer.db, "ord_1", number).await;
    }
    wait_for("delivery", async || seen(&pair.consumer.db).await.len() >= 50).await;
    assert_eq!(seen(&pair.consumer.db).await, ids("ord_1", 1..=50));
    wait_for("all marked", async || outbox::backlog(&pair.producer.db).await.expect("backlog").0 == 0).await;
    let position = inbox::cursor(&pair.consumer.db, DISPATCHER, SOURCE).await.expect("cursor");
    assert_eq!(position, 50, "events in order move the cursor without the feed");
    pair.end().await;
}

#[tokio::test]
async fn announced_events_arrive_in_order_in_process() {
    announced_events_arrive_in_order(Broker::in_process()).await;
}

#[tokio::test]
async fn announced_events_arrive_in_order_over_rabbitmq() {
    let Some(url) = amqp_url() else { return };
    let prefix = private_prefix();
    announced_events_arrive_in_order(rabbit(&url, &prefix)).await;
    clean(&url, &prefix).await;
}

#[tokio::test]
async fn commit_reaches_the_consumer_without_waiting_for_the_next_look() {
    let broker = Broker::in_process();
    let mut pair = Pair::new().await;
    pair.relay(&broker);
    pair.consume(&broker);
    announce_order(&pair.producer.db, "ord_1", 1).await;
    wait_for("the first", async || seen(&pair.consumer.db).await.len() == 1).await;
    let begun = std::time::Instant::now();
    for number in 2..=5 {
        announce_order(&pair.producer.db, "ord_1", number).await;
        let count = usize::try_from(number).expect("small");
        wait_for("delivery", async || seen(&pair.consumer.db).await.len() == count).await;
    }
    // Four looks of one second each would take four seconds.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    pair.end().await;
}

#[tokio::test]
async fn events_announced_before_the_consumer_ever_ran_are_kept() {
    let Some(url) = amqp_url() else { return };
    let prefix = private_prefix();
    let broker = rabbit(&url, &prefix);
    let mut pair = Pair::new().await;
    pair.relay(&broker);
    announce_order(&pair.producer.db, "ord_1", 1).await;
    wait_for("published", async || outbox::backlog(&pair.producer.db).await.expect("backlog").0 == 0).await;
    pair.consume(&broker);
    wait_for("delivery", async || seen(&pair.consumer.db).await.len() == 1).await;
    pair.end().await;
    clean(&url, &prefix).await;
}

#[tokio::test]
async fn broken_connections_lose_nothing_and_double_no_effect() {
    let Some(url) = amqp_url() else { return };
    let prefix = private_prefix();
    let mut wire = Wire::down(&url);
    let broker = rabbit(&wire.url, &prefix);
    assert!(matches!(broker.check().await, Err(BrokerError::Unreachable(_))));
    let mut pair = Pair::new().await;
    pair.relay(&broker);
    pair.consume(&broker);
    // Down at first: everything waits in the outbox.
    for number in 1..=20 {
        announce_order(&pair.producer.db, "ord_1", number).await;
    }
    assert_eq!(outbox::backlog(&pair.producer.db).await.expect("backlog").0, 20);
    for round in 1..=3_u64 {
        wire.up().await;
        let had = seen(&pair.consumer.db).await.len();
        wait_for("some delivery", async || seen(&pair.consumer.db).await.len() > had).await;
        wire.cut();
        for number in 1..=20 {
            announce_order(&pair.producer.db, "ord_1", round * 20 + number).await;
        }
    }
    wire.up().await;
    wait_for("all delivered", async || seen(&pair.consumer.db).await.len() >= 80).await;
    assert_eq!(seen(&pair.consumer.db).await, ids("ord_1", 1..=80));
    pair.end().await;
    clean(&url, &prefix).await;
}

#[tokio::test]
async fn event_that_no_queue_takes_is_not_counted_as_published() {
    let Some(url) = amqp_url() else { return };
    let prefix = private_prefix();
    let broker = rabbit(&url, &prefix);
    broker.publish(&[confirmed(1)]).await.expect("published");
    clean(&url, &prefix).await;
    let names = Names::new(&prefix);
    // Somebody removed the queues while we are connected, and the exchange stands alone.
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.expect("connect");
    let channel = connection.create_channel().await.expect("a channel");
    let durable = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(
            names.exchange().into(),
            lapin::ExchangeKind::Topic,
            durable,
            lapin::types::FieldTable::default(),
        )
        .await
        .expect("declared");
    let error = broker.publish(&[confirmed(2), confirmed(3)]).await.expect_err("unroutable");
    assert_eq!(error.published, 0, "{error}");
    assert!(error.reason.contains("no queue takes it"), "{error}");
    broker.publish(&[confirmed(2), confirmed(3)]).await.expect("the next try declares the queues again");
    assert_eq!(depth(&url, &names.queue("activation")).await, 2);
    clean(&url, &prefix).await;
}

#[tokio::test]
async fn poison_nonsense_and_a_panicking_handler_end_in_the_dead_letter_queue() {
    let Some(url) = amqp_url() else { return };
    let prefix = private_prefix();
    let names = Names::new(&prefix);
    let broker = rabbit(&url, &prefix);
    broker.publish(&[confirmed(1), confirmed(2), confirmed(3)]).await.expect("published");
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.expect("connect");
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .basic_publish(
            names.exchange().into(),
            "lictor.update.confirmed.v1".into(),
            lapin::options::BasicPublishOptions::default(),
            b"\xff\xff nonsense",
            lapin::BasicProperties::default(),
        )
        .await
        .expect("sent");
    let panics = Arc::new(AtomicUsize::new(0));
    let good = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let consuming = {
        let (broker, stop, panics, good) = (broker.clone(), stop.clone(), Arc::clone(&panics), Arc::clone(&good));
        let handler = move |event: Event| {
            let (panics, good) = (Arc::clone(&panics), Arc::clone(&good));
            async move {
                match event.sequence {
                    1 => Err(Refused::Poison("breaks a rule".to_owned())),
                    2 => {
                        panics.fetch_add(1, Ordering::SeqCst);
                        panic!("for the test");
                    }
                    _ => {
                        good.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    }
                }
            }
        };
        tokio::spawn(async move { broker.consume("activation", handler, stop).await })
    };
    let dead = names.dead_queue("activation");
    wait_for("three dead letters", async || depth(&url, &dead).await == 3).await;
    assert_eq!(good.load(Ordering::SeqCst), 1, "the good one got through");
    let tried = panics.load(Ordering::SeqCst);
    let limit = usize::try_from(lictor_broker::topology::DELIVERY_LIMIT).expect("small");
    assert!((limit..=limit + 1).contains(&tried), "{tried} deliveries");
    stop.cancel();
    consuming.await.expect("no panic").expect("in order");
    clean(&url, &prefix).await;
}

#[tokio::test]
async fn event_refused_for_now_is_tried_again_in_place_and_keeps_its_order() {
    let broker = Broker::in_process();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let stop = CancellationToken::new();
    let consuming = {
        let (broker, order, stop) = (broker.clone(), Arc::clone(&order), stop.clone());
        let handler = move |event: Event| {
            let order = Arc::clone(&order);
            async move {
                let mut order = order.lock().expect("no panic");
                order.push(event.sequence);
                let tries = order.iter().filter(|sequence| **sequence == 1).count();
                if event.sequence == 1 && tries < 3 { Err(Refused::Later("busy".to_owned())) } else { Ok(()) }
            }
        };
        tokio::spawn(async move { broker.consume("activation", handler, stop).await })
    };
    broker.publish(&[confirmed(1), confirmed(2)]).await.expect("published");
    wait_for("both", async || order.lock().expect("no panic").len() == 4).await;
    assert_eq!(*order.lock().expect("no panic"), [1, 1, 1, 2]);
    let unknown = broker.consume("nobody", |_| async { Ok(()) }, CancellationToken::new()).await;
    assert!(matches!(unknown, Err(BrokerError::Consumer(_))));
    let second = broker.consume("activation", |_| async { Ok(()) }, CancellationToken::new()).await;
    assert!(matches!(second, Err(BrokerError::Consumer(_))));
    stop.cancel();
    consuming.await.expect("no panic").expect("in order");
}

#[tokio::test]
async fn feed_brings_what_the_broker_lost_and_what_a_full_queue_dropped() {
    let broker = Broker::in_process();
    let mut pair = Pair::new().await;
    pair.relay(&broker);
    // No consumer: the events leave the outbox into memory and are gone with this broker, as after a kill.
    for number in 1..=10 {
        announce_order(&pair.producer.db, "ord_1", number).await;
    }
    wait_for("relayed", async || outbox::backlog(&pair.producer.db).await.expect("backlog").0 == 0).await;
    let after_restart = Broker::in_process();
    pair.consume(&after_restart);
    pair.follow();
    wait_for("healed", async || seen(&pair.consumer.db).await.len() == 10).await;
    assert_eq!(seen(&pair.consumer.db).await, ids("ord_1", 1..=10));
    // Far more than a queue holds.
    let flood: Vec<Event> = (11..=6_000).map(confirmed).collect();
    Broker::in_process().publish(&flood).await.expect("a full queue refuses nobody");
    pair.end().await;
}

#[tokio::test]
async fn malformed_address_is_refused_without_showing_the_password() {
    for bad in ["", "http://x", "amqp//guest:hunter2@h", "amqp://guest:hunter2@h:port"] {
        let error = Broker::rabbit(bad, lictor_broker::RabbitOptions::default()).expect_err(bad);
        assert!(matches!(error, BrokerError::Settings(_)));
        assert!(!error.to_string().contains("hunter2") && error.to_string().contains("next: "), "{error}");
    }
}
