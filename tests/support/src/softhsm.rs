//! A PKCS#11 token of SoftHSM in a folder of its own, and the key agent that holds it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::programs::{Answer, Process};
use crate::wait;

/// Where Debian and others put the module.
const MODULES: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];
const PIN: &str = "4711-0815";
const LABEL: &str = "firm";

/// A token, and its agent once it was started.
pub struct SoftHsm {
    folder: tempfile::TempDir,
    agent: Option<Process>,
}

impl SoftHsm {
    /// Makes an empty token.
    ///
    /// # Errors
    /// SoftHSM is not installed.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let hsm = Self { folder, agent: None };
        fs::create_dir(hsm.tokens())?;
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", hsm.tokens().display());
        fs::write(hsm.configuration(), text)?;
        hsm.write_pin(PIN)?;
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", LABEL, "--so-pin", "0000-9999", "--pin", PIN]);
        let made = Answer::of(command.env("SOFTHSM2_CONF", hsm.configuration()))
            .context("SoftHSM is missing: run tests/scripts/install-dependencies.sh")?;
        ensure!(made.code == 0, "no token: {}{}", made.output, made.errors);
        Ok(hsm)
    }

    /// The same with a running agent.
    ///
    /// # Errors
    /// The agent is not built, or does not start.
    pub fn with_agent() -> anyhow::Result<Self> {
        let mut hsm = Self::new()?;
        hsm.start_agent()?;
        Ok(hsm)
    }

    /// Starts the agent and waits until it listens.
    ///
    /// # Errors
    /// It is not built, or does not start.
    pub fn start_agent(&mut self) -> anyhow::Result<()> {
        self.agent = Some(Process::start(&mut self.command()?, &self.folder.path().join("agent.log"))?);
        wait::until("the key agent listens", || Ok(UnixStream::connect(self.socket()).ok()))?;
        Ok(())
    }

    /// The command that starts an agent for this token.
    ///
    /// # Errors
    /// The agent is not built.
    pub fn command(&self) -> anyhow::Result<Command> {
        let module =
            MODULES.iter().find(|path| Path::new(path).exists()).context("the module of SoftHSM is missing")?;
        let mut command = Command::new(program()?);
        command.args(["--module", module, "--token", LABEL, "--socket"]).arg(self.socket());
        command.arg("--pin-file").arg(self.folder.path().join("pin")).env("SOFTHSM2_CONF", self.configuration());
        Ok(command)
    }

    /// Kills the agent, worker and all, as a crash of the machine's power supply would.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill_agent(&mut self) -> anyhow::Result<()> {
        self.agent.take().map_or(Ok(()), |mut agent| agent.kill())
    }

    /// Process ids of the agent's workers.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        let Some(agent) = &self.agent else { return Vec::new() };
        let path = format!("/proc/{0}/task/{0}/children", agent.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// Exit code of the agent, once it ended by itself.
    ///
    /// # Errors
    /// Its state cannot be read.
    pub fn agent_ended(&mut self) -> anyhow::Result<Option<i32>> {
        self.agent.as_mut().map_or(Ok(None), Process::ended)
    }

    /// Pulls the token out.
    ///
    /// # Errors
    /// It is out already.
    pub fn pull(&self) -> anyhow::Result<()> {
        Ok(fs::rename(self.tokens(), self.away())?)
    }

    /// Puts it back.
    ///
    /// # Errors
    /// It is not out.
    pub fn put_back(&self) -> anyhow::Result<()> {
        Ok(fs::rename(self.away(), self.tokens())?)
    }

    /// Writes another PIN for the agent's next log-in.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_pin(&self, pin: &str) -> anyhow::Result<()> {
        let path = self.folder.path().join("pin");
        fs::write(&path, format!("{pin}\n"))?;
        Ok(fs::set_permissions(&path, Permissions::from_mode(0o600))?)
    }

    /// Where the agent listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// What the agent wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default()
    }

    fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    fn away(&self) -> PathBuf {
        self.folder.path().join("pulled")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }
}

/// The agent of this build. It is no member of the workspace, because it must not be static.
///
/// # Errors
/// It is not built.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("LICTOR_KEY_AGENT") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let target =
        test.ancestors().find(|folder| folder.ends_with("target")).context("a test lies in a target folder")?;
    let places = fs::read_dir(target.join("dynamic")).into_iter().flatten().filter_map(Result::ok);
    let mut places = places.map(|entry| entry.path()).chain([target.join("dynamic")]);
    let found = places.find_map(|folder| {
        let program = folder.join("debug/lictor-key-agent");
        program.exists().then_some(program)
    });
    found.context("the key agent is not built: run key-agent/build.sh (make test does)")
}
