//! What the licence server can be told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lictor_licensing::binding::ContainerKind;
use lictor_runtime::{Field, ListenSettings, Reader};

use crate::bootstrap::{Bootstrap, switch};
use crate::domain::peer::Subnet;
use crate::store::event_log::Target;
use crate::surroundings::machine::Root;

/// The port of a licence server.
pub const PORT: u16 = 22350;
/// The port of `/live`, `/ready` and `/metrics`.
pub const HTTP_PORT: u16 = 22352;

const STATE_DIR: Field = Field::with_default(
    "state_dir",
    "LICTOR_STATE_DIR",
    "/var/lib/lictor",
    "the folder with keys, container and sessions",
);
const SOCKET: Field = Field::optional(
    "socket",
    "LICTOR_SOCKET",
    "path of the Unix socket for local programs and administration; `lictor.sock` in the state folder when not given",
);
const LOCAL_SUBNETS: Field = Field::optional(
    "local_subnets",
    "LICTOR_LOCAL_SUBNETS",
    "networks whose peers count as local, such as `172.18.0.0/16,fd00::/64`, beside loopback and, inside a container, the networks that it is attached to",
);
const BINDING: Field = Field::with_default(
    "binding",
    "LICTOR_BINDING",
    "folder",
    "what the container is bound to: `folder` (nothing; for development), `machine`, `volume` (the named volume of a container engine) or `token` (a key in a PKCS#11 token); chosen at the first start for good",
);
const ENGINE_SOCKET: Field = Field::optional(
    "engine_socket",
    "LICTOR_ENGINE_SOCKET",
    "Unix socket of the container engine, which vouches for a volume and knows in which container a program runs; `/var/run/docker.sock` when not given and the binding is `volume`, else none",
);
const TOKEN_SOCKET: Field = Field::optional(
    "token_socket",
    "LICTOR_TOKEN_SOCKET",
    "Unix socket of the key agent that holds the token; needed when the binding is `token`",
);
const NETWORK_SERVER: Field = Field::with_default(
    "network_server",
    "CM_NETWORK_SERVER",
    "0",
    "`on` or `1` to serve peers of the network too, `off` or `0` for local ones only",
);
const STATION: Field = Field::with_default(
    "station",
    "LICTOR_STATION",
    "host",
    "what counts as one station for local programs: `host` for all of them together, `container` for each address",
);
const REVALIDATE_WITHIN: Field = Field::with_default(
    "revalidate_within",
    "LICTOR_REVALIDATE_WITHIN",
    "60s",
    "time within which a session without a stream must be revalidated, 100ms to 1h",
);
const RECONNECT_GRACE: Field = Field::with_default(
    "reconnect_grace",
    "LICTOR_RECONNECT_GRACE",
    "30s",
    "time for which a seat stays reserved after its stream broke, 100ms to 1h",
);
const BEAT_INTERVAL: Field = Field::with_default(
    "beat_interval",
    "LICTOR_BEAT_INTERVAL",
    "10s",
    "pause between two beats of a held session; at most a third of reconnect_grace",
);

const BLOCK_TIME: Field = Field::with_default(
    "block_time",
    "LICTOR_BLOCK_TIME",
    "15m",
    "time for which seats are lent to another licence server at a time, 1s to 1d: so long it goes on without contact, and so long (and a tenth) its seats stay taken when it is gone for good; more than three times revalidate_within and reconnect_grace of the other server",
);
const UPSTREAM_TRUST: Field = Field::optional(
    "upstream_trust",
    "LICTOR_UPSTREAM_TRUST",
    "licence information files of the vendors whose seats network servers may lend, beside those of the container",
);

const RULES_FILE: Field = Field::optional(
    "rules_file",
    "LICTOR_RULES_FILE",
    "file with access rules, read again when it changes; everything is allowed when not given",
);
const EVENT_LOG: Field = Field::with_default(
    "event_log",
    "LICTOR_EVENT_LOG",
    "state",
    "where events are logged as lines of JSON: `state` for files in the folder `log` of the state folder, `stderr`, or `off`",
);
const EVENT_LOG_BYTES: Field = Field::with_default(
    "event_log_bytes",
    "LICTOR_EVENT_LOG_BYTES",
    "4194304",
    "bytes after which a file of the event log is begun anew; three older ones are kept",
);

/// What one station is, for local programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StationRule {
    /// The machine of the server, with all containers on it.
    #[default]
    Host,
    /// Each address.
    Container,
}

/// A word that names no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write host or container")]
pub struct StationRuleError;

impl std::str::FromStr for StationRule {
    type Err = StationRuleError;

    fn from_str(text: &str) -> Result<Self, StationRuleError> {
        match text {
            "host" => Ok(Self::Host),
            "container" => Ok(Self::Container),
            _ => Err(StationRuleError),
        }
    }
}

/// How long sessions live without contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// A session without a stream must be revalidated within this time.
    pub revalidate_within: Duration,
    /// A seat stays reserved for this long after its stream broke.
    pub reconnect_grace: Duration,
    /// Pause between two beats.
    pub beat_interval: Duration,
    /// For how long seats are lent to another server at a time.
    pub block_time: Duration,
}

impl Default for SessionTimes {
    fn default() -> Self {
        Self {
            revalidate_within: Duration::from_secs(60),
            reconnect_grace: Duration::from_secs(30),
            beat_interval: Duration::from_secs(10),
            block_time: Duration::from_secs(900),
        }
    }
}

/// All settings of the service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; seats are always served over TLS with the server's own key.
    pub listen: ListenSettings,
    /// Keys, container, sessions.
    pub state_dir: PathBuf,
    /// The Unix socket; in the state folder when not given.
    pub socket: Option<PathBuf>,
    /// Networks whose peers count as local.
    pub local_subnets: Vec<Subnet>,
    /// Whether peers of the network are served.
    pub network_server: bool,
    /// Licence information files of vendors whose seats network servers may lend.
    pub upstream_trust: Vec<PathBuf>,
    /// What one station is.
    pub station: StationRule,
    /// How long sessions live without contact.
    pub times: SessionTimes,
    /// The file with access rules.
    pub rules_file: Option<PathBuf>,
    /// Where events are logged.
    pub event_log: Option<Target>,
    /// What the environment of an image asks of the start.
    pub bootstrap: Bootstrap,
    /// What the container is bound to.
    pub binding: ContainerKind,
    /// The container engine's socket, when it was named.
    pub engine_socket: Option<PathBuf>,
    /// The key agent's socket.
    pub token_socket: Option<PathBuf>,
    /// The program whose entry point is the attestor; the own one when not given.
    pub attestor_program: Option<PathBuf>,
    /// Whether this process gives up what it does not need once it is up. Not for processes that do other things as well.
    pub confine: bool,
    /// Where the machine shows itself; `/` outside of tests.
    pub host_root: Root,
}

/// The kinds that this program keeps.
const KINDS: [ContainerKind; 4] =
    [ContainerKind::Folder, ContainerKind::Machine, ContainerKind::Volume, ContainerKind::Token];
/// Where Docker listens.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

impl Settings {
    /// Reads all settings.
    pub fn read(reader: &mut Reader) -> Self {
        let listen = ListenSettings::read(reader, PORT, HTTP_PORT);
        if listen.tls.is_some() {
            let field = Field::optional("tls_certificate", "TLS_CERTIFICATE", "");
            reader.mistake(&field, "cannot be given: the licence server proves itself by the vendor's chain");
        }
        let local_subnets = reader.list(&LOCAL_SUBNETS);
        let local_subnets = local_subnets.iter().filter_map(|text| match text.parse() {
            Ok(subnet) => Some(subnet),
            Err(error) => {
                reader.mistake(&LOCAL_SUBNETS, error);
                None
            }
        });
        let local_subnets = local_subnets.collect();
        let network_server = reader.text(&NETWORK_SERVER);
        let network_server = switch(&network_server).unwrap_or_else(|| {
            reader.mistake(&NETWORK_SERVER, "must be on or off, or 1 or 0");
            false
        });
        let binding = reader.text(&BINDING);
        let binding = KINDS.into_iter().find(|kind| kind.to_string() == binding).unwrap_or_else(|| {
            reader.mistake(&BINDING, "must be folder, machine, volume or token");
            ContainerKind::Folder
        });
        let token_socket = reader.optional_path(&TOKEN_SOCKET);
        if binding == ContainerKind::Token && token_socket.is_none() {
            reader.mistake(&TOKEN_SOCKET, "is needed when binding is token");
        }
        let state_dir = reader.path(&STATE_DIR);
        let event_log = read_event_log(reader, &state_dir);
        Self {
            bootstrap: Bootstrap::read(reader),
            binding,
            engine_socket: reader.optional_path(&ENGINE_SOCKET),
            token_socket,
            attestor_program: None,
            confine: false,
            host_root: Root::default(),
            listen,
            state_dir,
            socket: reader.optional_path(&SOCKET),
            local_subnets,
            network_server,
            upstream_trust: reader.list(&UPSTREAM_TRUST).into_iter().map(PathBuf::from).collect(),
            station: reader.parsed(&STATION),
            times: read_times(reader),
            rules_file: reader.optional_path(&RULES_FILE),
            event_log,
        }
    }

    /// A server on free loopback ports, for tests and for `lictor up`.
    #[must_use]
    pub fn loopback(state_dir: PathBuf) -> Self {
        Self {
            listen: ListenSettings::loopback(),
            state_dir,
            socket: None,
            local_subnets: Vec::new(),
            network_server: false,
            upstream_trust: Vec::new(),
            station: StationRule::Host,
            times: SessionTimes::default(),
            rules_file: None,
            event_log: None,
            bootstrap: Bootstrap::default(),
            binding: ContainerKind::Folder,
            engine_socket: None,
            token_socket: None,
            attestor_program: None,
            confine: false,
            host_root: Root::default(),
        }
    }

    /// The container engine's socket, when there is to be one.
    #[must_use]
    pub fn engine_socket(&self) -> Option<PathBuf> {
        let usual = (self.binding == ContainerKind::Volume).then(|| PathBuf::from(DOCKER_SOCKET));
        self.engine_socket.clone().or(usual)
    }

    /// Path of the Unix socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.state_dir.join("lictor.sock"))
    }
}

fn read_event_log(reader: &mut Reader, state_dir: &Path) -> Option<Target> {
    let bytes = reader.number(&EVENT_LOG_BYTES, 64 * 1024..=1024 * 1024 * 1024);
    match reader.text(&EVENT_LOG).as_str() {
        "state" => Some(Target::Folder { path: state_dir.join("log"), bytes }),
        "stderr" => Some(Target::Stderr),
        "off" => None,
        _ => {
            reader.mistake(&EVENT_LOG, "must be state, stderr or off");
            None
        }
    }
}

fn read_times(reader: &mut Reader) -> SessionTimes {
    let mut span = |field: &Field| {
        let span = reader.duration(field);
        if !(Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&span) && !span.is_zero() {
            reader.mistake(field, "must be 100ms to 1h");
        }
        span.max(Duration::from_millis(10))
    };
    let revalidate_within = span(&REVALIDATE_WITHIN);
    let reconnect_grace = span(&RECONNECT_GRACE);
    let beat_interval = reader.duration(&BEAT_INTERVAL).max(Duration::from_millis(10));
    if beat_interval > reconnect_grace / 3 {
        reader.mistake(&BEAT_INTERVAL, "must be at most a third of reconnect_grace");
    }
    let block_time = reader.duration(&BLOCK_TIME);
    if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&block_time) && !block_time.is_zero() {
        reader.mistake(&BLOCK_TIME, "must be 1s to 1d");
    }
    SessionTimes { revalidate_within, reconnect_grace, beat_interval, block_time }
}
