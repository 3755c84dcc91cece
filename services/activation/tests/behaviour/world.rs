//! A vendor with its services, and an activation service that can be killed at any step.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use lictor_activation::{
    domain::{limit::Limits, proxy::Proxies},
    grpc::{self, Desk},
    limit::Limiter,
    metrics::Metrics,
    saga::{Peers, Runner, Step, Watch},
    settings::LIMITS,
    store::{MIGRATIONS, Store},
};
use lictor_api::{
    central::v1::{
        ApplyCatalogueRequest, CreateOrderRequest, GetLicenseRequest, OrderLine, Ticket,
        catalogue_service_client::CatalogueServiceClient, license_service_client::LicenseServiceClient,
        order_service_client::OrderServiceClient,
    },
    event::v1::{Event, ListEventsRequest, event::Data},
    types::v1::{ContainerKind as WireKind, License, LicenseState},
    update::v1::{
        Container, CreateLifRequest, GetContainerRequest, InitVendorRequest,
        container_service_client::ContainerServiceClient, vendor_service_client::VendorServiceClient,
    },
};
use lictor_auth::{AuthSettings, LocalIssuer, Role};
use lictor_broker::Broker;
use lictor_clock::{Clock as _, ManualClock, Timestamp};
use lictor_license_file::lif;
use lictor_licensing::ContainerKind;
use lictor_runtime::{
    Frame, ListenSettings, Running,
    client::{self, ServiceChannel},
};
use lictor_signing::TrustedRoot;
use lictor_storage::{
    Database, DatabaseSettings,
    sqlx::{self, AssertSqlSafe},
    testing::{POSTGRES_URL, TestDatabase, for_each_engine},
};
use lictor_test_support::device::TestDevice;
use tonic::Status;

use crate::front::Front;

pub(crate) const FIRM: u32 = 6_000_001;
const EXAMPLE: &str = include_str!("../../../../docs/catalogue-example.yaml");
/// What these tests sell beside the example.
const MORE: &str = r#"
  - name: floating
    product_item:
      product_code: 700
      text: Floating
      license_quantity: {count: 10}
      transfer: {may_move: true, may_return: true, splittable: true, depth: 0}
      modules:
        - {product_code: 701, text: Part of it}
    reactivation: {once_per_days: 30}
  - name: rented
    product_item:
      product_code: 710
      text: Rented
      license_quantity: {count: 1}
    renewal: {period_days: 30, lead_days: 7, grace_days: 0}
  - name: leased
    product_item:
      product_code: 720
      text: Leased
      license_quantity: {count: 10}
      transfer: {may_move: true, may_return: true, splittable: true, depth: 0}
    renewal: {period_days: 30, lead_days: 7, grace_days: 0}
"#;
const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// License-central and the generator, each on its own database file.
pub(crate) struct Vendor {
    pub(crate) issuer: LocalIssuer,
    pub(crate) clock: ManualClock,
    pub(crate) broker: Broker,
    pub(crate) central: Running,
    pub(crate) update: Running,
    pub(crate) folder: tempfile::TempDir,
    numbers: AtomicU32,
}

/// A vendor and the tables of an activation service.
pub(crate) struct World {
    pub(crate) vendor: Vendor,
    pub(crate) db: Database,
    pub(crate) root: TrustedRoot,
}

/// Kills the run at one step, once.
#[derive(Debug, Default)]
pub(crate) struct Killer(Mutex<Option<(Step, u32)>>);

impl Killer {
    /// Strikes when `step` was reached `skip` times before.
    pub(crate) fn at(step: Step, skip: u32) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some((step, skip)))))
    }

    pub(crate) fn has_struck(&self) -> bool {
        self.0.lock().expect("a lock").is_none()
    }
}

impl Watch for Killer {
    fn reached(&self, step: Step) -> ControlFlow<()> {
        let mut planned = self.0.lock().expect("a lock");
        match *planned {
            Some((at, 0)) if at == step => {
                *planned = None;
                return ControlFlow::Break(());
            }
            Some((at, skip)) if at == step => *planned = Some((at, skip - 1)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Runs a test with the tables of activation on each engine.
pub(crate) async fn on_each_engine(test: impl AsyncFn(World)) {
    for_each_engine(MIGRATIONS, async |db: Database| {
        let vendor = Vendor::start().await;
        let root = vendor.firm(FIRM, &format!("{EXAMPLE}{MORE}")).await;
        test(World { vendor, db, root }).await;
    })
    .await;
}

/// Runs a test with the tables of all three services on the tests' PostgreSQL server; does nothing, and says so, without one.
pub(crate) async fn on_postgres_throughout(test: impl AsyncFn(World)) {
    let Some(own) = TestDatabase::postgres(MIGRATIONS).await else {
        eprintln!("SKIPPED on PostgreSQL: {POSTGRES_URL} is not set");
        return;
    };
    let name = format!("town_{}", own.schema);
    let on_server = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(own.db.pool()).await.expect("a database");
    };
    on_server(format!("CREATE DATABASE {name}")).await;
    let (server, _) = own.url.rsplit_once('/').expect("a URL with a path");
    let vendor = Vendor::start_on(Some(&format!("{server}/{name}"))).await;
    let root = vendor.firm(FIRM, &format!("{EXAMPLE}{MORE}")).await;
    test(World { vendor, db: own.db.clone(), root }).await;
    on_server(format!("DROP DATABASE {name} WITH (FORCE)")).await;
    own.remove().await;
}

/// Runs a test with all tables in SQLite files.
pub(crate) async fn on_sqlite(test: impl AsyncFn(World)) {
    let own = TestDatabase::sqlite(MIGRATIONS).await;
    let vendor = Vendor::start().await;
    let root = vendor.firm(FIRM, &format!("{EXAMPLE}{MORE}")).await;
    test(World { vendor, db: own.db.clone(), root }).await;
    own.remove().await;
}

pub(crate) fn channel(url: &str, issuer: &LocalIssuer, clock: &ManualClock, roles: &'static [Role]) -> ServiceChannel {
    let (issuer, clock) = (issuer.clone(), clock.clone());
    let token = Arc::new(move || {
        issuer
            .mint("somebody", roles, "lictor", Duration::from_secs(60), clock.now())
            .map_err(|error| Status::internal(error.to_string()))
    });
    client::channel(url, None, Some(token)).expect("a channel")
}

pub(crate) fn url(running: &Running) -> String {
    format!("http://{}", running.addresses().grpc)
}

impl Drop for Vendor {
    /// Without it the services of one run would go on beside those of the next one: after dozens of runs in one process
    /// they take its time, its ports and its files.
    fn drop(&mut self) {
        self.central.shutdown();
        self.update.shutdown();
    }
}

impl Vendor {
    pub(crate) async fn start() -> Self {
        Self::start_on(None).await
    }

    /// The same with the tables of both services on one server, each in its schema.
    pub(crate) async fn start_on(server: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = |name: &str| match server {
            Some(url) => DatabaseSettings::at(url),
            None => database(folder.path(), name),
        };
        let issuer = LocalIssuer::from_seed("test", &[1; 32]).expect("an issuer");
        let clock = ManualClock::new(START);
        let broker = Broker::in_process();
        let central = lictor_license_central::start(
            lictor_license_central::Settings {
                listen: ListenSettings::loopback(),
                auth: AuthSettings::local(&issuer, "lictor"),
                database: database("central.db"),
                broker: broker.clone(),
                ticket_key: lictor_runtime::KeySource::File(folder.path().join("ticket.key")),
                expiry_notice_days: lictor_license_central::NoticeDays::USUAL,
            },
            clock.shared(),
        );
        let update = lictor_push_update_generator::start(
            lictor_push_update_generator::Settings {
                listen: ListenSettings::loopback(),
                database: database("update.db"),
                archive: None,
                broker: broker.clone(),
                auth: AuthSettings::local(&issuer, "lictor"),
                keys: lictor_push_update_generator::KeyPlace::Folder(folder.path().join("keys")),
                keys_mode: lictor_key_store::Mode::Development,
            },
            clock.shared(),
        );
        let (central, update) = (central.await.expect("license-central"), update.await.expect("the generator"));
        Self { issuer, clock, broker, central, update, folder, numbers: AtomicU32::new(0) }
    }

    pub(crate) fn central(&self, roles: &'static [Role]) -> ServiceChannel {
        channel(&url(&self.central), &self.issuer, &self.clock, roles)
    }

    pub(crate) fn update(&self, roles: &'static [Role]) -> ServiceChannel {
        channel(&url(&self.update), &self.issuer, &self.clock, roles)
    }

    /// Makes a firm with keys and a catalogue, and gives its root document.
    pub(crate) async fn firm(&self, firm_code: u32, catalogue: &str) -> TrustedRoot {
        let mut vendors = VendorServiceClient::new(self.update(&[Role::Admin]));
        let request = InitVendorRequest { firm_code, name: "Example".to_owned(), ..InitVendorRequest::default() };
        vendors.init_vendor(request).await.expect("a firm");
        let request = CreateLifRequest {
            firm_code,
            bindings: vec![WireKind::Folder.into(), WireKind::Machine.into(), WireKind::Volume.into()],
            activation_address: String::new(),
        };
        let file = vendors.create_lif(request).await.expect("a file").into_inner().lif;
        let mut catalogues = CatalogueServiceClient::new(self.central(&[Role::Admin]));
        let request = ApplyCatalogueRequest {
            request_id: format!("catalogue-{firm_code}"),
            firm_code,
            document: catalogue.replace(&FIRM.to_string(), &firm_code.to_string()),
            dry_run: false,
        };
        catalogues.apply_catalogue(request).await.expect("applied");
        lif::read(&file).expect("a good file").root
    }

    pub(crate) fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Orders items and gives the ticket.
    pub(crate) async fn order(&self, firm_code: u32, items: &[&str]) -> Ticket {
        let items: Vec<(&str, u32)> = items.iter().map(|item| (*item, 0)).collect();
        self.order_seats(firm_code, &items).await
    }

    /// Orders items with seats and gives the ticket.
    pub(crate) async fn order_seats(&self, firm_code: u32, items: &[(&str, u32)]) -> Ticket {
        let mut orders = OrderServiceClient::new(self.central(&[Role::BackOffice]));
        let request = CreateOrderRequest {
            request_id: format!("order-{}", self.number()),
            firm_code,
            customer: "Example Ltd".to_owned(),
            lines: items
                .iter()
                .map(|(item, quantity)| OrderLine { item: (*item).to_owned(), quantity: *quantity })
                .collect(),
            reference: String::new(),
        };
        let answer = orders.create_order(request).await.expect("an order").into_inner();
        answer.order.expect("an order").tickets.remove(0)
    }

    pub(crate) async fn license(&self, license_id: &str) -> License {
        let mut licenses = LicenseServiceClient::new(self.central(&[Role::Support]));
        let request = GetLicenseRequest { license_id: license_id.to_owned() };
        licenses.get_license(request).await.expect("a license").into_inner().license.expect("a license")
    }

    pub(crate) async fn state(&self, license_id: &str) -> LicenseState {
        self.license(license_id).await.state()
    }

    /// What the generator knows of a container.
    pub(crate) async fn container(&self, device: &TestDevice) -> Container {
        let mut containers = ContainerServiceClient::new(self.update(&[Role::Support]));
        let request = GetContainerRequest { firm_code: FIRM, serial: device.serial.clone() };
        containers.get_container(request).await.expect("the container").into_inner().container.expect("it")
    }

    pub(crate) fn auth(&self) -> AuthSettings {
        AuthSettings::local(&self.issuer, "lictor")
    }
}

pub(crate) fn database(folder: &Path, name: &str) -> DatabaseSettings {
    DatabaseSettings::at(lictor_storage::sqlite_url(&folder.join(name)))
}

impl World {
    pub(crate) fn device(&self) -> TestDevice {
        TestDevice::new(self.vendor.number(), ContainerKind::Machine, &self.root)
    }

    pub(crate) async fn ticket(&self) -> Ticket {
        self.vendor.order(FIRM, &["editor"]).await
    }

    /// A ticket with one license of `seats` that may be moved, divided and given back.
    pub(crate) async fn floating(&self, seats: u32) -> Ticket {
        self.vendor.order_seats(FIRM, &[("floating", seats)]).await
    }

    pub(crate) fn peers(&self) -> Peers {
        Peers::new(self.vendor.central(&[Role::Service]), self.vendor.update(&[Role::Service]))
    }

    /// A process of the activation service, as after a start.
    pub(crate) async fn front(&self) -> Front {
        self.watched_front(None, LIMITS).await
    }

    pub(crate) async fn front_killed_at(&self, step: Step) -> (Front, Arc<Killer>) {
        self.front_killed_after(step, 0).await
    }

    /// The same, when the step was reached `skip` times before.
    pub(crate) async fn front_killed_after(&self, step: Step, skip: u32) -> (Front, Arc<Killer>) {
        let killer = Killer::at(step, skip);
        (self.watched_front(Some(killer.clone()), LIMITS).await, killer)
    }

    pub(crate) async fn watched_front(&self, watch: Option<Arc<dyn Watch>>, limits: Limits) -> Front {
        let clock = &self.vendor.clock;
        let frame = Frame::bind("activation", &ListenSettings::loopback()).await.expect("free ports");
        let metrics = Metrics::new(frame.metrics());
        let store = Store::new(self.db.clone());
        let mut runner = Runner::new(store, self.peers(), clock.shared(), "test", metrics.clone());
        runner.take_over().await.expect("taken over");
        if let Some(watch) = watch {
            runner = runner.watched(watch);
        }
        let desk = Desk {
            runner: runner.clone(),
            limiter: Limiter::in_memory(limits, clock.shared()),
            proxies: Proxies(vec!["127.0.0.2".parse().expect("an address")]),
            clock: clock.shared(),
            metrics,
            lifecycle: frame.lifecycle().clone(),
        };
        let verifier = self.vendor.auth().verifier(clock.shared()).expect("a verifier");
        let gate = lictor_auth::gate(grpc::ACCESS, verifier);
        let running = frame.serve(grpc::routes(desk), gate);
        Front { running, runner, clock: clock.clone(), issuer: self.vendor.issuer.clone() }
    }

    /// Events of the activation service so far.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let request = ListEventsRequest { after_sequence: 0, limit: 1_000 };
        lictor_broker::list_events(&self.db, &request).await.expect("the feed").events
    }

    /// How often completion and proof of an activation were announced.
    pub(crate) async fn announced(&self, activation: &str) -> (usize, usize) {
        let (mut completed, mut confirmed) = (0, 0);
        for event in self.events().await {
            match event.data {
                Some(Data::ActivationCompleted(data)) if data.activation_id == activation => completed += 1,
                Some(Data::ActivationConfirmed(data)) if data.activation_id == activation => confirmed += 1,
                _ => {}
            }
        }
        (completed, confirmed)
    }
}
