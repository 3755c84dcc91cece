//! The programs of this build: found beside the test that runs, started as processes, killed when dropped.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The folder with the binaries of the build that this test belongs to.
///
/// # Errors
/// The test does not lie in a target folder.
pub fn folder() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let deps = test.parent().context("a program lies in a folder")?;
    let folder = if deps.ends_with("deps") { deps.parent().context("deps lies in a folder")? } else { deps };
    Ok(folder.to_owned())
}

/// One of our programs.
///
/// # Errors
/// It is not built; the text says how to build it.
pub fn path(name: &str) -> anyhow::Result<PathBuf> {
    let path = folder()?.join(name);
    ensure!(
        path.exists(),
        "`{name}` is not built: run `cargo build --workspace --bins --examples` first (make test does)"
    );
    Ok(path)
}

/// A running program whose output goes to a file; killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    ///
    /// # Errors
    /// The program or the file cannot be opened.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{command:?} does not start"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without any warning, as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and waits; gives its exit code.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn terminate(&mut self) -> anyhow::Result<Option<i32>> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a running process has an id")?;
        kill_process(pid, Signal::TERM)?;
        Ok(self.child.wait()?.code())
    }

    /// The exit code if it has ended.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.child.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a finished command said.
#[derive(Debug)]
pub struct Answer {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Answer {
    /// Runs `command` to its end.
    ///
    /// # Errors
    /// It does not start.
    pub fn of(command: &mut Command) -> anyhow::Result<Self> {
        let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} does not start"))?;
        Ok(Self {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The one JSON object of a `--json` answer that succeeded.
    ///
    /// # Errors
    /// The exit code is not 0, or the output is not one JSON value.
    pub fn json(&self) -> anyhow::Result<Value> {
        if self.code != 0 {
            bail!("exit code {}: {}{}", self.code, self.output, self.errors);
        }
        serde_json::from_str(&self.output).with_context(|| format!("not one JSON value: {}", self.output))
    }

    /// The JSON object of a `--json` answer with this exit code.
    ///
    /// # Errors
    /// Another exit code, or no JSON.
    pub fn refused(&self, code: i32) -> anyhow::Result<Value> {
        ensure!(self.code == code, "exit code {}, not {code}: {}{}", self.code, self.output, self.errors);
        let text = if self.output.trim().is_empty() { &self.errors } else { &self.output };
        serde_json::from_str(text.trim()).with_context(|| format!("not one JSON value: {text}"))
    }
}
