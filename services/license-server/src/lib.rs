//! The licence server: keeps a container on disk and hands out its seats to protected programs.
//!
//! - [`domain`] knows and decides, without I/O.
//! - [`store`] makes it durable: keys, journal, snapshots.
//! - [`writer`] is the one thread that changes the state: decide, write, sync, answer.
//! - [`listen`] is how callers come in; `grpc` is what they may ask.

pub mod attestor;
mod binding;
pub mod bootstrap;
pub mod domain;
mod grpc;
pub mod listen;
mod memory;
pub mod metrics;
pub mod opening;
pub mod rules_file;
pub mod settings;
pub mod store;
pub mod surroundings;
pub mod upstream;
pub mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use lictor_api::server::v1::block_service_server::BlockServiceServer;
use lictor_api::server::v1::container_service_server::ContainerServiceServer;
use lictor_api::server::v1::crypto_service_server::CryptoServiceServer;
use lictor_api::server::v1::event_service_server::EventServiceServer;
use lictor_api::server::v1::rule_service_server::RuleServiceServer;
use lictor_api::server::v1::seat_service_server::SeatServiceServer;
use lictor_api::server::v1::unit_service_server::UnitServiceServer;
use lictor_clock::SharedClock;
use lictor_license_file::RuntimeVersion;
use lictor_license_file::device::DeviceProfile;
use lictor_licensing::access::Station;
use lictor_runtime::{Addresses, Frame, Lifecycle, Running, StartError};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;

pub use settings::Settings;

use binding::Beside;
use domain::ask::Moment;
use domain::keeper::Keeper;
use grpc::{
    ADMIN_MESSAGE_BYTES, AdminToken, BlockDesk, CLIENT_MESSAGE_BYTES, Containers, Crypto, EventDesk, HealthDesk,
    Identity, RuleDesk, Seats, Units,
};
use metrics::Metrics;
use opening::OpenError;
use rules_file::RulesFile;
use store::folder::{self, FolderError, FolderLock};
use store::keys::{KeysError, Secrets};
use store::{Disk, FolderDisk, StoreError};
use surroundings::Surroundings;
use upstream::{Search, Upstreams};
use writer::Ledger;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const STREAMS_PER_CONNECTION: u32 = 1_024;
const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Pings find connections whose other end has vanished; together they end one within the reconnect grace.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(15);
/// Connections that are accepted and wait to be served.
const ACCEPTED_WAITING: usize = 256;

/// A licence server that serves.
#[derive(Debug)]
pub struct LicenseServer {
    /// Its life and addresses.
    pub running: Running,
    /// Path of its Unix socket.
    pub socket: PathBuf,
    /// SHA-256 of its TLS certificate in hex, for pinning.
    pub fingerprint: String,
    /// What administrators show over the network.
    pub admin_token: String,
}

impl LicenseServer {
    /// Where it listens, with the real ports.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.running.addresses()
    }
}

/// Starts the service; see [`start_server`] for a handle that also tells what an administrator needs.
///
/// # Errors
/// One sentence with the next step.
pub async fn start(settings: Settings, clock: SharedClock) -> Result<Running, StartError> {
    Ok(start_server(settings, clock).await?.running)
}

/// Starts the service: ports, folder, journal, writer, listeners, in this order.
///
/// # Errors
/// One sentence with the next step: a port or the folder is taken, the state is damaged, a setting is wrong.
pub async fn start_server(settings: Settings, clock: SharedClock) -> Result<LicenseServer, StartError> {
    settings.bootstrap.check()?;
    let beside = Beside::start(&settings)?;
    let frame = Frame::bind("license-server", &settings.listen).await?;
    let lock = folder::lock(&settings.state_dir, clock.now()).map_err(folder_problem)?;
    let metrics = Metrics::new(frame.metrics());
    let here = beside.look(&settings, &clock).await?;
    let opened = open(&settings, &here, &clock, &metrics).await?;
    let (secrets, parts, instance) = opened;
    let lifecycle = frame.lifecycle().clone();
    let failing = lifecycle.clone();
    let ledger = writer::start(parts, move |reason| failing.fail("state folder", reason))
        .map_err(|error| StartError::failed("no thread can be started for the journal", error))?;
    let rules = start_observing(&settings, &ledger, &clock).await?;
    let identity = Arc::new(Identity {
        lease: secrets.lease.clone(),
        container_id: secrets.container_id().0,
        kind: here.kind,
        version: VERSION.to_owned(),
        instance: instance.iter().map(|byte| format!("{byte:02x}")).collect(),
        host: station_of_host(),
        station_rule: settings.station,
        network_server: settings.network_server,
        times: settings.times,
        clock: Arc::clone(&clock),
        chains: RwLock::default(),
    });
    identity.refresh(&ledger).await.map_err(StartError::unreachable)?;
    ledger.change(|writer, _| writer.started()).await.map_err(StartError::unreachable)?;
    // After this start counts as done: what is imported here is on probation until the next one, as any import is.
    settings.bootstrap.import(&ledger).await?;
    identity.refresh(&ledger).await.map_err(StartError::unreachable)?;
    let peers = beside.peers(&clock);
    let remarks = ledger.clone();
    frame.readiness().remark("remark", move || remark(remarks.clone()));
    let upstreams = search(&settings, &secrets, &ledger, &clock, &metrics)?;
    let of_licenses = (ledger.clone(), upstreams.clone());
    frame.readiness().add("licenses", move || check(of_licenses.0.clone(), of_licenses.1.clone()));
    let tls = listen::server_config(&secrets)?;
    let socket = settings.socket_path();
    let unix = listen::bind_unix(&socket)?;
    beside.confine(&settings)?;
    let guard = beside.attend(&settings, here, &secrets, &ledger, peers.clone(), &lifecycle).await;
    frame.readiness().remark("binding", move || std::future::ready(guard.remark()));
    let readiness = frame.readiness().clone();
    let health = HealthDesk::new(readiness.clone(), lifecycle.clone());
    let (tcp, running) = frame.serve_http_only();

    let (sender, incoming) = mpsc::channel(ACCEPTED_WAITING);
    let places = Arc::new(Semaphore::new(listen::MAX_CONNECTIONS));
    let local = listen::local_networks(&settings.local_subnets).into();
    let accepting_tcp =
        listen::accept_tcp(tcp, tls, local, peers, Arc::clone(&places), metrics.clone(), sender.clone());
    until_stop(&lifecycle, "memory", memory::give_back(Arc::clone(&places)));
    let accepting_unix = listen::accept_unix(unix, places, metrics, sender);
    until_stop(&lifecycle, "tcp", accepting_tcp);
    until_stop(&lifecycle, "unix socket", accepting_unix);

    let token = AdminToken::new(&secrets.admin_token);
    let seats = Seats { identity: Arc::clone(&identity), ledger: ledger.clone(), upstreams: upstreams.clone() };
    let blocks = BlockDesk {
        identity: Arc::clone(&identity),
        ledger: ledger.clone(),
        upstreams: upstreams.clone(),
        witness: Arc::default(),
    };
    let borrowers = blocks.clone();
    readiness.remark("borrowers", move || std::future::ready(borrowers.remark()));
    let desks = Desks {
        rules: RuleDesk { ledger: ledger.clone(), token: token.clone(), file: rules.clone() },
        events: EventDesk { identity: Arc::clone(&identity), ledger: ledger.clone() },
        blocks,
        health,
    };
    until_stop(&lifecycle, "network servers", upstreams.run());
    let containers = Containers { identity, ledger: ledger.clone(), token };
    lifecycle.spawn("grpc", serve(seats, containers, desks, ReceiverStream::new(incoming), lifecycle.clone()));
    until_stop(&lifecycle, "access rules", watch_rules(rules, ledger.clone()));
    lifecycle.spawn("streams", close_streams(ledger.clone(), lifecycle.clone()));
    let own_socket = socket.clone();
    lifecycle.on_stop(stop(ledger, lock, own_socket));
    tracing::info!(socket = %socket.display(), fingerprint = secrets.fingerprint(), "licence server is up");
    Ok(LicenseServer {
        running,
        socket,
        fingerprint: secrets.fingerprint(),
        admin_token: secrets.admin_token.as_str().to_owned(),
    })
}

/// Puts the access rules in force and begins the log of events.
async fn start_observing(settings: &Settings, ledger: &Ledger, clock: &SharedClock) -> Result<RulesFile, StartError> {
    if let Some(target) = settings.event_log.clone() {
        let (log, before) = store::event_log::start(target, writer::MAX_EVENTS)
            .map_err(|error| StartError::failed("the log of events cannot be written", error))?;
        ledger.events().log_to(log, before);
    }
    let file = RulesFile::new(settings.rules_file.clone(), Arc::clone(clock));
    let rules = file.first().map_err(|error| {
        let path = settings.rules_file.clone().unwrap_or_default();
        StartError::failed(format!("the access rules in {} are not taken", path.display()), error)
    })?;
    let put = ledger.change(move |writer, moment| {
        if !rules.allow_all() {
            writer.put_rules(rules, moment);
        }
        Ok(())
    });
    put.await.map_err(StartError::unreachable)?;
    Ok(file)
}

async fn watch_rules(file: RulesFile, ledger: Ledger) {
    if let Err(error) = file.watch(ledger).await {
        tracing::warn!(%error, "access rules are not read again when they change");
    }
    // A task that ends would end the server.
    std::future::pending::<()>().await;
}

/// What administrators look at.
struct Desks {
    rules: RuleDesk,
    events: EventDesk,
    blocks: BlockDesk,
    health: HealthDesk,
}

type Opened = (Arc<Secrets>, writer::Parts, [u8; 16]);

/// Reads keys and state. Replaying is work for a thread that may block.
async fn open(
    settings: &Settings,
    here: &Surroundings,
    clock: &SharedClock,
    metrics: &Metrics,
) -> Result<Opened, StartError> {
    let (path, clock, metrics, times) = (settings.state_dir.clone(), clock.clone(), metrics.clone(), settings.times);
    let here = here.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let disk = || FolderDisk::open(&path).map(|disk| Box::new(disk) as Box<dyn Disk>);
        let opened = opening::open_in(&disk, &here).map_err(|error| open_problem(&path, error))?;
        let opening::Opened { secrets, journal, state, probation, instance } = opened;
        let runtime: RuntimeVersion =
            VERSION.parse().map_err(|error| StartError::failed("this program has no proper version", error))?;
        let version = semver::Version::parse(VERSION)
            .map_err(|error| StartError::failed("this program has no proper version", error))?;
        let profile = DeviceProfile {
            keys: secrets.device_keys(),
            kind: here.kind,
            virtual_machine: here.virtual_machine,
            runtime,
        };
        let moment = Moment { now: clock.now(), boottime: clock.boottime() };
        let keeper = Keeper::new(state, times, version, moment);
        let parts =
            writer::Parts { journal, keeper, secrets: Arc::clone(&secrets), profile, clock, metrics, probation };
        Ok((secrets, parts, instance))
    });
    opening.await.map_err(|error| StartError::failed("the state folder could not be opened", error))?
}

fn folder_problem(error: FolderError) -> StartError {
    match error {
        FolderError::InUse { .. } => StartError::unreachable(error),
        FolderError::Unusable { .. } => StartError::failed(error.to_string(), error),
    }
}

fn open_problem(path: &std::path::Path, error: OpenError) -> StartError {
    match error {
        OpenError::Folder(error) => {
            StartError::failed(format!("the state folder {} cannot be opened", path.display()), error)
        }
        // It says what to do.
        OpenError::Keys(KeysError::Kept(error)) => StartError::failed(error.to_string(), error),
        OpenError::Keys(error) => {
            StartError::failed(format!("{error}; next: restore the folder {} as a whole", path.display()), error)
        }
        OpenError::Store(error) => state_problem(path, error),
    }
}

fn state_problem(path: &std::path::Path, error: StoreError) -> StartError {
    let next = match &error {
        StoreError::Full(_) => "free space on it, then start again",
        StoreError::TooNew { .. } => "start the newer version of the licence server",
        StoreError::Damaged { .. } => "restore the folder from a backup, or ask the vendor for help with a new context",
        StoreError::Disk { .. } => "look after the disk, then start again",
    };
    StartError::failed(format!("{error} ({}); next: {next}", path.display()), error)
}

/// Every local program counts for this machine.
fn station_of_host() -> Station {
    Station::new(&folder::host_name()).or_else(|_| Station::new("localhost")).expect("a plain short name")
}

/// Ready means that somebody who asks in the right way could be given a seat: of the container, of a block, or of a network
/// server that answers.
async fn check(ledger: Ledger, upstreams: Upstreams) -> Result<(), String> {
    let own = ledger.read(|keeper, moment| {
        let blocks = keeper.state.blocks.values();
        if blocks.into_iter().any(|block| block.is_usable(moment.boottime)) {
            return Ok(());
        }
        match keeper.suspended() {
            Some(reason) => Err(reason.to_owned()),
            None => grpc::could_grant(&keeper.state, moment),
        }
    });
    let own = own.await.unwrap_or_else(|problem| Err(problem.message));
    match (own, upstreams.could_lend()) {
        (Err(own), Some(Err(beyond))) => Err(format!("{own}; {beyond}")),
        (Err(_), Some(Ok(()))) => Ok(()),
        (own, _) => own,
    }
}

/// The network servers that this one asks.
fn search(
    settings: &Settings,
    secrets: &Secrets,
    ledger: &Ledger,
    clock: &SharedClock,
    metrics: &Metrics,
) -> Result<Upstreams, StartError> {
    let search = Search {
        servers: settings.bootstrap.servers()?,
        trust: settings.upstream_trust.clone(),
        host: folder::host_name(),
    };
    Upstreams::new(search, ledger.clone(), secrets.lease.clone(), Arc::clone(clock), metrics.clone())
}

/// What does not keep anybody from working, and yet must be known.
async fn remark(ledger: Ledger) -> Option<String> {
    let look = ledger.read(|keeper, moment| {
        let suspect = keeper.state.time.is_suspect(moment).then(|| {
            format!(
                "the clock says {}, but {} is proven: licences with dates are judged by the proven time; set the clock \
                 right, or import a signed time",
                moment.now,
                keeper.state.time.floor(moment.boottime)
            )
        });
        keeper.state.taken_back.sentence().into_iter().chain(suspect).collect::<Vec<_>>()
    });
    let sentences = look.await.unwrap_or_default();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

async fn serve(
    seats: Seats,
    containers: Containers,
    desks: Desks,
    incoming: ReceiverStream<io::Result<listen::Connection>>,
    lifecycle: Lifecycle,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .add_service(UnitServiceServer::new(Units(seats.clone())).max_decoding_message_size(CLIENT_MESSAGE_BYTES))
        .add_service(CryptoServiceServer::new(Crypto(seats.clone())).max_decoding_message_size(CLIENT_MESSAGE_BYTES))
        .add_service(SeatServiceServer::new(seats).max_decoding_message_size(CLIENT_MESSAGE_BYTES))
        .add_service(RuleServiceServer::new(desks.rules).max_decoding_message_size(ADMIN_MESSAGE_BYTES))
        .add_service(BlockServiceServer::new(desks.blocks).max_decoding_message_size(CLIENT_MESSAGE_BYTES))
        .add_service(EventServiceServer::new(desks.events).max_decoding_message_size(CLIENT_MESSAGE_BYTES))
        .add_service(HealthServer::new(desks.health).max_decoding_message_size(CLIENT_MESSAGE_BYTES))
        .add_service(ContainerServiceServer::new(containers).max_decoding_message_size(ADMIN_MESSAGE_BYTES))
        .serve_with_incoming_shutdown(incoming, lifecycle.soft().cancelled_owned())
        .await
}

/// Runs an accept loop until the stop.
fn until_stop(lifecycle: &Lifecycle, name: &'static str, accepting: impl Future<Output = ()> + Send + 'static) {
    let soft = lifecycle.soft();
    lifecycle.spawn(name, async move {
        soft.run_until_cancelled_owned(accepting).await;
        Ok::<(), io::Error>(())
    });
}

/// Ends the streams when the stop begins: they would go on for as long as their clients do.
async fn close_streams(ledger: Ledger, lifecycle: Lifecycle) -> Result<(), io::Error> {
    lifecycle.soft().cancelled().await;
    let closed = ledger.change(|writer, _| {
        writer.keeper.close_streams();
        writer.events.close();
        Ok(())
    });
    // Without a writer there are no streams.
    let _ = closed.await;
    Ok(())
}

/// The last steps: what is left is written, the folder is free for the next server.
async fn stop(ledger: Ledger, lock: FolderLock, socket: PathBuf) {
    ledger.stop().await;
    let _ = std::fs::remove_file(socket);
    drop(lock);
}
