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
    domain::guess::Limits,
    events::take_in,
    grpc::{self, Desk},
    guess::Guesses,
    metrics::Metrics,
    saga::{Peers, Runner, Step, Watch},
    settings::LIMITS,
    store::{MIGRATIONS, Store},
};
use lictor_api::{
    activation::v1::{
        ActivateRequest, ActivateResponse, Activation, CreatePushRequest, CreatePushResponse, GetActivationRequest,
        GetPendingUpdateRequest, SubmitContextRequest, SubmitContextResponse, WithdrawLicenseRequest,
        WithdrawLicenseResponse, activation_service_client::ActivationServiceClient,
        push_service_client::PushServiceClient,
    },
    central::v1::{
        ApplyCatalogueRequest, CreateOrderRequest, GetLicenseRequest, OrderLine, Ticket,
        catalogue_service_client::CatalogueServiceClient, license_service_client::LicenseServiceClient,
        order_service_client::OrderServiceClient,
    },
    event::v1::{Event, ListEventsRequest, event::Data},
    types::v1::{ContainerKind as WireKind, LicenseState},
    update::v1::{CreateLifRequest, InitVendorRequest, vendor_service_client::VendorServiceClient},
};
use lictor_auth::{AuthSettings, LocalIssuer, Role};
use lictor_broker::Broker;
use lictor_clock::{Clock as _, ManualClock, Timestamp};
use lictor_license_central::TicketKeySource;
use lictor_license_file::lif;
use lictor_licensing::ContainerKind;
use lictor_runtime::{
    Frame, ListenSettings, Running,
    client::{self, ServiceChannel},
};
use lictor_signing::TrustedRoot;
use lictor_storage::{Database, DatabaseSettings, testing::for_each_engine};
use tonic::Status;

use crate::device::Device;

pub(crate) const FIRM: u32 = 6_000_001;
const CATALOGUE: &str = include_str!("../../../../docs/catalogue-example.yaml");
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
pub(crate) struct Killer(Mutex<Option<Step>>);

impl Killer {
    pub(crate) fn at(step: Step) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(step))))
    }

    pub(crate) fn has_struck(&self) -> bool {
        self.0.lock().expect("a lock").is_none()
    }
}

impl Watch for Killer {
    fn reached(&self, step: Step) -> ControlFlow<()> {
        let mut planned = self.0.lock().expect("a lock");
        if *planned == Some(step) {
            *planned = None;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// One process of the activation service. Nothing runs in its background: tests say when.
pub(crate) struct Front {
    pub(crate) running: Running,
    pub(crate) runner: Runner,
    clock: ManualClock,
    issuer: LocalIssuer,
}

/// Runs a test with the tables of activation on each engine.
pub(crate) async fn on_each_engine(test: impl AsyncFn(World)) {
    for_each_engine(MIGRATIONS, async |db: Database| {
        let vendor = Vendor::start().await;
        let root = vendor.firm(FIRM, CATALOGUE).await;
        test(World { vendor, db, root }).await;
    })
    .await;
}

fn channel(url: &str, issuer: &LocalIssuer, clock: &ManualClock, roles: &'static [Role]) -> ServiceChannel {
    let (issuer, clock) = (issuer.clone(), clock.clone());
    let token = Arc::new(move || {
        issuer
            .mint("somebody", roles, "lictor", Duration::from_secs(60), clock.now())
            .map_err(|error| Status::internal(error.to_string()))
    });
    client::channel(url, None, Some(token)).expect("a channel")
}

fn url(running: &Running) -> String {
    format!("http://{}", running.addresses().grpc)
}

impl Vendor {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let issuer = LocalIssuer::from_seed("test", &[1; 32]).expect("an issuer");
        let clock = ManualClock::new(START);
        let broker = Broker::in_process();
        let central = lictor_license_central::start(
            lictor_license_central::Settings {
                listen: ListenSettings::loopback(),
                auth: AuthSettings::local(&issuer, "lictor"),
                database: database(folder.path(), "central.db"),
                broker: broker.clone(),
                ticket_key: TicketKeySource::File(folder.path().join("ticket.key")),
            },
            clock.shared(),
        );
        let update = lictor_push_update_generator::start(
            lictor_push_update_generator::Settings {
                listen: ListenSettings::loopback(),
                database: database(folder.path(), "update.db"),
                broker: broker.clone(),
                auth: AuthSettings::local(&issuer, "lictor"),
                keys_dir: folder.path().join("keys"),
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
        let request = InitVendorRequest { firm_code, name: "Example".to_owned() };
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
        let mut orders = OrderServiceClient::new(self.central(&[Role::BackOffice]));
        let request = CreateOrderRequest {
            request_id: format!("order-{}", self.number()),
            firm_code,
            customer: "Example Ltd".to_owned(),
            lines: items.iter().map(|item| OrderLine { item: (*item).to_owned(), quantity: 0 }).collect(),
            reference: String::new(),
        };
        let answer = orders.create_order(request).await.expect("an order").into_inner();
        answer.order.expect("an order").tickets.remove(0)
    }

    pub(crate) async fn state(&self, license_id: &str) -> LicenseState {
        let mut licenses = LicenseServiceClient::new(self.central(&[Role::Support]));
        let request = GetLicenseRequest { license_id: license_id.to_owned() };
        licenses.get_license(request).await.expect("a license").into_inner().license.expect("a license").state()
    }

    pub(crate) fn auth(&self) -> AuthSettings {
        AuthSettings::local(&self.issuer, "lictor")
    }
}

pub(crate) fn database(folder: &Path, name: &str) -> DatabaseSettings {
    DatabaseSettings::at(lictor_storage::sqlite_url(&folder.join(name)))
}

impl World {
    pub(crate) fn device(&self) -> Device {
        Device::new(self.vendor.number(), ContainerKind::Machine, &self.root)
    }

    pub(crate) async fn ticket(&self) -> Ticket {
        self.vendor.order(FIRM, &["editor"]).await
    }

    pub(crate) fn peers(&self) -> Peers {
        Peers::new(self.vendor.central(&[Role::Service]), self.vendor.update(&[Role::Service]))
    }

    /// A process of the activation service, as after a start.
    pub(crate) async fn front(&self) -> Front {
        self.watched_front(None, LIMITS).await
    }

    pub(crate) async fn front_killed_at(&self, step: Step) -> (Front, Arc<Killer>) {
        let killer = Killer::at(step);
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
            guesses: Guesses::in_memory(limits, clock.shared()),
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

impl Front {
    fn public(&self) -> ActivationServiceClient<ServiceChannel> {
        let channel = client::channel(&url(&self.running), None, None).expect("a channel");
        ActivationServiceClient::new(channel).max_encoding_message_size(8 << 20)
    }

    fn staff(&self) -> PushServiceClient<ServiceChannel> {
        PushServiceClient::new(channel(&url(&self.running), &self.issuer, &self.clock, &[Role::Support]))
    }

    pub(crate) async fn activate(
        &self,
        request_id: &str,
        ticket: &str,
        context: Vec<u8>,
    ) -> Result<ActivateResponse, Status> {
        let request = ActivateRequest {
            request_id: request_id.to_owned(),
            ticket: ticket.to_owned(),
            license_ids: Vec::new(),
            context,
            quantities: Vec::new(),
        };
        self.activate_as(request).await
    }

    pub(crate) async fn activate_as(&self, request: ActivateRequest) -> Result<ActivateResponse, Status> {
        Ok(self.public().activate(request).await?.into_inner())
    }

    pub(crate) async fn inspect(
        &self,
        ticket: &str,
    ) -> Result<lictor_api::activation::v1::InspectTicketResponse, Status> {
        let request = lictor_api::activation::v1::InspectTicketRequest { ticket: ticket.to_owned() };
        Ok(self.public().inspect_ticket(request).await?.into_inner())
    }

    pub(crate) async fn submit(&self, context: Vec<u8>) -> Result<SubmitContextResponse, Status> {
        Ok(self.public().submit_context(SubmitContextRequest { context }).await?.into_inner())
    }

    pub(crate) async fn activation(&self, activation_id: &str) -> Activation {
        let request = GetActivationRequest { activation_id: activation_id.to_owned() };
        let answer = self.public().get_activation(request).await.expect("an activation").into_inner();
        answer.activation.expect("an activation")
    }

    pub(crate) async fn push(
        &self,
        request_id: &str,
        device: &Device,
        ticket: &str,
        withdraw: &[&str],
    ) -> Result<CreatePushResponse, Status> {
        let request = CreatePushRequest {
            request_id: request_id.to_owned(),
            firm_code: FIRM,
            serial: device.serial.clone(),
            ticket: ticket.to_owned(),
            withdraw: withdraw.iter().map(|license| (*license).to_owned()).collect(),
        };
        Ok(self.staff().create_push(request).await?.into_inner())
    }

    pub(crate) async fn withdraw(&self, request_id: &str, license: &str) -> Result<WithdrawLicenseResponse, Status> {
        let request = WithdrawLicenseRequest {
            request_id: request_id.to_owned(),
            license_id: license.to_owned(),
            reason: "not paid".to_owned(),
        };
        Ok(self.staff().withdraw_license(request).await?.into_inner())
    }

    pub(crate) async fn pending(&self, device: &Device) -> Vec<u8> {
        let request = GetPendingUpdateRequest { firm_code: FIRM, serial: device.serial.clone() };
        self.staff().get_pending_update(request).await.expect("the pending update").into_inner().update
    }

    /// Reads the generator's feed and carries on what became due.
    pub(crate) async fn take_proofs(&self) {
        for event in self.runner.peers().update_events(0, 1_000).await.expect("the feed") {
            take_in(self.runner.clone(), self.clock.shared(), event).await.expect("taken in");
        }
        self.resume().await;
    }

    pub(crate) async fn resume(&self) {
        while self.runner.resume_due().await.expect("a store") > 0 {}
    }

    /// Imports an update and sends the receipt.
    pub(crate) async fn import(&self, device: &mut Device, update: &[u8]) {
        let receipt = device.import(update);
        assert_eq!(self.submit(receipt).await.expect("taken").verdict, "ok");
        self.take_proofs().await;
    }
}
