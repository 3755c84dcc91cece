//! All five services in this process, and everybody who may knock at their doors.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use lictor_auth::{AuthSettings, LocalIssuer, Role};
use lictor_broker::Broker;
use lictor_clock::{Clock as _, SharedClock, SystemClock};
use lictor_key_store::Mode;
use lictor_license_server::LicenseServer;
use lictor_licensing::access::Origin;
use lictor_runtime::{ListenSettings, Running};
use lictor_storage::DatabaseSettings;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    metadata::MetadataValue,
    transport::{Channel, Endpoint, Uri},
};

use crate::{contract::Rpc, raw::RawBytes};

const AUDIENCE: &str = "lictor";

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Central,
    Activation,
    Update,
    Notification,
    Server,
}

impl Process {
    pub(crate) const ALL: [Self; 5] = [Self::Central, Self::Activation, Self::Update, Self::Notification, Self::Server];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Central => "license-central",
            Self::Activation => "activation",
            Self::Update => "push-update-generator",
            Self::Notification => "notification-dispatcher",
            Self::Server => "license-server",
        }
    }

    /// Whether the service answers this RPC: its own package, and the event feed of all who announce.
    pub(crate) fn offers(self, rpc: &Rpc) -> bool {
        let own = match self {
            Self::Central => "lictor.central.v1",
            Self::Activation => "lictor.activation.v1",
            Self::Update => "lictor.update.v1",
            Self::Notification => "lictor.notification.v1",
            Self::Server => "lictor.server.v1",
        };
        rpc.package == own || self != Self::Server && rpc.package == "lictor.event.v1"
    }
}

/// Somebody at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    /// Without any token.
    Nobody,
    Admin,
    ProductManager,
    BackOffice,
    Support,
    Auditor,
    Service,
    /// Over another address than loopback, without a token.
    Network,
    /// Over loopback, without a token.
    Local,
    /// Over loopback with the licence server's own admin token.
    AdminToken,
    /// Over the licence server's Unix socket.
    UnixSocket,
}

impl Caller {
    pub(crate) const WITH_TOKENS: [Self; 6] =
        [Self::Admin, Self::ProductManager, Self::BackOffice, Self::Support, Self::Auditor, Self::Service];
    pub(crate) const OF_OFFICES: [Self; 7] = [
        Self::Nobody,
        Self::Admin,
        Self::ProductManager,
        Self::BackOffice,
        Self::Support,
        Self::Auditor,
        Self::Service,
    ];
    pub(crate) const OF_SERVER: [Self; 4] = [Self::Network, Self::Local, Self::AdminToken, Self::UnixSocket];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Admin => "admin",
            Self::ProductManager => "product-manager",
            Self::BackOffice => "back-office",
            Self::Support => "support",
            Self::Auditor => "auditor",
            Self::Service => "service",
            Self::Network => "network",
            Self::Local => "local",
            Self::AdminToken => "admin-token",
            Self::UnixSocket => "unix-socket",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        let all = Self::OF_OFFICES.into_iter().chain(Self::OF_SERVER);
        all.into_iter().find(|caller| caller.name() == name).unwrap_or_else(|| panic!("{name:?} is no caller"))
    }

    const fn role(self) -> Option<Role> {
        match self {
            Self::Admin => Some(Role::Admin),
            Self::ProductManager => Some(Role::ProductManager),
            Self::BackOffice => Some(Role::BackOffice),
            Self::Support => Some(Role::Support),
            Self::Auditor => Some(Role::Auditor),
            Self::Service => Some(Role::Service),
            _ => None,
        }
    }
}

/// What a knock was answered with.
#[derive(Clone, Debug)]
pub(crate) struct Door(Option<Status>);

impl Door {
    /// Anything but "who are you" and "not you".
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.code(), Code::Unauthenticated | Code::PermissionDenied)
    }

    /// Whether somebody was behind the door.
    pub(crate) fn is_answered(&self) -> bool {
        self.is_open() && self.code() != Code::Unimplemented
    }

    fn code(&self) -> Code {
        self.0.as_ref().map_or(Code::Ok, Status::code)
    }
}

/// The five services.
pub(crate) struct World {
    running: Vec<(Process, Running)>,
    server: LicenseServer,
    issuer: LocalIssuer,
    /// An own address that the licence server does not take for local, if this machine has one.
    network: Option<IpAddr>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        lictor_runtime::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let issuer = LocalIssuer::from_seed("test", &[9; 32]).expect("an issuer");
        let (path, clock, broker) = (folder.path(), SystemClock::shared(), Broker::in_process());
        let central = central(path, &issuer, &broker, &clock).await;
        let update = update(path, &issuer, &broker, &clock).await;
        let activation = activation(path, &issuer, &broker, &clock, &central, &update).await;
        let notification = notification(path, &issuer, &broker, &clock).await;
        let network = network_address();
        if network.is_none() {
            eprintln!("SKIPPED for callers of the network: no address of this machine counts as foreign");
        }
        let server = server(path, network.is_some(), &clock).await;
        let running = vec![
            (Process::Central, central),
            (Process::Update, update),
            (Process::Activation, activation),
            (Process::Notification, notification),
        ];
        Self { running, server, issuer, network, _folder: folder }
    }

    pub(crate) async fn stop(self) {
        for (process, running) in &self.running {
            running.shutdown();
            running.wait().await.unwrap_or_else(|error| panic!("{}: {error}", process.name()));
        }
        self.server.running.shutdown();
        self.server.running.wait().await.expect("a clean end of the licence server");
    }

    /// Everybody who is tried at a service.
    pub(crate) fn callers(&self, process: Process) -> Vec<Caller> {
        if process != Process::Server {
            return Caller::OF_OFFICES.to_vec();
        }
        let reachable = |caller: &Caller| *caller != Caller::Network || self.network.is_some();
        Caller::OF_SERVER.into_iter().filter(reachable).collect()
    }

    /// Sends an empty message.
    pub(crate) async fn knock(&self, process: Process, rpc: &Rpc, caller: Caller) -> Door {
        let channel = self.channel(process, caller).await;
        let mut request = Request::new(Vec::new());
        if let Some(token) = self.token(caller) {
            let value = MetadataValue::try_from(format!("Bearer {token}")).expect("a header value");
            request.metadata_mut().insert("authorization", value);
        }
        let path = http::uri::PathAndQuery::try_from(rpc.path.as_str()).expect("a path");
        let mut client = Grpc::new(channel);
        client.ready().await.expect("a connection");
        let answer = async {
            if rpc.streams {
                let mut stream = client.server_streaming(request, path, RawBytes).await?.into_inner();
                // A refusal comes as the stream's first word; a stream that has nothing to say yet let the caller in.
                let first = tokio::time::timeout(Duration::from_millis(500), stream.message()).await;
                first.map_or(Ok(()), |said| said.map(|_| ()))
            } else {
                client.unary(request, path, RawBytes).await.map(|_| ())
            }
        };
        let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
        Door(answer.unwrap_or_else(|_| panic!("{} does not answer {}", process.name(), rpc.path)).err())
    }

    fn token(&self, caller: Caller) -> Option<String> {
        if caller == Caller::AdminToken {
            return Some(self.server.admin_token.clone());
        }
        let role = caller.role()?;
        let hour = Duration::from_secs(3_600);
        Some(self.issuer.mint("caller", &[role], AUDIENCE, hour, SystemClock.now()).expect("a token"))
    }

    async fn channel(&self, process: Process, caller: Caller) -> Channel {
        if process == Process::Server {
            return self.server_channel(caller).await;
        }
        let (_, running) = self.running.iter().find(|(known, _)| *known == process).expect("a running service");
        let address = format!("http://{}", running.addresses().grpc);
        Endpoint::from_shared(address).expect("an address").connect().await.expect("a connection")
    }

    async fn server_channel(&self, caller: Caller) -> Channel {
        let socket = self.server.socket.clone();
        let port = self.server.addresses().grpc.port();
        let ip = match caller {
            Caller::Network => self.network.expect("an address of the network"),
            _ => IpAddr::from([127, 0, 0, 1]),
        };
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move {
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(if caller == Caller::UnixSocket {
                    Box::new(tokio::net::UnixStream::connect(socket).await?) as Box<dyn Stream>
                } else {
                    let stream = tokio::net::TcpStream::connect(SocketAddr::new(ip, port)).await?;
                    let name = ServerName::try_from("license-server").expect("a name");
                    Box::new(tokio_rustls::TlsConnector::from(tls()).connect(name, stream).await?)
                }))
            }
        });
        Endpoint::from_static("http://license-server")
            .connect_with_connector(connector)
            .await
            .expect("a connection to the licence server")
    }
}

/// What gRPC can speak over.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for T {}

fn database(folder: &Path, service: &str) -> DatabaseSettings {
    DatabaseSettings::at(lictor_storage::sqlite_url(&folder.join(format!("{service}.db"))))
}

async fn central(folder: &Path, issuer: &LocalIssuer, broker: &Broker, clock: &SharedClock) -> Running {
    let settings = lictor_license_central::Settings {
        listen: ListenSettings::loopback(),
        auth: AuthSettings::local(issuer, AUDIENCE),
        database: database(folder, "central"),
        broker: broker.clone(),
        ticket_key: lictor_runtime::KeySource::File(folder.join("ticket.key")),
        expiry_notice_days: lictor_license_central::NoticeDays::USUAL,
    };
    lictor_license_central::start(settings, clock.clone()).await.expect("license-central")
}

async fn update(folder: &Path, issuer: &LocalIssuer, broker: &Broker, clock: &SharedClock) -> Running {
    let settings = lictor_push_update_generator::Settings {
        listen: ListenSettings::loopback(),
        database: database(folder, "update"),
        archive: None,
        broker: broker.clone(),
        auth: AuthSettings::local(issuer, AUDIENCE),
        keys: lictor_push_update_generator::KeyPlace::Folder(folder.join("keys")),
        keys_mode: Mode::Development,
    };
    lictor_push_update_generator::start(settings, clock.clone()).await.expect("push-update-generator")
}

async fn activation(
    folder: &Path,
    issuer: &LocalIssuer,
    broker: &Broker,
    clock: &SharedClock,
    central: &Running,
    update: &Running,
) -> Running {
    let settings = lictor_activation::Settings {
        listen: ListenSettings::loopback(),
        auth: AuthSettings::local(issuer, AUDIENCE),
        database: database(folder, "activation"),
        broker: broker.clone(),
        redis_url: None,
        central_url: format!("http://{}", central.addresses().grpc),
        update_url: format!("http://{}", update.addresses().grpc),
        peers_ca: None,
        instance: None,
        limits: lictor_activation::settings::LIMITS,
        proxies: lictor_activation::domain::proxy::Proxies::default(),
    };
    lictor_activation::start(settings, clock.clone()).await.expect("activation")
}

async fn notification(folder: &Path, issuer: &LocalIssuer, broker: &Broker, clock: &SharedClock) -> Running {
    let settings = lictor_notification_dispatcher::Settings {
        auth: AuthSettings::local(issuer, AUDIENCE),
        broker: Some(broker.clone()),
        ..lictor_notification_dispatcher::Settings::embedded(
            ListenSettings::loopback(),
            database(folder, "notification"),
        )
    };
    lictor_notification_dispatcher::start(settings, clock.clone()).await.expect("notification-dispatcher")
}

async fn server(folder: &Path, open_to_the_network: bool, clock: &SharedClock) -> LicenseServer {
    let state = folder.join("server");
    std::fs::create_dir(&state).expect("a folder");
    let mut settings = lictor_license_server::Settings::loopback(state);
    if open_to_the_network {
        settings.listen.grpc = SocketAddr::from(([0, 0, 0, 0], 0));
    }
    lictor_license_server::start_server(settings, clock.clone()).await.expect("license-server")
}

/// The address from which this machine would call the outside. No packet is sent.
fn network_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    let local = lictor_license_server::listen::local_networks(&[]);
    let origin = lictor_license_server::domain::peer::origin_of(own, &local);
    (origin != Origin::Local).then_some(own)
}

/// TLS that takes any certificate: this test is about doors, not about who is behind them.
fn tls() -> Arc<rustls::ClientConfig> {
    let mut config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}
