//! Private PostgreSQL, Redis and RabbitMQ for one test run: on free ports, in a temporary folder, from the programs that
//! are installed. They are stopped when [`Servers`] is dropped; a process that may be told to end has to see to that.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// URL of a PostgreSQL database whose role may create databases and schemas.
pub const POSTGRES_URL: &str = "LICTOR_TEST_POSTGRES_URL";
/// URL of a Redis server that nobody else uses.
pub const REDIS_URL: &str = "LICTOR_TEST_REDIS_URL";
/// URL of a RabbitMQ server that nobody else uses.
pub const AMQP_URL: &str = "LICTOR_TEST_AMQP_URL";

/// Set: PostgreSQL counts statements (`pg_stat_statements`), for benchmarks.
pub const COUNT_STATEMENTS: &str = "LICTOR_COUNT_STATEMENTS";

/// How long a server may take to answer; RabbitMQ needs most of it on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);

/// A server that tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The relational database.
    Postgres,
    /// Counters that replicas share.
    Redis,
    /// The broker.
    RabbitMq,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Redis, Self::RabbitMq];
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "postgres" => Self::Postgres,
            "redis" => Self::Redis,
            "rabbitmq" => Self::RabbitMq,
            other => bail!("no server is called `{other}`: postgres, redis, rabbitmq"),
        })
    }
}

/// Running servers and where they are.
pub struct Servers {
    running: Vec<Server>,
    environment: BTreeMap<&'static str, String>,
    _folder: TempDir,
}

/// One server process that is killed when dropped.
pub struct Server {
    child: Child,
    /// A process that the server cannot do without.
    helper: Option<Child>,
    /// Let it end its own children instead of killing it.
    gentle: bool,
    /// Where it is reached.
    pub url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in [Some(&mut self.child), self.helper.as_mut()].into_iter().flatten() {
            // The whole group: start scripts leave the server itself behind. PostgreSQL takes an interrupt as "stop now".
            if let Some(group) = Pid::from_raw(process.id().cast_signed()) {
                let _ = kill_process_group(group, if self.gentle { Signal::INT } else { Signal::KILL });
            }
            let _ = process.wait();
        }
    }
}

impl Servers {
    /// Starts the given servers side by side and waits until each answers.
    ///
    /// # Errors
    /// A program is not installed (the text names the script that installs it), or a server does not come up.
    pub fn start(kinds: &[Kind]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lictor-servers-").tempdir()?;
        // PostgreSQL and RabbitMQ run as other users and have to get through.
        fs::set_permissions(folder.path(), permissions(0o755))?;
        let starting: Vec<(Kind, JoinHandle<anyhow::Result<Server>>)> = kinds
            .iter()
            .map(|&kind| {
                let path = folder.path().to_owned();
                (kind, thread::spawn(move || start(kind, &path)))
            })
            .collect();

        let mut running = Vec::new();
        let mut environment = BTreeMap::new();
        for (kind, handle) in starting {
            let server = handle.join().map_err(|_| anyhow::anyhow!("starting {kind:?} panicked"))?;
            let server = server.with_context(|| format!("{kind:?} did not start"))?;
            let name = match kind {
                Kind::Postgres => POSTGRES_URL,
                Kind::Redis => REDIS_URL,
                Kind::RabbitMq => AMQP_URL,
            };
            environment.insert(name, server.url.clone());
            running.push(server);
        }
        Ok(Self { running, environment, _folder: folder })
    }

    /// What a child process has to know.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<&'static str, String> {
        &self.environment
    }

    /// Process ids, for tests that kill a server.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        self.running.iter().map(|server| server.child.id()).collect()
    }
}

fn start(kind: Kind, folder: &Path) -> anyhow::Result<Server> {
    match kind {
        Kind::Postgres => postgres(folder),
        Kind::Redis => redis(folder),
        Kind::RabbitMq => rabbitmq(folder),
    }
}

fn postgres(folder: &Path) -> anyhow::Result<Server> {
    let programs = postgres_programs()?;
    let data = folder.join("postgres");
    fs::create_dir(&data)?;
    let user = unprivileged_user("postgres")?;
    user.own(&data)?;
    let port = free_port()?;

    let made = user
        .command(&programs.join("initdb"))
        .args(["--username=lictor", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--pgdata"])
        .arg(&data)
        .output()?;
    ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));

    let mut command = user.command(&programs.join("postgres"));
    if std::env::var_os(COUNT_STATEMENTS).is_some() {
        command.args(["-c", "shared_preload_libraries=pg_stat_statements"]);
    }
    let child = command
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=400"])
        .args(["-c", "shared_buffers=256MB", "-k"])
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("postgres.log"))?)
        .spawn()?;
    let mut server =
        Server { child, helper: None, gentle: true, url: format!("postgres://lictor@127.0.0.1:{port}/postgres") };
    let socket = data.join(format!(".s.PGSQL.{port}"));
    wait(&mut server, folder, "postgres.log", || {
        let log = fs::read_to_string(folder.join("postgres.log")).unwrap_or_default();
        socket.exists() && log.contains("ready to accept connections")
    })?;
    Ok(server)
}

fn redis(folder: &Path) -> anyhow::Result<Server> {
    let program = find("redis-server")?;
    let port = free_port()?;
    let child = own_group(&mut Command::new(program))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .current_dir(folder)
        .stdout(fs::File::create(folder.join("redis.log"))?)
        .stderr(Stdio::null())
        .spawn()?;
    let mut server = Server { child, helper: None, gentle: false, url: format!("redis://127.0.0.1:{port}/") };
    wait(&mut server, folder, "redis.log", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(server)
}

fn rabbitmq(folder: &Path) -> anyhow::Result<Server> {
    // Debian's `rabbitmq-server` switches to its own user and folders; the script beside the library does not.
    let program = ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/local/lib/rabbitmq/bin/rabbitmq-server"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .map_or_else(|| find("rabbitmq-server"), Ok)?;
    let data = folder.join("rabbitmq");
    fs::create_dir(&data)?;
    let user = unprivileged_user("rabbitmq")?;
    user.own(&data)?;
    let (port, distribution, mapper) = (free_port()?, free_port()?, free_port()?);
    fs::write(
        data.join("rabbitmq.conf"),
        "loopback_users = none\nvm_memory_high_watermark.absolute = 1GiB\ndisk_free_limit.absolute = 50MB\n",
    )?;
    fs::write(data.join("enabled_plugins"), "[].\n")?;

    // Erlang would start its port mapper as a daemon that outlives everything; it uses one that is there.
    let names = user
        .command(&find("epmd")?)
        .args(["-port", &mapper.to_string(), "-address", "127.0.0.1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;

    let child = user
        .command(&program)
        .env("HOME", &data)
        .env("RABBITMQ_NODENAME", format!("lictor-{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("RABBITMQ_CONFIG_FILE", data.join("rabbitmq"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", data.join("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", data.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", data.join("log"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none")
        .current_dir(&data)
        .stdout(fs::File::create(folder.join("rabbitmq.log"))?)
        .stderr(fs::File::create(folder.join("rabbitmq-errors.log"))?)
        .spawn()?;
    let mut server =
        Server { child, helper: Some(names), gentle: false, url: format!("amqp://guest:guest@127.0.0.1:{port}/%2f") };
    wait(&mut server, folder, "rabbitmq.log", || {
        let log = fs::read_to_string(folder.join("rabbitmq.log")).unwrap_or_default();
        log.contains("completed with") && TcpStream::connect(("127.0.0.1", port)).is_ok()
    })?;
    Ok(server)
}

/// Waits for a condition; fails with the end of the log when the process dies or the time is over.
fn wait(server: &mut Server, folder: &Path, log: &str, ready: impl Fn() -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    while !ready() {
        let ended = server.child.try_wait()?;
        if ended.is_some() || started.elapsed() > START_LIMIT {
            let text = fs::read_to_string(folder.join(log)).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(15).collect();
            bail!(
                "not ready, status {ended:?}; its log ends:\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the condition lies in another process: nothing here can be woken by it"
        )]
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The folder with PostgreSQL's programs, the newest version that is installed.
///
/// # Errors
/// None is.
pub fn postgres_programs() -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, path)| path.join("postgres").exists())
        .collect();
    found.sort();
    if let Some((_, path)) = found.pop() {
        return Ok(path);
    }
    let initdb = find("initdb")?;
    Ok(initdb.parent().map(Path::to_owned).unwrap_or_default())
}

fn find(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.exists())
        .with_context(|| {
            format!("`{program}` is not installed; tests/scripts/install-dependencies.sh installs it or says how")
        })
}

/// Where free ports are looked for: below those that the kernel hands out by itself, so that no connection takes one away
/// between the choice and its use, and beside those that `lictor up` and the walkthrough look among.
const PORTS: Range<u16> = 16_000..20_000;

/// A port that nobody listens on now and that nobody else of this process gets. Runs beside this one begin elsewhere; two
/// that choose the same at the same instant may still collide, and the loser says so.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    /// How far apart two processes begin whose ids follow each other.
    const APART: u32 = 97;
    let count = PORTS.end - PORTS.start;
    let first = u16::try_from(std::process::id().wrapping_mul(APART) % u32::from(count))?;
    for _ in 0..count {
        let place = (first + NEXT.fetch_add(1, Ordering::Relaxed) % count) % count;
        let port = PORTS.start + place;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free in {PORTS:?}")
}

/// Whom a server runs as: itself, or a system user when the tests run as root.
struct User {
    ids: Option<(u32, u32)>,
}

fn unprivileged_user(name: &str) -> anyhow::Result<User> {
    if !rustix::process::geteuid().is_root() {
        return Ok(User { ids: None });
    }
    let table = fs::read_to_string("/etc/passwd")?;
    let ids = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&name)).then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
    });
    ensure!(ids.is_some(), "root may not run it and there is no user `{name}`");
    Ok(User { ids })
}

impl User {
    fn own(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.ids {
            std::os::unix::fs::chown(path, Some(user), Some(group))?;
        }
        fs::set_permissions(path, permissions(0o700))?;
        Ok(())
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        own_group(&mut command);
        if let Some((user, group)) = self.ids {
            command.gid(group).uid(user).current_dir("/");
        }
        command
    }
}

/// A terminal's Ctrl-C shall not hit the server before the tests have ended.
fn own_group(command: &mut Command) -> &mut Command {
    command.process_group(0).stdin(Stdio::null())
}

fn permissions(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}
