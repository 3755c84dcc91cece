//! A dispatcher with a producer whose feed is served over gRPC, and an issuer of tokens.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use lictor_api::{
    convert::timestamp,
    event::v1::{
        Event, ListEventsRequest, ListEventsResponse,
        event::Data,
        event_feed_service_server::{EventFeedService, EventFeedServiceServer},
    },
};
use lictor_auth::{AuthSettings, LocalIssuer, Role};
use lictor_clock::{SharedClock, Timestamp};
use lictor_licensing::id::EventId;
use lictor_notification_dispatcher::{Settings, domain::schedule::Schedule, events::producer::ProducerList, start};
use lictor_runtime::{
    Frame, ListenSettings, Running,
    client::{self, ServiceChannel},
    open_gate,
};
use lictor_storage::{DatabaseSettings, sqlite_url};
use tempfile::TempDir;
use tonic::{Request, Response, Status};

/// How long a condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const PRODUCER: &str = "license-central";

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) clock: SharedClock,
    pub(crate) folder: TempDir,
    issuer: LocalIssuer,
    events: Arc<Mutex<Vec<Event>>>,
    _producer: Running,
}

impl World {
    pub(crate) async fn at(clock: SharedClock) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = sqlite_url(&folder.path().join("dispatcher.db"));
        Self::over(url, clock, folder).await
    }

    /// On the tests' PostgreSQL server, in a database of its own; nothing when there is no server.
    pub(crate) async fn postgres(clock: SharedClock) -> Option<Self> {
        let Some(server) = std::env::var("LICTOR_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty()) else {
            eprintln!("SKIPPED on PostgreSQL: LICTOR_TEST_POSTGRES_URL is not set");
            return None;
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("random bytes");
        let name = format!("ways_{}", u64::from_be_bytes(random));
        lictor_storage::sqlx::any::install_default_drivers();
        let pool = lictor_storage::sqlx::AnyPool::connect(&server).await.expect("the server answers");
        let make = lictor_storage::sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        lictor_storage::sqlx::raw_sql(make).execute(&pool).await.expect("a database");
        let (place, _) = server.rsplit_once('/').expect("a URL has a path");
        Some(Self::over(format!("{place}/{name}"), clock, tempfile::tempdir().expect("a folder")).await)
    }

    async fn over(url: String, clock: SharedClock, folder: TempDir) -> Self {
        let issuer = LocalIssuer::from_seed("tests", &[3; 32]).expect("a key");
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let frame = Frame::bind("producer", &ListenSettings::loopback()).await.expect("ports");
        let feed = EventFeedServiceServer::new(Feed(Arc::clone(&events)));
        let producer = frame.serve(tonic::service::Routes::default().add_service(feed), open_gate());
        let mut settings = Settings::embedded(ListenSettings::loopback(), DatabaseSettings::at(url));
        settings.listen.shutdown_grace = Duration::from_secs(1);
        settings.auth = AuthSettings::local(&issuer, "lictor");
        settings.producers = ProducerList(vec![(PRODUCER.to_owned(), format!("http://{}", producer.addresses().grpc))]);
        settings.webhook_allow = "127.0.0.0/8".parse().expect("a list");
        settings.pull_every = Duration::from_millis(100);
        settings.sweep_every = Duration::from_millis(20);
        settings.webhook_deadline = Duration::from_secs(5);
        settings.schedule = "20ms,40ms,80ms,100ms".parse::<Schedule>().expect("waits");
        settings.reports.look_every = Duration::from_millis(50);
        Self { settings, clock, folder, issuer, events, _producer: producer }
    }

    pub(crate) async fn start(&self) -> Running {
        start(self.settings.clone(), self.clock.clone()).await.expect("the dispatcher starts")
    }

    pub(crate) fn token(&self, role: Role) -> String {
        let hour = Duration::from_secs(3_600);
        self.issuer.mint("ada", &[role], "lictor", hour, self.clock.now()).expect("a token")
    }

    pub(crate) fn channel(&self, running: &Running, role: Role) -> ServiceChannel {
        let token = self.token(role);
        let source: client::TokenSource = Arc::new(move || Ok(token.clone()));
        client::channel(&format!("http://{}", running.addresses().grpc), None, Some(source)).expect("a channel")
    }

    /// Announces something that happened at `at`.
    pub(crate) fn announce(&self, subject: &str, at: Timestamp, data: Data) {
        let mut events = self.events.lock().expect("a lock");
        let aggregate_sequence = events.iter().filter(|event| event.subject == subject).count() as u64 + 1;
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("random bytes");
        let event = Event {
            id: EventId::new(at, random).to_string(),
            r#type: lictor_broker::event_type(&data).to_owned(),
            source: PRODUCER.to_owned(),
            subject: subject.to_owned(),
            aggregate_sequence,
            sequence: events.len() as u64 + 1,
            time: Some(timestamp(at)),
            traceparent: String::new(),
            firm_code: 6_000_001,
            data: Some(data),
        };
        events.push(event);
    }
}

pub(crate) async fn stop(running: Running) {
    running.shutdown();
    running.wait().await.expect("an orderly stop");
}

/// Asks until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
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

struct Feed(Arc<Mutex<Vec<Event>>>);

#[tonic::async_trait]
impl EventFeedService for Feed {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let request = request.into_inner();
        let events = self.0.lock().expect("a lock");
        let from = usize::try_from(request.after_sequence).unwrap_or(usize::MAX).min(events.len());
        let page = events[from..].iter().take(request.limit as usize).cloned().collect();
        Ok(Response::new(ListEventsResponse { events: page, ..ListEventsResponse::default() }))
    }
}
