//! One shell session in a fresh folder, as a newcomer would have it: no settings but those that the page makes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use anyhow::{Context, bail, ensure};
use lictor_test_support::{programs, wait};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::form::{Copied, pieces};

/// What pages call the folder that their commands run in.
const HOME_ON_PAGES: &str = "/home/you";
/// How `lictor up` ends what it says when everything runs.
const UP_IS_READY: &str = "Ctrl-C stops everything.";

/// Ports for `lictor up`, below those that the kernel hands out by itself: a chosen port stays free until it is used.
const PORTS: Range<u16> = 20_000..32_000;
/// Ports of one `lictor up`.
const PORTS_EACH: u16 = 10;

/// A shell, and what its commands printed so far.
pub struct Shell {
    child: Child,
    ended: Receiver<()>,
    folder: TempDir,
    steps: usize,
    copied: BTreeMap<Copied, String>,
    /// First port of each `lictor up`, by what stands behind it; the same for every start.
    ports: BTreeMap<String, u16>,
}

/// How a step went.
#[derive(Debug)]
pub struct Outcome {
    /// Whether the shell went on after it.
    pub succeeded: bool,
    /// Both outputs, with the folder's name as pages have it.
    pub output: String,
}

impl Drop for Shell {
    fn drop(&mut self) {
        // With everything that it started.
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Shell {
    /// Starts one. `docs` of the repository lies in its folder.
    ///
    /// # Errors
    /// No shell, or the programs are not built.
    pub fn start(repository: &Path) -> anyhow::Result<Self> {
        for program in ["lictor", "license-server"] {
            programs::path(program)?;
        }
        let folder = tempfile::Builder::new().prefix("lictor-page-").tempdir()?;
        std::os::unix::fs::symlink(repository.join("docs"), folder.path().join("docs"))?;
        let path = std::env::join_paths(
            std::iter::once(programs::folder()?)
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        )?;
        let mut child = Command::new("sh")
            .arg("-eu")
            .env_clear()
            .env("PATH", path)
            .env("HOME", folder.path())
            .env("LANG", "C.UTF-8")
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join(".shell-errors"))?)
            .process_group(0)
            .spawn()
            .context("there is no `sh`")?;
        let mut answers = BufReader::new(child.stdout.take().context("its output is piped")?);
        let (tell, ended) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            while answers.read_line(&mut line).is_ok_and(|count| count > 0) {
                line.clear();
                if tell.send(()).is_err() {
                    return;
                }
            }
        });
        let mut shell = Self { child, ended, folder, steps: 0, copied: BTreeMap::new(), ports: BTreeMap::new() };
        // Whatever the page started goes with the shell, also when the test itself is killed.
        shell.write("trap 'trap - EXIT; kill 0' EXIT\n")?;
        Ok(shell)
    }

    /// Runs the commands of a step to their end.
    ///
    /// # Errors
    /// A word such as `TICKET` stands for nothing yet, or the commands do not end.
    pub fn run(&mut self, commands: &str) -> anyhow::Result<Outcome> {
        let commands = self.fill_in(commands)?;
        self.steps += 1;
        let printed = self.folder.path().join(format!(".step-{}", self.steps));
        self.write(&format!("{{\n{commands}\n}} >'{}' 2>&1 </dev/null\necho\n", printed.display()))?;
        let succeeded = match self.ended.recv_timeout(wait::PATIENCE) {
            Ok(()) => true,
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => {
                bail!("no end after {:?}; so far:\n{}", wait::PATIENCE, self.read(&printed))
            }
        };
        if succeeded && commands.lines().any(|line| line.starts_with("lictor up")) {
            let ready = wait::until("lictor up is ready", || {
                let said = fs::read_to_string(&printed)?;
                Ok(if said.contains("error:") { Some(false) } else { said.contains(UP_IS_READY).then_some(true) })
            })?;
            ensure!(ready, "{}", self.read(&printed));
        }
        let mut output = self.read(&printed);
        for piece in pieces(&output) {
            if let Some(kind) = Copied::of(piece) {
                self.copied.insert(kind, piece.to_owned());
            }
        }
        if !succeeded {
            output.push_str(&self.read(&self.folder.path().join(".shell-errors")));
        }
        Ok(Outcome { succeeded, output })
    }

    fn read(&self, path: &Path) -> String {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.replace(&self.folder.path().display().to_string(), HOME_ON_PAGES)
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("its input is piped")?;
        input.write_all(text.as_bytes())?;
        Ok(input.flush()?)
    }

    /// The commands with what was printed last in place of `TICKET` and the like, and with ports of its own for `lictor up`.
    fn fill_in(&mut self, commands: &str) -> anyhow::Result<String> {
        let mut text = String::new();
        for line in commands.lines() {
            let line = match line.strip_prefix("lictor up") {
                Some(rest) => format!("lictor up{}", self.own_ports(rest)?),
                None => line.to_owned(),
            };
            for piece in pieces(&line) {
                match Copied::ALL.into_iter().find(|copied| copied.word() == piece) {
                    Some(copied) => {
                        let value = self.copied.get(&copied);
                        text.push_str(value.with_context(|| format!("nothing was printed yet that {piece} could be"))?);
                    }
                    None => text.push_str(piece),
                }
            }
            text.push('\n');
        }
        Ok(text)
    }
}

impl Shell {
    /// The arguments of a `lictor up` with ports of its own, whether they name some or not.
    fn own_ports(&mut self, arguments: &str) -> anyhow::Result<String> {
        let base = match self.ports.get(arguments) {
            Some(base) => *base,
            None => free_ports()?,
        };
        self.ports.insert(arguments.to_owned(), base);
        let mut words = arguments.split(' ');
        let mut kept = Vec::new();
        while let Some(word) = words.next() {
            if word == "--port-base" {
                words.next();
            } else {
                kept.push(word);
            }
        }
        Ok(format!(" --port-base {base}{}", kept.join(" ")))
    }
}

/// Ten ports in a row that nobody listens on and that no other page of this run gets.
fn free_ports() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let places = (PORTS.end - PORTS.start) / PORTS_EACH;
    // Runs beside this one begin elsewhere.
    let first = u16::try_from(std::process::id() % u32::from(places))?;
    for _ in 0..places {
        let place = (first + NEXT.fetch_add(1, Ordering::Relaxed)) % places;
        let base = PORTS.start + place * PORTS_EACH;
        if (base..base + PORTS_EACH).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(base);
        }
    }
    bail!("no ten ports in a row are free in {PORTS:?}")
}
