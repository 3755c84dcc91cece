//! The two servers as processes of their own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use lictor_clock::{Clock, SystemClock};
use lictor_test_support::{programs, wait};
use tempfile::TempDir;

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
    process: programs::Process,
    _folder: TempDir,
}

impl Server {
    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
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
        let (server, socket) = launch_real(folder()?, template.0.path()).await?;
        provision(&socket, SystemClock.now().saturating_sub(Duration::from_secs(60))).await?;
        let mut process = server.process;
        process.terminate()?;
        Ok(template)
    }

    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    /// A program is not built, or does not come up.
    pub async fn start(&self, kind: Kind) -> anyhow::Result<Server> {
        let folder = folder()?;
        if kind == Kind::Real {
            let state = folder.path().join("state");
            copy(self.0.path(), &state)?;
            return Ok(launch_real(folder, &state).await?.0);
        }
        let address = free_address()?;
        let mut command = Command::new(programs::path("load-twin")?);
        command.arg(address.to_string());
        let process = programs::Process::start(&mut command, &folder.path().join("log"))?;
        until("the twin answers", async || accepts(address).await).await?;
        Ok(Server { address, process, _folder: folder })
    }
}

fn folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("lictor-bench-").tempdir()?)
}

async fn launch_real(folder: TempDir, state: &Path) -> anyhow::Result<(Server, PathBuf)> {
    let (address, http) = (free_address()?, free_address()?);
    // A short path: sockets have a limit of about a hundred bytes.
    let socket = folder.path().join("s");
    let mut command = Command::new(programs::path("license-server")?);
    command
        .env("LICTOR_STATE_DIR", state)
        .env("LICTOR_SOCKET", &socket)
        .env("GRPC_LISTEN", address.to_string())
        .env("HTTP_LISTEN", http.to_string())
        .env("RUST_LOG", "warn");
    let process = programs::Process::start(&mut command, &folder.path().join("log"))?;
    until(&format!("{} answers", socket.display()), async || {
        tokio::net::UnixStream::connect(&socket).await.is_ok() && accepts(address).await
    })
    .await?;
    Ok((Server { address, process, _folder: folder }, socket))
}

/// A port that was free a moment ago: the programs are told where to listen.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn accepts(address: SocketAddr) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) -> anyhow::Result<()> {
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
