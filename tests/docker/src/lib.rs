//! The compose file of the project on a Docker engine, without any registry of images: as a site behind an air gap does it.

pub mod site;
pub mod steps;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use lictor_test_support::docker::Engine;
use lictor_test_support::programs::{self, Answer};
use lictor_test_support::softhsm;
use lictor_test_support::wait;
use serde_json::Value;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tests/docker lies two folders down").to_owned()
}

/// The compose files of a site without a registry of images.
const FILES: &str = "docker-compose.yml:deploy/air-gap/compose.yml";

/// A running project of the compose file; taken down with its volumes when dropped.
pub struct System {
    engine: Engine,
    project: String,
    files: String,
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.down();
    }
}

impl System {
    /// Makes base image and images and prepares the project; `None`, said loudly, when there is no engine.
    ///
    /// # Errors
    /// An image cannot be made.
    pub fn prepare() -> anyhow::Result<Option<Self>> {
        let engine = match Engine::find_or_start() {
            Ok(engine) => engine,
            Err(reason) => {
                // Past the test harness, which keeps what a passing test prints to itself.
                writeln!(std::io::stderr(), "SKIPPED: the Docker tests did not run: {reason:#}")?;
                return Ok(None);
            }
        };
        let system = Self { engine, project: format!("lictor-test-{}", std::process::id()), files: FILES.to_owned() };
        let base = Answer::of(&mut system.script("deploy/air-gap/make-base-image.sh"))?;
        ensure!(base.code == 0, "no base image: {}{}", base.output, base.errors);
        let images = Answer::of(
            system
                .script("deploy/build-images.sh")
                .env("LICTOR_BASE_IMAGE", "lictor/base:local")
                .env("LICTOR_BIN_DIR", programs::folder()?)
                .env("LICTOR_KEY_AGENT", softhsm::program()?),
        )?;
        ensure!(images.code == 0, "no images: {}{}", images.output, images.errors);
        Ok(Some(system))
    }

    /// Takes everything down, with its volumes.
    ///
    /// # Errors
    /// The command does not start.
    pub fn down(&self) -> anyhow::Result<()> {
        Answer::of(&mut self.compose(&["--profile", "application", "down", "--volumes", "--timeout", "1"]))?;
        Ok(())
    }

    /// Lays one more compose file over the others, from now on.
    pub fn overlay(&mut self, file: &str) {
        self.files = format!("{}:{file}", self.files);
    }

    /// Commands as a page shows them, in a shell in the root of the repository.
    ///
    /// # Errors
    /// They do not start.
    pub fn shell(&self, commands: &str) -> anyhow::Result<Answer> {
        let mut shell = self.in_project("sh");
        Answer::of(shell.args(["-euc", commands]))
    }

    fn in_project(&self, program: &str) -> Command {
        let mut command = self.engine.command(program);
        command.env("COMPOSE_PROJECT_NAME", &self.project).env("COMPOSE_FILE", &self.files).current_dir(root());
        command
    }

    fn script(&self, path: &str) -> Command {
        let mut command = self.engine.command(root().join(path));
        command.current_dir(root());
        command
    }

    /// `docker …`
    ///
    /// # Errors
    /// It does not start.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<Answer> {
        Answer::of(self.engine.command("docker").args(arguments))
    }

    /// `docker-compose …` for this project, not started yet.
    #[must_use]
    pub fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = self.in_project("docker-compose");
        command.args(arguments);
        command
    }

    /// Runs `docker-compose …` and expects success.
    ///
    /// # Errors
    /// It failed.
    pub fn compose_ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let answer = Answer::of(&mut self.compose(arguments))?;
        ensure!(answer.code == 0, "docker-compose {arguments:?}: {}{}", answer.output, answer.errors);
        Ok(answer.output.trim().to_owned())
    }

    /// `lictor … --json` in a container of the vendor's staff.
    ///
    /// # Errors
    /// It failed.
    pub fn lictor(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = vec!["run", "--rm", "-T", "lictor"];
        all.extend(arguments);
        all.push("--json");
        Answer::of(&mut self.compose(&all))?.json().with_context(|| format!("lictor {}", arguments.join(" ")))
    }

    /// A protected application that runs `command` to its end.
    ///
    /// # Errors
    /// It does not start.
    pub fn application(&self, command: &[&str]) -> anyhow::Result<Answer> {
        let mut all = vec!["run", "--rm", "-T", "application"];
        all.extend(command);
        Answer::of(&mut self.compose(&all))
    }

    /// A protected application that goes on; gives its container id.
    ///
    /// # Errors
    /// It does not start.
    pub fn application_in_background(&self, command: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["run", "-d", "application"];
        all.extend(command);
        let name = self.compose_ok(&all)?;
        name.lines().last().map(str::to_owned).context("compose names the container")
    }

    /// The container id of a service.
    ///
    /// # Errors
    /// There is none.
    pub fn container(&self, service: &str) -> anyhow::Result<String> {
        let id = self.compose_ok(&["ps", "-q", service])?;
        ensure!(!id.is_empty(), "{service} has no container");
        Ok(id)
    }

    /// What the engine says of a container.
    ///
    /// # Errors
    /// It is gone.
    pub fn inspect(&self, id: &str, format: &str) -> anyhow::Result<String> {
        let answer = self.docker(&["inspect", "--format", format, id])?;
        ensure!(answer.code == 0, "{}", answer.errors);
        Ok(answer.output.trim().to_owned())
    }

    /// Waits until the health command of a service's container says so.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_until_healthy(&self, service: &str) -> anyhow::Result<()> {
        wait::until(&format!("{service} is healthy"), || {
            let id = self.container(service)?;
            let health = self.inspect(&id, "{{.State.Health.Status}}")?;
            if health == "healthy" {
                return Ok(Some(()));
            }
            let logs = self.docker(&["logs", "--tail", "5", &id])?;
            anyhow::bail!("{health}; it said: {}{}", logs.output, logs.errors)
        })
    }
}
