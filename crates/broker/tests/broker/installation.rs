//! What the broker's tests share: databases, events, a private corner of the test broker, a breakable connection.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use lictor_api::event::v1::{Event, OrderCreated, UpdateConfirmed, event::Data};
use lictor_broker::{Announcement, Broker, RabbitOptions, Refused, announce};
use lictor_clock::{SystemClock, Timestamp};
use lictor_storage::{
    Database,
    inbox::{self, Taken},
    sqlx::{self, Row},
};
use tokio_util::sync::CancellationToken;

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);
pub(crate) const DISPATCHER: &str = "notification-dispatcher";
pub(crate) const SOURCE: &str = "license-central";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Names on the shared test broker that no other test uses.
pub(crate) fn private_prefix() -> String {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let moment = lictor_clock::Clock::now(&SystemClock).as_micros();
    format!("test-{}-{number}-{moment}", std::process::id())
}

/// The test broker's address, if there is one.
pub(crate) fn amqp_url() -> Option<String> {
    let url = std::env::var("LICTOR_TEST_AMQP_URL").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!("SKIPPED on RabbitMQ: LICTOR_TEST_AMQP_URL is not set");
    }
    url
}

pub(crate) fn rabbit(url: &str, prefix: &str) -> Broker {
    Broker::rabbit(url, RabbitOptions { prefix: prefix.to_owned(), ca: None }).expect("a good address")
}

/// Removes what a test declared.
pub(crate) async fn clean(url: &str, prefix: &str) {
    let names = lictor_broker::topology::Names::new(prefix);
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.expect("connect");
    let channel = connection.create_channel().await.expect("a channel");
    for spec in lictor_broker::topology::QUEUES {
        for queue in [names.queue(spec.consumer), names.dead_queue(spec.consumer)] {
            let _ = channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await;
        }
    }
    for exchange in [names.exchange(), names.dead_exchange()] {
        let _ = channel.exchange_delete(exchange.into(), lapin::options::ExchangeDeleteOptions::default()).await;
    }
}

/// Messages in a queue.
pub(crate) async fn depth(url: &str, queue: &str) -> u32 {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.expect("connect");
    let channel = connection.create_channel().await.expect("a channel");
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(queue.into(), passive, lapin::types::FieldTable::default()).await;
    queue.expect("it is there").message_count()
}

pub(crate) async fn announce_order(db: &Database, order: &str, number: u64) {
    let mut tx = db.begin().await.expect("begin");
    let announcement = Announcement {
        id: format!("evt_{order}_{number}"),
        source: SOURCE,
        subject: order.to_owned(),
        aggregate_sequence: number,
        firm_code: 10,
        time: NOW,
        data: Data::OrderCreated(OrderCreated { order_id: order.to_owned(), ..OrderCreated::default() }),
    };
    announce(&mut tx, announcement).await.expect("announce");
    tx.commit().await.expect("commit");
}

/// An event as the relay would publish it.
pub(crate) fn confirmed(sequence: u64) -> Event {
    Event {
        id: format!("evt_{sequence}"),
        r#type: "lictor.update.confirmed.v1".to_owned(),
        source: SOURCE.to_owned(),
        subject: "con_1/10".to_owned(),
        aggregate_sequence: sequence,
        sequence,
        data: Some(Data::UpdateConfirmed(UpdateConfirmed::default())),
        ..Event::default()
    }
}

/// A consumer's store: one row per taken event, in the order of taking.
pub(crate) async fn take_in(db: Database, event: Event) -> Result<(), Refused> {
    let mut tx = db.begin().await?;
    let taken = Taken { consumer: DISPATCHER, source: &event.source, event_id: &event.id, sequence: event.sequence };
    if inbox::take(&mut tx, &taken, NOW).await? {
        sqlx::query("INSERT INTO seen (id, aggregate, aggregate_sequence) VALUES ($1, $2, $3)")
            .bind(&event.id)
            .bind(&event.subject)
            .bind(i64::try_from(event.aggregate_sequence).expect("small"))
            .execute(tx.conn())
            .await
            .map_err(lictor_storage::StorageError::from)?;
    }
    tx.commit().await?;
    Ok(())
}

/// The same for a page of a feed.
pub(crate) async fn take_page(db: Database, page: Vec<Event>) -> Result<(), Refused> {
    for event in page {
        take_in(db.clone(), event).await?;
    }
    Ok(())
}

/// Table of [`take_in`].
pub(crate) static SEEN: &[lictor_storage::Migration] = &[lictor_storage::Migration {
    name: "0001_seen",
    postgres: "CREATE TABLE seen (place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id TEXT NOT NULL, \
               aggregate TEXT NOT NULL, aggregate_sequence BIGINT NOT NULL)",
    sqlite: "CREATE TABLE seen (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, \
             aggregate TEXT NOT NULL, aggregate_sequence BIGINT NOT NULL)",
}];

/// Ids in the order of taking.
pub(crate) async fn seen(db: &Database) -> Vec<String> {
    let rows = sqlx::query("SELECT id FROM seen ORDER BY place").fetch_all(db.pool()).await.expect("select");
    rows.iter().map(|row| row.get(0)).collect()
}

pub(crate) async fn wait_for(what: &str, condition: impl AsyncFn() -> bool) {
    // The relay waits 30 s for a confirm that does not come before it sends anew; a test has to wait for longer than that.
    let end = Instant::now() + Duration::from_secs(75);
    while !condition().await {
        assert!(Instant::now() < end, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A way to the broker that can be cut.
pub(crate) struct Wire {
    pub(crate) url: String,
    listener: std::net::SocketAddr,
    target: String,
    up: Option<CancellationToken>,
}

impl Wire {
    /// Nothing listens yet.
    pub(crate) fn down(url: &str) -> Self {
        let (head, rest) = url.split_once('@').expect("user@host");
        let (target, vhost) = rest.split_once('/').expect("host/vhost");
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let listener = reserved.local_addr().expect("an address");
        Self { url: format!("{head}@{listener}/{vhost}"), listener, target: target.to_owned(), up: None }
    }

    pub(crate) async fn up(&mut self) {
        let stop = CancellationToken::new();
        self.up = Some(stop.clone());
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("reusable");
        socket.bind(self.listener).expect("the port is still ours");
        let listener = socket.listen(64).expect("listen");
        let target = self.target.clone();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((mut near, _)) = accepted else { continue };
                let (target, stop) = (target.clone(), stop.clone());
                tokio::spawn(async move {
                    let Ok(mut far) = tokio::net::TcpStream::connect(target).await else { return };
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
    }

    /// Cuts every connection and listens no more.
    pub(crate) fn cut(&mut self) {
        if let Some(stop) = self.up.take() {
            stop.cancel();
        }
    }
}
