//! The whole service behind its sockets.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use lictor_api::{
    event::v1::{ListEventsRequest, event_feed_service_client::EventFeedServiceClient},
    types::v1 as types,
    update::v1::{
        self as wire, container_service_client::ContainerServiceClient, update_service_client::UpdateServiceClient,
        vendor_service_client::VendorServiceClient,
    },
};
use lictor_auth::{AuthSettings, LocalIssuer, Role};
use lictor_broker::Broker;
use lictor_clock::{Clock as _, SystemClock};
use lictor_key_store::Mode;
use lictor_license_file::lif;
use lictor_licensing::binding::ContainerKind;
use lictor_push_update_generator::{Settings, domain::request::Change, start};
use lictor_runtime::{
    ListenSettings, Running, StartError,
    client::{self, ServiceChannel},
};
use lictor_storage::DatabaseSettings;
use lictor_test_support::device::TestDevice;
use tonic::Code;

use crate::world::{FOLDER, add_bound, license};

struct Service {
    running: Running,
    issuer: LocalIssuer,
    folder: tempfile::TempDir,
}

fn settings(folder: &std::path::Path, issuer: &LocalIssuer, keys_mode: Mode) -> Settings {
    Settings {
        listen: ListenSettings::loopback(),
        database: DatabaseSettings::at(lictor_storage::sqlite_url(&folder.join("updates.db"))),
        archive: Some(DatabaseSettings::at(lictor_storage::sqlite_url(&folder.join("archive.db")))),
        broker: Broker::in_process(),
        auth: AuthSettings::local(issuer, "lictor"),
        keys: lictor_push_update_generator::KeyPlace::Folder(folder.join("keys")),
        keys_mode,
    }
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let issuer = LocalIssuer::from_seed("test", &[1; 32]).expect("an issuer");
        let settings = settings(folder.path(), &issuer, Mode::Development);
        let running = start(settings, SystemClock::shared()).await.expect("a running service");
        Self { running, issuer, folder }
    }

    fn channel(&self, roles: &'static [Role]) -> ServiceChannel {
        let issuer = self.issuer.clone();
        let token = std::sync::Arc::new(move || {
            issuer
                .mint("somebody", roles, "lictor", Duration::from_secs(60), SystemClock.now())
                .map_err(|error| tonic::Status::internal(error.to_string()))
        });
        let url = format!("http://{}", self.running.addresses().grpc);
        client::channel(&url, None, Some(token)).expect("a channel")
    }

    async fn stop(self) {
        self.running.shutdown();
        self.running.wait().await.expect("a clean end");
    }
}

/// The status line of a page.
async fn page(address: SocketAddr, path: &'static str) -> String {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("a listener");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    })
    .await
    .expect("a page")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_travels_over_the_wire() {
    let service = Service::start().await;
    let mut vendors = VendorServiceClient::new(service.channel(&[Role::Admin]));
    let init = wire::InitVendorRequest { firm_code: 10, name: "Example".to_owned(), ..Default::default() };
    let made = vendors.init_vendor(init.clone()).await.expect("a firm").into_inner();
    assert!(made.created);
    let again = vendors.init_vendor(init).await.expect("a firm").into_inner();
    assert!(!again.created);
    assert_eq!(again.vendor, made.vendor);
    let lif = vendors
        .create_lif(wire::CreateLifRequest {
            firm_code: 10,
            bindings: vec![types::ContainerKind::Folder as i32],
            activation_address: "http://127.0.0.1:7020".to_owned(),
        })
        .await
        .expect("a file")
        .into_inner()
        .lif;
    let opened = lif::read(&lif).expect("a good file");
    let mut device = TestDevice::new(1, ContainerKind::Folder, &opened.root);

    let mut updates = UpdateServiceClient::new(service.channel(&[Role::Service]));
    let context = device.context();
    let inspected = updates
        .inspect_context(wire::InspectContextRequest { context: context.clone() })
        .await
        .expect("an inspection")
        .into_inner();
    assert_eq!((inspected.container_id.clone(), inspected.counter), (device.id(), 0));
    let taken = updates.take_context(wire::TakeContextRequest { context }).await.expect("taken").into_inner();
    assert_eq!((taken.verdict.as_str(), taken.kind), ("ok", types::ContainerKind::Folder as i32));
    let Change::Add { item, quantity, .. } = add_bound(1, FOLDER) else { unreachable!() };
    let request = wire::IssueUpdateRequest {
        reference: "act_1".to_owned(),
        firm_code: 10,
        container_id: device.id(),
        changes: vec![types::LicenseChange {
            license_id: license(1).to_string(),
            change: Some(types::license_change::Change::Add(types::PutLicense { product_item: item, quantity })),
        }],
    };
    let issued = updates.issue_update(request.clone()).await.expect("issued").into_inner();
    assert_eq!(updates.issue_update(request).await.expect("issued").into_inner(), issued);
    let named = wire::GetPendingUpdateRequest { firm_code: 10, serial: device.serial.clone() };
    let pending = updates.get_pending_update(named.clone()).await.expect("pending").into_inner();
    assert_eq!((pending.update, pending.segments), (issued.update.clone(), 1));
    let receipt = device.import(&issued.update).expect("an import");
    updates.take_context(wire::TakeContextRequest { context: receipt }).await.expect("taken");
    let pending = updates.get_pending_update(named).await.expect("pending").into_inner();
    assert!(pending.update.is_empty());

    let mut containers = ContainerServiceClient::new(service.channel(&[Role::Support]));
    let request = wire::GetContainerRequest { firm_code: 10, serial: device.serial.clone() };
    let seen = containers.get_container(request).await.expect("a container").into_inner();
    let by_id = wire::GetContainerRequest { firm_code: 10, serial: device.id() };
    assert_eq!(containers.get_container(by_id).await.expect("a container").into_inner(), seen);
    let container = seen.container.expect("a container");
    assert_eq!((container.confirmed, container.latest), (1, 1));
    assert!(seen.segments[0].confirmed_at.is_some() && seen.segments[0].summary.contains("adds license"));
    let entry = &seen.entries[0];
    assert_eq!((entry.product_code, entry.quantity, entry.counted), (1_001, 5, true));
    assert!(entry.effective.iter().any(|option| option.name == "bindings" && option.source == "own"));
    let list = wire::ListContainersRequest { firm_code: 10, page: None };
    let list = containers.list_containers(list).await.expect("a list").into_inner();
    assert_eq!((list.containers, list.next_page_token), (vec![container], String::new()));

    let mut feed = EventFeedServiceClient::new(service.channel(&[Role::Auditor]));
    let after = ListEventsRequest { after_sequence: 1, limit: 10 };
    let events = feed.list_events(after).await.expect("events").into_inner().events;
    let seen: Vec<_> = events.iter().map(|event| (event.sequence, event.r#type.as_str())).collect();
    assert_eq!(seen, [(2, "lictor.update.issued.v1"), (3, "lictor.update.confirmed.v1")]);
    assert!(events.iter().all(|event| event.firm_code == 10 && event.subject == format!("{}/10", device.id())));

    let metrics = page(service.running.addresses().http, "/metrics").await;
    assert!(metrics.contains("lictor_segments_issued_total 1"), "{metrics}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_words_and_change_nothing() {
    let service = Service::start().await;
    let mut updates = UpdateServiceClient::new(service.channel(&[Role::Service]));
    let empty = updates.issue_update(wire::IssueUpdateRequest::default()).await.expect_err("empty");
    assert_eq!(empty.code(), Code::InvalidArgument);
    assert!(!lictor_api::error::problem(&empty).next.is_empty());
    let no_file = updates.take_context(wire::TakeContextRequest::default()).await.expect_err("empty");
    assert_eq!(no_file.code(), Code::InvalidArgument);
    let noise = wire::TakeContextRequest { context: vec![0x55; 4 * 1024 * 1024] };
    assert_eq!(updates.take_context(noise).await.expect_err("noise").code(), Code::InvalidArgument);
    let many = vec![types::LicenseChange::default(); 1_000];
    let request = wire::IssueUpdateRequest {
        reference: "act_1".to_owned(),
        firm_code: 10,
        container_id: "ab".repeat(32),
        changes: many,
    };
    assert_eq!(updates.issue_update(request).await.expect_err("too many").code(), Code::InvalidArgument);
    let mut containers = ContainerServiceClient::new(service.channel(&[Role::Admin]));
    let unknown = wire::GetContainerRequest { firm_code: 10, serial: "130-1".to_owned() };
    assert_eq!(containers.get_container(unknown).await.expect_err("unknown").code(), Code::NotFound);
    let bad_token = types::PageRequest { size: 10, token: "x".to_owned() };
    let list = wire::ListContainersRequest { firm_code: 10, page: Some(bad_token) };
    assert_eq!(containers.list_containers(list).await.expect_err("a token").code(), Code::InvalidArgument);
    let mut people = UpdateServiceClient::new(service.channel(&[Role::Admin]));
    let denied = people.issue_update(wire::IssueUpdateRequest::default()).await.expect_err("a person");
    assert_eq!(denied.code(), Code::PermissionDenied);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_means_that_it_can_issue() {
    let service = Service::start().await;
    let http = service.running.addresses().http;
    assert!(page(http, "/ready").await.starts_with("HTTP/1.1 200"));
    let mut vendors = VendorServiceClient::new(service.channel(&[Role::Admin]));
    let init = wire::InitVendorRequest { firm_code: 10, name: "Example".to_owned(), ..Default::default() };
    vendors.init_vendor(init).await.expect("a firm");
    let key = service.folder.path().join("keys/firm-10-issue-1.key");
    std::fs::rename(&key, key.with_extension("away")).expect("a key");
    until(http, "HTTP/1.1 503").await;
    let answer = page(http, "/ready").await;
    assert!(answer.contains("issue key of firm 10"), "{answer}");
    std::fs::rename(key.with_extension("away"), &key).expect("a key");
    until(http, "HTTP/1.1 200").await;
    service.stop().await;
}

async fn until(http: SocketAddr, status: &str) {
    let waiting = async {
        while !page(http, "/ready").await.starts_with(status) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("readiness changes");
}

#[tokio::test]
async fn keys_in_files_are_refused_in_production_unless_forced() {
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = LocalIssuer::from_seed("test", &[1; 32]).expect("an issuer");
    let refused = start(settings(folder.path(), &issuer, Mode::Production), SystemClock::shared()).await;
    let error = refused.expect_err("a refused start");
    assert!(matches!(error, StartError::Settings(_)));
    assert!(error.to_string().contains("LICTOR_ALLOW_KEYS_IN_FILES"));
    let forced = settings(folder.path(), &issuer, Mode::ProductionForced);
    for (archive, wanted) in [(None, "set ARCHIVE_URL"), (Some(forced.database.clone()), "a database of its own")] {
        let error = start(Settings { archive, ..forced.clone() }, SystemClock::shared()).await.expect_err("no archive");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let running = start(forced, SystemClock::shared()).await.expect("a running service");
    running.shutdown();
    running.wait().await.expect("a clean end");
}
