//! A Docker engine for tests: the one that answers, or a private one started for this run (root on Linux with `dockerd`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);

/// An engine that answers.
pub struct Engine {
    host: Option<String>,
    private: Option<Private>,
}

struct Private {
    daemon: Child,
    folder: TempDir,
}

impl Drop for Private {
    fn drop(&mut self) {
        self.end();
    }
}

impl Private {
    /// The daemon takes its containers and networks down with it when it is asked to end.
    fn end(&mut self) {
        if let Some(pid) = Pid::from_raw(self.daemon.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.daemon.wait();
    }
}

impl Engine {
    /// The engine that answers already, else a private one. `Err` says why there is none.
    ///
    /// # Errors
    /// No engine answers and none can be started.
    pub fn find_or_start() -> anyhow::Result<Self> {
        let running = Self { host: None, private: None };
        if running.answers() {
            return Ok(running);
        }
        if !rustix::process::geteuid().is_root() {
            bail!("no Docker engine answers, and only root can start one");
        }
        Self::start().context("no Docker engine answers, and a private one does not start")
    }

    /// A private engine, also beside one that answers: for tests that restart it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_private() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("only root can start a Docker engine");
        }
        Self::start().context("a private Docker engine does not start")
    }

    /// The socket of a private engine.
    ///
    /// # Errors
    /// It is not private.
    pub fn socket(&self) -> anyhow::Result<PathBuf> {
        Ok(self.folder()?.join("docker.sock"))
    }

    /// The folder of a private engine: `data` in it is what a host keeps over a reboot.
    ///
    /// # Errors
    /// It is not private.
    pub fn folder(&self) -> anyhow::Result<&Path> {
        Ok(self.private.as_ref().context("this engine is not ours")?.folder.path())
    }

    /// Ends a private engine with all of its containers, as the shutdown of its host does, and starts it again with
    /// what it has kept.
    ///
    /// # Errors
    /// It is not private, or does not start again.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let private = self.private.as_mut().context("this engine is not ours")?;
        private.end();
        private.daemon = daemon(private.folder.path())?;
        self.wait_until_up()
    }

    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lictor-docker-").tempdir()?;
        let path = folder.path();
        let host = format!("unix://{}", path.join("docker.sock").display());
        let daemon = daemon(path)?;
        let mut engine = Self { host: Some(host), private: Some(Private { daemon, folder }) };
        engine.wait_until_up()?;
        Ok(engine)
    }

    fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while !self.answers() {
            let private = self.private.as_mut().context("it was just made")?;
            if private.daemon.try_wait()?.is_some() || started.elapsed() > START_LIMIT {
                let text = fs::read_to_string(private.folder.path().join("dockerd.log")).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(5).collect();
                bail!("dockerd said: {}", tail.into_iter().rev().collect::<Vec<_>>().join(" / "));
            }
            #[expect(clippy::disallowed_methods, reason = "the condition lies in another process")]
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let info = self.command("docker").args(["info", "--format", "{{.ServerVersion}}"]).output();
        info.is_ok_and(|output| output.status.success() && !output.stdout.trim_ascii().is_empty())
    }

    /// A program that talks to this engine: `docker`, `docker-compose`, or a script that calls them.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
        command.stdin(Stdio::null());
        command
    }
}

fn daemon(path: &Path) -> anyhow::Result<Child> {
    Command::new("dockerd")
        .arg("--host")
        .arg(format!("unix://{}", path.join("docker.sock").display()))
        .arg("--data-root")
        .arg(path.join("data"))
        .arg("--exec-root")
        .arg(path.join("exec"))
        .arg("--pidfile")
        .arg(path.join("pid"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::options().create(true).append(true).open(path.join("dockerd.log"))?)
        .spawn()
        .context("`dockerd` is not installed; tests/scripts/install-dependencies.sh installs it")
}
