//! Updates: issued by the push update generator alone, issued by way of activation, and imported by the licence server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, ensure};
use lictor_api::activation::v1::ActivateRequest;
use lictor_api::activation::v1::activation_service_client::ActivationServiceClient;
use lictor_api::central::v1::order_service_client::OrderServiceClient;
use lictor_api::central::v1::{CreateOrderRequest, OrderLine};
use lictor_api::server::v1::container_service_client::ContainerServiceClient;
use lictor_api::server::v1::{CreateContextRequest, ImportUpdateRequest};
use lictor_api::types::v1::{LicenseChange, PutLicense, license_change};
use lictor_api::update::v1::update_service_client::UpdateServiceClient;
use lictor_api::update::v1::{IssueUpdateRequest, TakeContextRequest};
use lictor_licensing::binding::ContainerKind;
use lictor_licensing::id::LicenseId;
use lictor_runtime::client::ServiceChannel;
use lictor_test_support::calls::Caller;
use lictor_test_support::device::TestDevice;
use lictor_test_support::fleet::{FIRM_CODE, Fleet, Service};
use tokio::task::JoinSet;

use crate::bare::ask;
use crate::figures::{cpu_seconds, machine_seconds};
use crate::provision::{product_item, unix_channel};

/// Updates on their way at the same time.
pub const IN_FLIGHT: usize = 32;
/// Containers of one round.
const CONTAINERS: usize = 128;
/// Measured updates of each of them; one before them certifies the container's key and is not measured.
const UPDATES: usize = 4;
/// Segments of the file that is imported.
pub const SEGMENTS: u32 = 64;

/// One measured stretch of issuing.
#[derive(Clone, Copy, Debug)]
pub struct Issued {
    /// Updates.
    pub count: f64,
    /// Seconds on the wall.
    pub wall: f64,
    /// CPU seconds of the services.
    pub cpu: f64,
    /// SQL statements of the services' database, transaction brackets included; none when PostgreSQL does not count them.
    pub statements: Option<f64>,
    /// Committed transactions of the services' database.
    pub commits: f64,
    /// Bytes of one segment on its way.
    pub segment_bytes: usize,
    /// Share of the machine that did nothing, 0 to 1: what waiting costs, for a disk or for each other.
    pub idle: f64,
}

/// The generator alone, with a firm.
pub struct Generator {
    fleet: Fleet,
    rounds: AtomicUsize,
}

/// All services, with a vendor, a catalogue and a container at the licence server.
pub struct Whole {
    fleet: Fleet,
    serial: String,
    rounds: AtomicUsize,
}

impl Generator {
    /// Starts it; `None` when the run has no servers.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let Some(fleet) = Fleet::start_some(&[Service::Update], BTreeMap::new())? else { return Ok(None) };
        fleet.ok(&["vendor", "init", "--firm-code", &FIRM_CODE.to_string(), "--name", "Example Software"])?;
        fleet.ok(&["vendor", "lif", "--binding", "folder", "-o", "vendor.lif"])?;
        Ok(Some(Self { fleet, rounds: AtomicUsize::new(0) }))
    }

    /// The database that it stores in.
    #[must_use]
    pub fn database(&self) -> &str {
        self.fleet.database()
    }

    /// One round of issuing with [`IN_FLIGHT`] updates at a time.
    ///
    /// # Errors
    /// The generator refuses.
    pub async fn round(&self) -> anyhow::Result<Issued> {
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let root = self.fleet.root()?;
        let updates = UpdateServiceClient::new(self.fleet.channel(Service::Update, Caller::Service)?);
        let item = product_item(1)?;
        let mut bytes = 0;
        let mut chains = Vec::new();
        for place in 0..CONTAINERS {
            let number = round * CONTAINERS + place + 1;
            let mut device = TestDevice::new(u32::try_from(number)?, ContainerKind::Folder, &root);
            updates.clone().take_context(TakeContextRequest { context: device.context() }).await?;
            let first = issue(&updates, &device.id(), number * 100, &item).await?;
            device.import(&first).map_err(|error| anyhow::anyhow!("{error}"))?;
            bytes = first.len();
            chains.push((number, device.id()));
        }
        let meter = Meter::start(&self.fleet, &[Service::Update])?;
        let chains = std::sync::Arc::new(std::sync::Mutex::new(chains));
        let mut tasks = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (chains, updates, item) = (chains.clone(), updates.clone(), item.clone());
            tasks.spawn(async move {
                loop {
                    let next = chains.lock().ok().and_then(|mut chains| chains.pop());
                    let Some((number, container)) = next else { return Ok::<_, anyhow::Error>(()) };
                    for update in 1..=UPDATES {
                        issue(&updates, &container, number * 100 + update, &item).await?;
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        meter.stop(CONTAINERS * UPDATES, bytes)
    }
}

async fn issue(
    updates: &UpdateServiceClient<ServiceChannel>,
    container_id: &str,
    number: usize,
    item: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let put = PutLicense { product_item: item.to_vec(), quantity: 1 };
    let license = LicenseId::from_u128(number as u128);
    let request = IssueUpdateRequest {
        reference: format!("bench-{number}"),
        firm_code: FIRM_CODE,
        container_id: container_id.to_owned(),
        changes: vec![LicenseChange {
            license_id: license.to_string(),
            change: Some(license_change::Change::Add(put)),
        }],
    };
    Ok(updates.clone().issue_update(request).await?.into_inner().update)
}

impl Whole {
    /// Starts all five services; `None` when the run has no servers.
    ///
    /// # Errors
    /// One does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let Some(fleet) = Fleet::start()? else { return Ok(None) };
        let serial = fleet.set_up()?;
        Ok(Some(Self { fleet, serial, rounds: AtomicUsize::new(0) }))
    }

    /// The database that the services store in.
    #[must_use]
    pub fn database(&self) -> &str {
        self.fleet.database()
    }

    /// One round of activations, each of a ticket of its own into a container of its own.
    ///
    /// # Errors
    /// A service refuses.
    pub async fn round(&self) -> anyhow::Result<Issued> {
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let root = self.fleet.root()?;
        let orders = OrderServiceClient::new(self.fleet.channel(Service::Central, Caller::Admin)?);
        let mut prepared = Vec::new();
        for place in 0..CONTAINERS {
            let number = round * CONTAINERS + place + 1;
            let request = CreateOrderRequest {
                request_id: format!("bench-{number}"),
                firm_code: FIRM_CODE,
                customer: "Nova".to_owned(),
                lines: vec![OrderLine { item: "reports".to_owned(), quantity: 0 }],
                reference: String::new(),
            };
            let order = orders.clone().create_order(request).await?.into_inner().order.context("an order")?;
            let ticket = order.tickets.into_iter().next().context("a ticket")?.ticket;
            let mut device = TestDevice::new(u32::try_from(number)?, ContainerKind::Folder, &root);
            prepared.push(ActivateRequest {
                request_id: format!("bench-activate-{number}"),
                ticket,
                context: device.context(),
                ..ActivateRequest::default()
            });
        }
        let customers = ActivationServiceClient::new(self.fleet.channel(Service::Activation, Caller::Public)?);
        let meter = Meter::start(&self.fleet, &[Service::Central, Service::Activation, Service::Update])?;
        let prepared = std::sync::Arc::new(std::sync::Mutex::new(prepared));
        let mut tasks = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (prepared, customers) = (prepared.clone(), customers.clone());
            tasks.spawn(async move {
                loop {
                    let next = prepared.lock().ok().and_then(|mut prepared| prepared.pop());
                    let Some(request) = next else { return Ok::<_, anyhow::Error>(()) };
                    customers.clone().activate(request).await?;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        meter.stop(CONTAINERS, 0)
    }

    /// Seconds that the licence server takes for a file of [`SEGMENTS`] segments, and the file's length.
    ///
    /// # Errors
    /// A service refuses.
    pub async fn import(&self) -> anyhow::Result<(f64, usize)> {
        let updates = UpdateServiceClient::new(self.fleet.channel(Service::Update, Caller::Service)?);
        let mut containers = ContainerServiceClient::new(unix_channel(&self.fleet.path("server/lictor.sock")).await?)
            .max_decoding_message_size(8 << 20)
            .max_encoding_message_size(8 << 20);
        let request = CreateContextRequest {
            firm_code: FIRM_CODE,
            serial: self.serial.clone(),
            ..CreateContextRequest::default()
        };
        let context = containers.create_context(request).await?.into_inner().context;
        let taken = updates.clone().take_context(TakeContextRequest { context }).await?.into_inner();
        let item = product_item(1)?;
        let mut update = Vec::new();
        for place in 0..SEGMENTS {
            update = issue(&updates, &taken.container_id, 1_000_000_000 + place as usize, &item).await?;
        }
        let length = update.len();
        let began = Instant::now();
        let imported = containers.import_update(ImportUpdateRequest { update }).await?.into_inner();
        let wall = began.elapsed().as_secs_f64();
        ensure!(imported.applied == SEGMENTS, "{} of {SEGMENTS} segments were applied", imported.applied);
        Ok((wall, length))
    }
}

struct Meter {
    pids: Vec<u32>,
    cpu: f64,
    database: String,
    statements: Option<f64>,
    commits: f64,
    machine: (f64, f64),
    began: Instant,
}

impl Meter {
    fn start(fleet: &Fleet, services: &[Service]) -> anyhow::Result<Self> {
        let database = fleet.database().to_owned();
        // Without the module there are no figures, and no fault.
        let _ = ask(&database, "create extension if not exists pg_stat_statements");
        let pids = services
            .iter()
            .map(|service| fleet.with(*service, |process| process.id()))
            .collect::<Result<Vec<_>, _>>()?;
        let cpu = cpu_of(&pids)?;
        let (statements, commits) = counted(&database)?;
        Ok(Self { pids, cpu, database, statements, commits, machine: machine_seconds()?, began: Instant::now() })
    }

    fn stop(&self, count: usize, segment_bytes: usize) -> anyhow::Result<Issued> {
        let wall = self.began.elapsed().as_secs_f64();
        let (all, busy) = machine_seconds()?;
        let idle = 1.0 - (busy - self.machine.1) / (all - self.machine.0).max(f64::EPSILON);
        let cpu = cpu_of(&self.pids)? - self.cpu;
        let (statements, commits) = counted(&self.database)?;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let count = count as f64;
        Ok(Issued {
            count,
            wall,
            cpu,
            statements: statements.zip(self.statements).map(|(now, before)| now - before),
            commits: commits - self.commits,
            segment_bytes,
            idle,
        })
    }
}

fn cpu_of(pids: &[u32]) -> anyhow::Result<f64> {
    pids.iter().map(|pid| cpu_seconds(*pid)).sum()
}

/// Statements and commits of a database so far.
fn counted(database: &str) -> anyhow::Result<(Option<f64>, f64)> {
    let statements = ask(
        database,
        "select coalesce(sum(calls), 0) from pg_stat_statements \
         where dbid = (select oid from pg_database where datname = current_database())",
    );
    let commits = ask(database, "select xact_commit from pg_stat_database where datname = current_database()")?;
    Ok((statements.ok().and_then(|text| text.parse().ok()), commits.parse()?))
}
