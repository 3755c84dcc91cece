//! A Docker engine for tests: the one that answers, or a private one started for this run (root on Linux with `dockerd`).

use std::fs;
use std::path::Path;
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
    _folder: TempDir,
}

impl Drop for Private {
    fn drop(&mut self) {
        // The daemon takes its containers and networks down with it when it is asked to end.
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

    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lictor-docker-").tempdir()?;
        let path = folder.path();
        let host = format!("unix://{}", path.join("docker.sock").display());
        let log = path.join("dockerd.log");
        let daemon = Command::new("dockerd")
            .arg("--host")
            .arg(&host)
            .arg("--data-root")
            .arg(path.join("data"))
            .arg("--exec-root")
            .arg(path.join("exec"))
            .arg("--pidfile")
            .arg(path.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .context("`dockerd` is not installed; tests/scripts/install-dependencies.sh installs it")?;
        let mut engine = Self { host: Some(host), private: Some(Private { daemon, _folder: folder }) };
        let started = Instant::now();
        while !engine.answers() {
            let private = engine.private.as_mut().context("it was just made")?;
            if private.daemon.try_wait()?.is_some() || started.elapsed() > START_LIMIT {
                let text = fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(5).collect();
                bail!("dockerd said: {}", tail.into_iter().rev().collect::<Vec<_>>().join(" / "));
            }
            #[expect(clippy::disallowed_methods, reason = "the condition lies in another process")]
            thread::sleep(Duration::from_millis(100));
        }
        Ok(engine)
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
