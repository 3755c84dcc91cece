//! The servers of this run as processes: found by their ports, told to stop and start, killed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::Answer;

/// The port in `scheme://…:PORT/…`.
///
/// # Errors
/// There is none.
pub fn port_of(url: &str) -> anyhow::Result<String> {
    let (_, rest) = url.rsplit_once(':').context("a port")?;
    Ok(rest.split('/').next().unwrap_or_default().to_owned())
}

/// A process: its id, its folder under `/proc`, the words of its command line.
struct Seen {
    pid: u32,
    folder: PathBuf,
    words: Vec<String>,
}

fn all() -> anyhow::Result<Vec<Seen>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let words = texts(&fs::read(entry.path().join("cmdline")).unwrap_or_default());
        if !words.is_empty() {
            found.push(Seen { pid, folder: entry.path(), words });
        }
    }
    Ok(found)
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The first process of PostgreSQL at this URL.
///
/// # Errors
/// It does not run on this machine.
pub fn postgres(url: &str) -> anyhow::Result<u32> {
    let port = port_of(url)?;
    let is_it = |seen: &Seen| {
        let named = seen.words.first().is_some_and(|word| word.ends_with("postgres"));
        named && seen.words.windows(2).any(|pair| pair[0] == "-p" && pair[1] == port)
    };
    Ok(all()?.into_iter().find(is_it).context("PostgreSQL of this run")?.pid)
}

/// The processes that another one started.
///
/// # Errors
/// `/proc` is not there.
pub fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for seen in all()? {
        let stat = fs::read_to_string(seen.folder.join("stat")).unwrap_or_default();
        let of = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        if of == Some(parent) {
            found.push(seen.pid);
        }
    }
    Ok(found)
}

/// kill -9 of one process.
///
/// # Errors
/// It is gone.
pub fn kill(pid: u32) -> anyhow::Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).context("a process id")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// A running RabbitMQ.
#[derive(Debug)]
pub struct Rabbit {
    /// Its process id.
    pub pid: u32,
    owner: (u32, u32),
    environment: BTreeMap<String, String>,
}

impl Rabbit {
    /// The one at this URL.
    ///
    /// # Errors
    /// It does not run on this machine.
    pub fn at(url: &str) -> anyhow::Result<Self> {
        let wanted = format!("RABBITMQ_NODE_PORT={}", port_of(url)?);
        for seen in all()? {
            if !seen.words.first().is_some_and(|word| word.ends_with("beam.smp")) {
                continue;
            }
            let environment = texts(&fs::read(seen.folder.join("environ")).unwrap_or_default());
            if environment.contains(&wanted) {
                let owner = fs::metadata(&seen.folder)?;
                let environment = environment.iter().filter_map(|text| text.split_once('='));
                return Ok(Self {
                    pid: seen.pid,
                    owner: (owner.uid(), owner.gid()),
                    environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                });
            }
        }
        anyhow::bail!("RabbitMQ of this run is not to be found")
    }

    /// Runs `rabbitmqctl` against it: `stop_app`, `reset`, `start_app`, `set_disk_free_limit`, ….
    ///
    /// # Errors
    /// It refuses.
    pub fn control(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let places = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "/usr/local/lib/rabbitmq/bin/rabbitmqctl"];
        let program = places.into_iter().find(|place| PathBuf::from(place).exists()).unwrap_or("rabbitmqctl");
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir("/");
        for name in ["PATH", "HOME", "RABBITMQ_NODENAME", "ERL_EPMD_PORT"] {
            if let Some(value) = self.environment.get(name) {
                command.env(name, value);
            }
        }
        if rustix::process::geteuid().is_root() {
            command.gid(self.owner.1).uid(self.owner.0);
        }
        let answer = Answer::of(&mut command)?;
        ensure!(answer.code == 0, "rabbitmqctl {}: {}{}", arguments.join(" "), answer.output, answer.errors);
        Ok(())
    }
}
