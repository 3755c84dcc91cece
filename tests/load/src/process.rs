//! The servers as processes of their own.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use lictor_clock::{Clock, SystemClock};
use lictor_test_support::{programs, wait};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::provision::provision;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The licence server.
    Real,
    /// The same messages and TLS, and nothing behind them.
    Twin,
}

/// A running server.
pub struct Server {
    /// Where it serves seats.
    pub address: SocketAddr,
    /// Where it tells its metrics; nobody listens there at a twin.
    pub http: SocketAddr,
    process: programs::Process,
    settings: Vec<(String, String)>,
    folder: TempDir,
}

impl Server {
    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The Unix socket of a licence server. A short path: sockets have a limit of about a hundred bytes.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// The value of a metric without labels.
    ///
    /// # Errors
    /// The server does not tell it.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut stream = TcpStream::connect(self.http).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("the metric {name}"))?.trim().parse()?)
    }

    /// Ends a licence server as a power cut would, and starts it again on the same folder and address. Does not wait for it.
    ///
    /// # Errors
    /// The program does not start.
    pub fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process = spawn(&self.settings, self.folder.path())?;
        Ok(())
    }

    /// Ends it and waits for that.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.process.terminate()?;
        Ok(())
    }

    /// Waits until programs can come.
    ///
    /// # Errors
    /// It ended, or takes too long.
    pub async fn until_up(&mut self) -> anyhow::Result<()> {
        let (address, socket) = (self.address, self.socket());
        let waiting = async {
            let mut pace = tokio::time::interval(Duration::from_millis(2));
            loop {
                pace.tick().await;
                // The socket of a server before this one may be there still, but nobody answers on it.
                if UnixStream::connect(&socket).await.is_ok() && accepts(address).await {
                    return Ok(());
                }
                if let Some(code) = self.process.ended()? {
                    bail!("the licence server ended with {code}: {}", self.process.log());
                }
            }
        };
        tokio::time::timeout(wait::PATIENCE, waiting).await.context("the licence server does not come up")?
    }
}

/// A provisioned state folder, from which every real server of a run starts with the same state.
pub struct Template(TempDir);

impl Template {
    /// Makes one with the help of a licence server.
    ///
    /// # Errors
    /// A program is not built, or refuses a step.
    pub async fn make() -> anyhow::Result<Self> {
        let template = Self(folder()?);
        let mut server = launch(&template.state(), &[]).await?;
        let lif = provision(&server.socket(), SystemClock.now().saturating_sub(Duration::from_secs(60))).await?;
        server.terminate()?;
        std::fs::write(template.trust(), lif)?;
        Ok(template)
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// The vendor's licence information file.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.0.path().join("vendor.lif")
    }

    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    /// A program is not built, or does not come up.
    pub async fn start(&self, kind: Kind) -> anyhow::Result<Server> {
        if kind == Kind::Real {
            return self.start_with(&[]).await;
        }
        let (folder, address) = (folder()?, free_address()?);
        let mut command = Command::new(programs::path("load-twin")?);
        command.arg(address.to_string());
        let process = programs::Process::start(&mut command, &folder.path().join("log"))?;
        until("the twin answers", async || accepts(address).await).await?;
        Ok(Server { address, http: address, process, settings: Vec::new(), folder })
    }

    /// Starts a licence server with more in its environment.
    ///
    /// # Errors
    /// The program is not built, or does not come up.
    pub async fn start_with(&self, environment: &[(&str, &str)]) -> anyhow::Result<Server> {
        let folder = folder()?;
        let state = folder.path().join("state");
        copy(&self.state(), &state)?;
        launch_in(folder, &state, environment).await
    }
}

/// Starts a licence server on a folder, which may be empty, and waits until it accepts connections.
///
/// # Errors
/// The program is not built, or does not come up.
pub async fn launch(state: &Path, environment: &[(&str, &str)]) -> anyhow::Result<Server> {
    launch_in(folder()?, state, environment).await
}

async fn launch_in(folder: TempDir, state: &Path, environment: &[(&str, &str)]) -> anyhow::Result<Server> {
    let (address, http) = (free_address()?, free_address()?);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut settings = vec![
        ("LICTOR_STATE_DIR".to_owned(), text(state)),
        ("LICTOR_SOCKET".to_owned(), text(&folder.path().join("s"))),
        ("GRPC_LISTEN".to_owned(), address.to_string()),
        ("HTTP_LISTEN".to_owned(), http.to_string()),
        ("RUST_LOG".to_owned(), "warn".to_owned()),
    ];
    settings.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let process = spawn(&settings, folder.path())?;
    let mut server = Server { address, http, process, settings, folder };
    server.until_up().await?;
    Ok(server)
}

fn spawn(settings: &[(String, String)], folder: &Path) -> anyhow::Result<programs::Process> {
    let mut command = Command::new(programs::path("license-server")?);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    programs::Process::start(&mut command, &folder.join("log"))
}

/// A folder that goes with its handle.
///
/// # Errors
/// There is no room.
pub fn folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("lictor-bench-").tempdir()?)
}

/// A loopback address that nobody listens on and that is given out once: below the ports that the kernel gives to whoever asks
/// for any, so that nobody takes it between the look and the use.
fn free_address() -> anyhow::Result<SocketAddr> {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() * 41 % u32::from(COUNT))?;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        if let Ok(free) = TcpListener::bind(("127.0.0.1", FIRST + (begin + step) % COUNT)) {
            return Ok(free.local_addr()?);
        }
    }
    bail!("no port is free")
}

async fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

/// Waits for a condition.
///
/// # Errors
/// It does not come true in time.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let waiting = async {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        loop {
            pace.tick().await;
            if holds().await {
                return;
            }
        }
    };
    tokio::time::timeout(wait::PATIENCE, waiting).await.with_context(|| format!("{what} did not come true"))
}

/// Copies a folder of plain files and folders; sockets and locks are left out.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
