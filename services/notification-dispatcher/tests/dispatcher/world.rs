//! What a test stands in: a database, a producer whose feed is served over gRPC, an issuer of tokens, a dispatcher.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use lictor_api::{
    convert::timestamp,
    event::v1::{
        self as wire, Event, ListEventsRequest, ListEventsResponse,
        event_feed_service_server::{EventFeedService, EventFeedServiceServer},
    },
    notification::v1::{
        AddDestinationRequest, Delivery, Destination, DestinationOptions, ListDeliveriesRequest,
        ListDestinationsRequest, ListReplaysRequest, Replay, StartReplayRequest, Transmission, WebhookTransmission,
        delivery_service_client::DeliveryServiceClient, destination_service_client::DestinationServiceClient,
        replay_service_client::ReplayServiceClient, transmission,
    },
};
use lictor_auth::{AuthSettings, LocalIssuer, Role};
use lictor_clock::{SharedClock, SystemClock, Timestamp};
use lictor_licensing::id::EventId;
use lictor_notification_dispatcher::{Settings, domain::schedule::Schedule, events::producer::ProducerList, start};
use lictor_runtime::{
    Frame, ListenSettings, Running,
    client::{self, ServiceChannel},
    open_gate,
};
use lictor_storage::DatabaseSettings;
use lictor_storage::sqlite_url;
use tempfile::TempDir;
use tonic::{Request, Response, Status};

/// How long a condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The one producer of most tests.
pub(crate) const PRODUCER: &str = "license-central";

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) clock: SharedClock,
    pub(crate) producer: Producer,
    pub(crate) issuer: LocalIssuer,
    _folder: TempDir,
}

impl World {
    /// SQLite, the machine's clock, quick retries.
    pub(crate) async fn new() -> Self {
        Self::at(SystemClock::shared()).await
    }

    /// The same on a clock that the test moves.
    pub(crate) async fn at(clock: SharedClock) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = sqlite_url(&folder.path().join("dispatcher.db"));
        Self::over(url, clock, folder).await
    }

    /// On the tests' PostgreSQL server, in a database of its own; nothing when there is no server.
    pub(crate) async fn postgres() -> Option<Self> {
        let Some(server) = std::env::var("LICTOR_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty()) else {
            eprintln!("SKIPPED on PostgreSQL: LICTOR_TEST_POSTGRES_URL is not set");
            return None;
        };
        let name = format!("dispatcher_{}", unique());
        lictor_storage::sqlx::any::install_default_drivers();
        let pool = lictor_storage::sqlx::AnyPool::connect(&server).await.expect("the server answers");
        let make = format!("CREATE DATABASE {name}");
        lictor_storage::sqlx::raw_sql(lictor_storage::sqlx::AssertSqlSafe(make))
            .execute(&pool)
            .await
            .expect("a database");
        let (place, _) = server.rsplit_once('/').expect("a URL has a path");
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self::over(format!("{place}/{name}"), SystemClock::shared(), folder).await)
    }

    async fn over(url: String, clock: SharedClock, folder: TempDir) -> Self {
        let issuer = LocalIssuer::from_seed("tests", &[3; 32]).expect("a key");
        let producer = Producer::start(PRODUCER).await;
        let mut settings = Settings::embedded(ListenSettings::loopback(), DatabaseSettings::at(url));
        settings.listen.shutdown_grace = Duration::from_secs(1);
        settings.auth = AuthSettings::local(&issuer, "lictor");
        settings.producers = ProducerList(vec![producer.entry()]);
        settings.webhook_allow = "127.0.0.0/8".parse().expect("a list");
        settings.pull_every = Duration::from_millis(50);
        settings.sweep_every = Duration::from_millis(20);
        settings.lease = Duration::from_millis(300);
        settings.webhook_deadline = Duration::from_secs(5);
        settings.schedule = "20ms,40ms,80ms,100ms".parse::<Schedule>().expect("waits");
        Self { settings, clock, producer, issuer, _folder: folder }
    }

    pub(crate) async fn start(&self) -> Dispatcher {
        let running = start(self.settings.clone(), self.clock.clone()).await.expect("the dispatcher starts");
        Dispatcher { channel: self.channel(&running, Some(Role::Admin)), running }
    }

    /// A token for `role`.
    pub(crate) fn token(&self, role: Role) -> String {
        let hour = Duration::from_secs(3_600);
        self.issuer.mint("tester", &[role], "lictor", hour, self.clock.now()).expect("a token")
    }

    pub(crate) fn channel(&self, running: &Running, role: Option<Role>) -> ServiceChannel {
        let url = format!("http://{}", running.addresses().grpc);
        let token = role.map(|role| {
            let (issuer, clock) = (self.issuer.clone(), self.clock.clone());
            let source: client::TokenSource = Arc::new(move || {
                let hour = Duration::from_secs(3_600);
                Ok(issuer.mint("tester", &[role], "lictor", hour, clock.now()).expect("a token"))
            });
            source
        });
        client::channel(&url, None, token).expect("a channel")
    }
}

/// A webhook at `url`.
pub(crate) fn webhook(url: &str) -> Transmission {
    let webhook = WebhookTransmission { url: url.to_owned() };
    Transmission { kind: Some(transmission::Kind::Webhook(webhook)) }
}

/// Something different for each database of each run.
pub(crate) fn unique() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut random = [0; 4];
    getrandom::fill(&mut random).expect("random bytes");
    format!("{}_{}", u32::from_be_bytes(random), NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub(crate) struct Dispatcher {
    pub(crate) running: Running,
    pub(crate) channel: ServiceChannel,
}

impl Dispatcher {
    pub(crate) fn destinations(&self) -> DestinationServiceClient<ServiceChannel> {
        DestinationServiceClient::new(self.channel.clone())
    }

    /// Adds a destination for `types`, and gives its id and secret.
    pub(crate) async fn add(&self, url: &str, types: &[&str]) -> (String, String) {
        let types = types.iter().map(|kind| (*kind).to_owned()).collect();
        self.add_with(url, DestinationOptions { types, ..Default::default() }).await
    }

    /// Adds a destination with these options, and gives its id and secret.
    pub(crate) async fn add_with(&self, url: &str, options: DestinationOptions) -> (String, String) {
        let request = AddDestinationRequest {
            request_id: unique(),
            transmission: Some(webhook(url)),
            options: Some(options),
            signing: 0,
        };
        let added = self.destinations().add_destination(request).await.expect("the destination is added").into_inner();
        (added.destination.expect("a destination").destination_id, added.secret)
    }

    /// Starts a replay and waits for its end.
    pub(crate) async fn replay(&self, request: StartReplayRequest) -> Replay {
        let mut client = ReplayServiceClient::new(self.channel.clone());
        let request = StartReplayRequest { request_id: unique(), ..request };
        let started = client.start_replay(request).await.expect("it begins").into_inner();
        let id = started.replay.expect("a replay").replay_id;
        until("the replay ends", async || {
            let mut client = ReplayServiceClient::new(self.channel.clone());
            let all = client.list_replays(ListReplaysRequest::default()).await.expect("a list").into_inner().replays;
            all.into_iter().find(|one| one.replay_id == id && one.state != 1)
        })
        .await
    }

    pub(crate) async fn destination(&self, id: &str) -> Destination {
        let listed = self.destinations().list_destinations(ListDestinationsRequest {}).await.expect("a list");
        let found = listed.into_inner().destinations.into_iter().find(|one| one.destination_id == id);
        found.expect("the destination is listed")
    }

    pub(crate) async fn deliveries(&self, destination: &str) -> Vec<Delivery> {
        let request =
            ListDeliveriesRequest { destination_id: destination.to_owned(), limit: 1_000, ..Default::default() };
        let listed = DeliveryServiceClient::new(self.channel.clone()).list_deliveries(request).await.expect("a list");
        listed.into_inner().deliveries
    }

    /// Waits until the deliveries of a destination satisfy `condition`.
    pub(crate) async fn until(
        &self,
        destination: &str,
        what: &str,
        condition: impl Fn(&[Delivery]) -> bool,
    ) -> Vec<Delivery> {
        until(what, async || Some(self.deliveries(destination).await).filter(|all| condition(all))).await
    }

    pub(crate) async fn stop(self) {
        self.running.shutdown();
        self.running.wait().await.expect("an orderly stop");
    }
}

/// What a page of health or metrics says, with its status line.
pub(crate) async fn page(running: &Running, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(running.addresses().http).await.expect("a listener");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// Asks until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        loop {
            pace.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    });
    match waited.await {
        Ok(answer) => answer,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// A service that announces events: its outbox in memory, its feed over gRPC.
#[derive(Clone)]
pub(crate) struct Producer {
    name: &'static str,
    address: String,
    events: Arc<Mutex<Vec<Event>>>,
    gone_through: Arc<AtomicU64>,
}

impl Producer {
    pub(crate) async fn start(name: &'static str) -> Self {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let frame = Frame::bind("producer", &ListenSettings::loopback()).await.expect("ports");
        let gone_through = Arc::new(AtomicU64::new(0));
        let feed = Feed(Arc::clone(&events), Arc::clone(&gone_through));
        let routes = tonic::service::Routes::default().add_service(EventFeedServiceServer::new(feed));
        let running = frame.serve(routes, open_gate());
        Self { name, address: format!("http://{}", running.addresses().grpc), events, gone_through }
    }

    /// Keeps its events up to this number no longer.
    pub(crate) fn forget(&self, through: u64) {
        self.gone_through.store(through, Ordering::SeqCst);
    }

    pub(crate) fn entry(&self) -> (String, String) {
        (self.name.to_owned(), self.address.clone())
    }

    /// Announces that a license was changed.
    pub(crate) fn announce(&self, subject: &str) -> Event {
        self.announce_with(subject, "")
    }

    pub(crate) fn announce_with(&self, subject: &str, traceparent: &str) -> Event {
        self.tell(subject, traceparent, wire::event::Data::LicenseChanged(wire::LicenseChanged::default()))
    }

    /// Announces something else.
    pub(crate) fn announce_as(&self, subject: &str, data: wire::event::Data) -> Event {
        self.tell(subject, "", data)
    }

    fn tell(&self, subject: &str, traceparent: &str, data: wire::event::Data) -> Event {
        let mut events = self.events.lock().expect("a lock");
        let sequence = events.len() as u64 + 1;
        let aggregate_sequence = events.iter().filter(|event| event.subject == subject).count() as u64 + 1;
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("random bytes");
        let event = Event {
            id: EventId::new(Timestamp::from_seconds(1_800_000_000), random).to_string(),
            r#type: lictor_broker::event_type(&data).to_owned(),
            source: self.name.to_owned(),
            subject: subject.to_owned(),
            aggregate_sequence,
            sequence,
            time: Some(timestamp(Timestamp::from_seconds(1_800_000_000))),
            traceparent: traceparent.to_owned(),
            firm_code: 6_000_001,
            data: Some(data),
        };
        events.push(event.clone());
        event
    }

    /// Puts the producer's database back to its first events, as from a backup.
    pub(crate) fn restore(&self, events: usize) {
        self.events.lock().expect("a lock").truncate(events);
    }

    /// Puts something into the feed that no good producer would.
    pub(crate) fn announce_odd(&self, event: Event) {
        self.events.lock().expect("a lock").push(event);
    }

    /// Announces `count` changes, in turn about `subjects` different licenses.
    pub(crate) fn announce_many(&self, count: usize, subjects: usize) -> Vec<Event> {
        (0..count).map(|number| self.announce(&format!("lic_{}", number % subjects))).collect()
    }
}

struct Feed(Arc<Mutex<Vec<Event>>>, Arc<AtomicU64>);

#[tonic::async_trait]
impl EventFeedService for Feed {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let request = request.into_inner();
        let events = self.0.lock().expect("a lock");
        let gone_through = self.1.load(Ordering::SeqCst);
        let after = request.after_sequence.max(gone_through);
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(events.len());
        let page = events[from..].iter().take(request.limit as usize).cloned().collect();
        Ok(Response::new(ListEventsResponse { events: page, gone_through }))
    }
}
