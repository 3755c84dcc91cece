//! A service that announces events and does nothing else: a real outbox, a real relay, a real feed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lictor_api::event::v1::{
    LicenseChanged, ListEventsRequest, ListEventsResponse,
    event::Data,
    event_feed_service_server::{EventFeedService, EventFeedServiceServer},
};
use lictor_broker::{Announcement, Broker, RabbitOptions, announce_all, list_events, relay};
use lictor_clock::{Clock, SystemClock, Timestamp};
use lictor_licensing::id::EventId;
use lictor_runtime::{Frame, ListenSettings, Running, open_gate};
use lictor_storage::{Database, DatabaseOptions, StorageError, sqlx};
use lictor_telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// How long a database may be away.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// The name under which it announces.
pub const NAME: &str = "license-central";

/// An event as it was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub subject: String,
    /// Its place among the events of its subject: 1, 2, 3 ….
    pub place: u64,
}

/// Announces until it is dropped.
pub struct Producer {
    db: Database,
    running: Running,
    stop: CancellationToken,
    counted: std::collections::HashMap<String, u64>,
}

impl Producer {
    /// Over a schema of its own in this database; `broker` is the address and the prefix of names, nothing for a producer
    /// whose feed alone is read.
    ///
    /// # Errors
    /// The database or a port cannot be had.
    pub async fn start(database: &str, broker: Option<(&str, &str)>) -> anyhow::Result<Self> {
        let options = DatabaseOptions { max_connections: 4, ..DatabaseOptions::for_schema("producer") };
        let db = Database::connect(database, &options).await?;
        db.migrate(&[], SystemClock.now()).await?;
        let frame = Frame::bind("producer", &ListenSettings::loopback()).await?;
        let routes = tonic::service::Routes::default().add_service(EventFeedServiceServer::new(Feed(db.clone())));
        let running = frame.serve(routes, open_gate());
        let stop = CancellationToken::new();
        if let Some((url, prefix)) = broker {
            let broker = Broker::rabbit(url, RabbitOptions { prefix: prefix.to_owned(), ca: None })?;
            let (db, stop) = (db.clone(), stop.clone());
            tokio::spawn(async move { relay(db, broker, NAME, SystemClock::shared(), &Metrics::new(), stop).await });
        }
        Ok(Self { db, running, stop, counted: std::collections::HashMap::new() })
    }

    /// The value of `LICTOR_PRODUCERS` that makes a dispatcher read its feed.
    #[must_use]
    pub fn entry(&self) -> String {
        format!("{NAME}=http://{}", self.running.addresses().grpc)
    }

    /// Announces one change for each of the subjects, in this order, in one transaction.
    ///
    /// # Errors
    /// The database does not take it; nothing is announced then.
    pub async fn announce(&mut self, subjects: &[String]) -> anyhow::Result<Vec<Announced>> {
        let now = SystemClock.now();
        let mut counted = self.counted.clone();
        let mut announced = Vec::with_capacity(subjects.len());
        let mut announcements = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let place = counted.entry(subject.clone()).or_default();
            *place += 1;
            let id = event_id(now)?;
            announced.push(Announced { id: id.clone(), subject: subject.clone(), place: *place });
            announcements.push((announcement(id, subject, *place, now), None));
        }
        let asked = Instant::now();
        while let Err(error) = self.write(&announcements).await {
            // What became of a commit that was cut off is asked before it is done again.
            if self.is_written(&announced).await.unwrap_or(false) {
                break;
            }
            ensure!(asked.elapsed() < PATIENCE, "nothing can be announced: {error:#}");
            tokio::time::sleep(PAUSE).await;
        }
        self.counted = counted;
        Ok(announced)
    }

    async fn write(&self, announcements: &[(Announcement, Option<String>)]) -> Result<(), StorageError> {
        let mut tx = self.db.begin().await?;
        announce_all(&mut tx, announcements.to_vec()).await?;
        tx.commit().await
    }

    async fn is_written(&self, announced: &[Announced]) -> Result<bool, StorageError> {
        let Some(first) = announced.first() else { return Ok(true) };
        let query = sqlx::query("SELECT 1 FROM outbox WHERE id = $1").bind(first.id.clone());
        Ok(query.fetch_optional(self.db.pool()).await?.is_some())
    }

    /// Its database, for tests that look at the outbox.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.db
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.running.shutdown();
    }
}

fn event_id(now: Timestamp) -> anyhow::Result<String> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).ok().context("random bytes")?;
    Ok(EventId::new(now, random).to_string())
}

fn announcement(id: String, subject: &str, place: u64, time: Timestamp) -> Announcement {
    let license = lictor_api::types::v1::License {
        license_id: subject.to_owned(),
        firm_code: 6_000_001,
        ticket: "7KQ2M-…".to_owned(),
        item: "editor".to_owned(),
        product_code: 201_001,
        quantity: 5,
        order_id: "ord_01KG8Q2Y00000000000000000B".to_owned(),
        customer: "Nova GmbH".to_owned(),
        ..Default::default()
    };
    Announcement {
        id,
        source: NAME,
        subject: subject.to_owned(),
        aggregate_sequence: place,
        firm_code: 6_000_001,
        time,
        data: Data::LicenseChanged(LicenseChanged { license: Some(license), previous: 1 }),
    }
}

struct Feed(Database);

#[tonic::async_trait]
impl EventFeedService for Feed {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let answer = list_events(&self.0, &request.into_inner()).await;
        answer.map(Response::new).map_err(|error| Status::unavailable(error.to_string()))
    }
}
