//! The five services as processes on shared PostgreSQL, RabbitMQ and Redis: start, kill, start again, talk to them with
//! the `lictor` program. Every fleet has its own database, its own queues and its own folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use lictor_auth::{LocalIssuer, Role};
use lictor_clock::{Clock, SystemClock};
use tempfile::TempDir;

use crate::programs::{self, Answer, Process};
use crate::servers::{AMQP_URL, POSTGRES_URL, REDIS_URL};
use crate::wait;

/// The firm code of the vendor in tests.
pub const FIRM_CODE: u32 = 6_000_001;

/// The key by which services of a fleet know each other.
pub(crate) const SERVICES_SEED: [u8; 32] = [9; 32];

/// One of the five services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Catalogue, orders, tickets, licences.
    Central,
    /// Sagas that change a container.
    Activation,
    /// Chains and keys.
    Update,
    /// Webhooks.
    Notification,
    /// Seats.
    Server,
}

impl Service {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Central, Self::Activation, Self::Update, Self::Notification, Self::Server];

    /// The name of its program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Central => "license-central",
            Self::Activation => "activation",
            Self::Update => "push-update-generator",
            Self::Notification => "notification-dispatcher",
            Self::Server => "license-server",
        }
    }
}

#[derive(Clone, Copy)]
struct Ports {
    grpc: u16,
    http: u16,
}

/// Five processes and their surroundings.
pub struct Fleet {
    folder: TempDir,
    ports: BTreeMap<Service, Ports>,
    running: Mutex<BTreeMap<Service, Process>>,
    /// Start of every name that a fleet has on shared servers.
    name: String,
    database: String,
    amqp: String,
    redis: String,
    extra: BTreeMap<String, String>,
}

impl Fleet {
    /// Makes the surroundings and starts all five; `None`, said loudly, when the run has no servers.
    ///
    /// # Errors
    /// A service does not become ready; the text has the end of its log.
    pub fn start() -> anyhow::Result<Option<Self>> {
        Self::start_with(BTreeMap::new())
    }

    /// As [`Fleet::start`], with more environment for all five.
    ///
    /// # Errors
    /// A service does not become ready.
    pub fn start_with(extra: BTreeMap<String, String>) -> anyhow::Result<Option<Self>> {
        Self::start_some(&Service::ALL, extra)
    }

    /// As [`Fleet::start_with`], but only these services.
    ///
    /// # Errors
    /// A service does not become ready.
    pub fn start_some(services: &[Service], extra: BTreeMap<String, String>) -> anyhow::Result<Option<Self>> {
        let Some(fleet) = Self::prepare(extra)? else { return Ok(None) };
        for service in services {
            fleet.launch(*service)?;
        }
        for service in services {
            fleet.wait_until_alive(*service)?;
        }
        Ok(Some(fleet))
    }

    fn prepare(extra: BTreeMap<String, String>) -> anyhow::Result<Option<Self>> {
        let (Ok(postgres), Ok(amqp), Ok(redis)) =
            (std::env::var(POSTGRES_URL), std::env::var(AMQP_URL), std::env::var(REDIS_URL))
        else {
            // Past the test harness, which keeps what a passing test prints to itself.
            let names = [POSTGRES_URL, AMQP_URL, REDIS_URL].join(", ");
            writeln!(std::io::stderr(), "SKIPPED: no {names}; run under with-servers, as `make test` does")?;
            return Ok(None);
        };
        let folder = tempfile::Builder::new().prefix("lictor-fleet-").tempdir()?;
        let name =
            format!("fleet_{}", folder.path().to_string_lossy().rsplit('-').next().unwrap_or("x").to_lowercase());
        let made = Answer::of(Command::new("psql").arg(&postgres).args(["-qc", &format!("create database {name}")]))?;
        ensure!(made.code == 0, "no database for the fleet: {}", made.errors);
        let database =
            postgres.rsplit_once('/').map(|(server, _)| format!("{server}/{name}")).context("a URL has a path")?;

        let mut ports = BTreeMap::new();
        for service in Service::ALL {
            ports.insert(service, Ports { grpc: crate::servers::free_port()?, http: crate::servers::free_port()? });
        }
        let fleet = Self { folder, ports, running: Mutex::default(), name, database, amqp, redis, extra };
        fleet.write_keys()?;
        fleet.write_client_config()?;
        Ok(Some(fleet))
    }

    fn write_keys(&self) -> anyhow::Result<()> {
        let people = LocalIssuer::from_seed("fleet", &[7; 32])?;
        fs::write(self.path("people.jwks"), people.jwks())?;
        let services = LocalIssuer::from_seed("lictor-services", &SERVICES_SEED)?;
        fs::write(self.path("services.pem"), services.to_pem()?)?;
        let token =
            people.mint("operator", &[Role::Admin], "lictor", Duration::from_secs(86_400), SystemClock.now())?;
        fs::write(self.path("admin.token"), token)?;
        Ok(())
    }

    fn write_client_config(&self) -> anyhow::Result<()> {
        let mut text =
            format!("firm_code = {FIRM_CODE}\ntoken_file = \"admin.token\"\ntrust = [\"vendor.lif\"]\n\n[address]\n");
        for (service, key) in [
            (Service::Central, "central"),
            (Service::Activation, "activation"),
            (Service::Update, "update"),
            (Service::Notification, "notification"),
        ] {
            text.push_str(&format!("{key} = \"http://127.0.0.1:{}\"\n", self.ports[&service].grpc));
        }
        text.push_str(&format!("\n[server]\naddress = \"unix:{}\"\n", self.path("server/lictor.sock").display()));
        fs::write(self.path("client.toml"), text)?;
        Ok(())
    }

    /// A path in the fleet's own folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where programs find the licence server over TLS.
    #[must_use]
    pub fn server_host(&self) -> String {
        format!("127.0.0.1:{}", self.ports[&Service::Server].grpc)
    }

    /// Address of a service's RPCs.
    #[must_use]
    pub fn url(&self, service: Service) -> String {
        format!("http://127.0.0.1:{}", self.ports[&service].grpc)
    }

    /// URL of the database that the fleet's services share.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Address of a service's `/live`, `/ready` and `/metrics`.
    #[must_use]
    pub fn http(&self, service: Service) -> String {
        format!("127.0.0.1:{}", self.ports[&service].http)
    }

    /// The `lictor` program, set up for this fleet.
    ///
    /// # Errors
    /// It is not built.
    pub fn lictor(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(programs::path("lictor")?);
        command
            .args(arguments)
            .env("LICTOR_CONFIG", self.path("client.toml"))
            .env("CODEMETER_HOST", self.server_host())
            .current_dir(self.folder.path());
        Ok(command)
    }

    /// Runs `lictor … --json` to its end.
    ///
    /// # Errors
    /// It does not start.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Answer> {
        Answer::of(self.lictor(arguments)?.arg("--json"))
    }

    /// Starts a service.
    ///
    /// # Errors
    /// The program is not built.
    pub fn launch(&self, service: Service) -> anyhow::Result<()> {
        let ports = self.ports[&service];
        let mut command = Command::new(programs::path(service.program())?);
        command
            .env("GRPC_LISTEN", format!("127.0.0.1:{}", ports.grpc))
            .env("HTTP_LISTEN", format!("127.0.0.1:{}", ports.http))
            .env("RUST_LOG", "warn")
            .envs(self.settings(service))
            .envs(&self.extra)
            .current_dir(self.folder.path());
        let log = self.path(&format!("{}.log", service.program()));
        let process = Process::start(&mut command, &log)?;
        self.processes().insert(service, process);
        Ok(())
    }

    fn settings(&self, service: Service) -> Vec<(&'static str, String)> {
        let url = |service: Service| self.url(service);
        let text = |path: PathBuf| path.display().to_string();
        let mut settings = vec![
            ("DATABASE_URL", self.database.clone()),
            ("AMQP_URL", self.amqp.clone()),
            ("AMQP_PREFIX", self.name.clone()),
            ("AUTH_ISSUER", "fleet".to_owned()),
            ("AUTH_JWKS_FILE", text(self.path("people.jwks"))),
            ("AUTH_ALGORITHM", "EdDSA".to_owned()),
            ("SERVICE_KEY_FILE", text(self.path("services.pem"))),
        ];
        match service {
            Service::Central => settings.push(("LICTOR_TICKET_KEY", "42".repeat(32))),
            Service::Activation => settings.extend([
                ("REDIS_URL", self.redis.clone()),
                ("CENTRAL_URL", url(Service::Central)),
                ("UPDATE_URL", url(Service::Update)),
            ]),
            Service::Update => settings.extend([
                ("ARCHIVE_URL", format!("sqlite://{}", text(self.path("archive.db")))),
                ("LICTOR_KEYS_DIR", text(self.path("keys"))),
                ("LICTOR_ALLOW_KEYS_IN_FILES", "true".to_owned()),
            ]),
            Service::Notification => settings.extend([
                ("LICTOR_WEBHOOK_ALLOW", "127.0.0.1/32".to_owned()),
                ("LICTOR_DESTINATION_KEY", "43".repeat(32)),
                (
                    "LICTOR_PRODUCERS",
                    [Service::Central, Service::Activation, Service::Update]
                        .map(|service| format!("{}={}", service.program(), url(service)))
                        .join(","),
                ),
            ]),
            Service::Server => return vec![("LICTOR_STATE_DIR", text(self.path("server")))],
        }
        settings
    }

    /// Waits until a service answers that it lives (the licence server is not ready before it holds a licence).
    ///
    /// # Errors
    /// It ended, or does not answer.
    pub fn wait_until_alive(&self, service: Service) -> anyhow::Result<()> {
        let path = if service == Service::Server { "/live" } else { "/ready" };
        let address = self.http(service);
        let what = format!("{} answers on {path}", service.program());
        let answered = wait::until(&what, || {
            if let Some(code) = self.with(service, Process::ended)?? {
                return Ok(Some(Err(code)));
            }
            Ok(http_get(&address, path).filter(|status| *status == 200).map(|_| Ok(())))
        });
        match answered {
            Ok(Ok(())) => Ok(()),
            Ok(Err(code)) => anyhow::bail!("{} ended with {code}:\n{}", service.program(), tail(&self.log(service))),
            Err(error) => Err(error.context(tail(&self.log(service)))),
        }
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<Service, Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the running process of a service.
    ///
    /// # Errors
    /// It was never launched.
    pub fn with<T>(&self, service: Service, act: impl FnOnce(&mut Process) -> T) -> anyhow::Result<T> {
        let mut processes = self.processes();
        Ok(act(processes.get_mut(&service).context("never launched")?))
    }

    /// Asks a service to stop and waits; gives its exit code.
    ///
    /// # Errors
    /// It was never launched.
    pub fn terminate(&self, service: Service) -> anyhow::Result<Option<i32>> {
        self.with(service, Process::terminate)?
    }

    /// kill -9, then start again; does not wait until it is back.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill_and_restart(&self, service: Service) -> anyhow::Result<()> {
        self.with(service, Process::kill)??;
        self.launch(service)
    }

    /// What a service has logged.
    #[must_use]
    pub fn log(&self, service: Service) -> String {
        self.processes().get(&service).map(Process::log).unwrap_or_default()
    }

    /// The folder itself, for files that tests make.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The status of a GET, by hand: the answer's first line is all that is wanted.
#[must_use]
pub fn http_get(address: &str, path: &str) -> Option<u16> {
    use std::io::Read;
    let mut connection = std::net::TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(connection, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
