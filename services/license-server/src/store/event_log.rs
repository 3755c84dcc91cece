//! The log of events: one line of JSON each, in files that are begun anew when they are full. It is for people and their
//! tools, not for the server: nothing depends on it, and nobody waits for it. What happens within a few hundredths of a second is
//! written as one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::event::Event;

/// Events that may wait to be written.
const WAITING: usize = 10_000;
/// How long the first of them waits for others.
const GATHER: Duration = Duration::from_millis(20);
/// Files that are kept beside the one that is written.
const OLDER: u32 = 3;
/// Longest line that is read back.
const MAX_LINE: usize = 16 * 1024;

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into this folder, in files of so many bytes.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Bytes after which a file is begun anew.
        bytes: u64,
    },
    /// To stderr.
    Stderr,
}

/// Where events go. Once it is dropped, the log ends when it has written what it has.
#[derive(Debug)]
pub struct Writing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    events: Vec<Arc<Event>>,
    over: bool,
}

impl Writing {
    /// Adds an event; false when too many wait already.
    #[must_use]
    pub fn add(&self, event: Arc<Event>) -> bool {
        let mut queue = self.0.lock();
        if queue.events.len() >= WAITING {
            return false;
        }
        queue.events.push(event);
        // Later ones are found with the first.
        let first = queue.events.len() == 1;
        drop(queue);
        if first {
            self.0.changed.notify_one();
        }
        true
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written next; nothing at the end.
    fn next(&self) -> Option<Vec<Arc<Event>>> {
        let nothing = |queue: &mut Queue| queue.events.is_empty() && !queue.over;
        let queue = self.changed.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner);
        let gathered = self.changed.wait_timeout_while(queue, GATHER, |queue| !queue.over);
        let (mut queue, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let events = std::mem::take(&mut queue.events);
        (!events.is_empty()).then_some(events)
    }
}

/// Starts to write; gives where events go, and the newest ones from before.
///
/// # Errors
/// When the folder or its file cannot be made, or no thread can be started.
pub fn start(target: Target, newest: usize) -> io::Result<(Writing, Vec<Event>)> {
    let shared = Arc::new(Shared::default());
    let (mut log, before) = match target {
        Target::Stderr => (Log::Stderr, Vec::new()),
        Target::Folder { path, bytes } => {
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let before = read_back(&path, newest);
            (Log::Files(Files::open(path, bytes)?), before)
        }
    };
    std::thread::Builder::new().name("lictor-log".to_owned()).spawn({
        let shared = Arc::clone(&shared);
        move || write_all(&mut log, &shared)
    })?;
    Ok((Writing(shared), before))
}

fn write_all(log: &mut Log, shared: &Shared) {
    let mut failing = false;
    while let Some(events) = shared.next() {
        match events.iter().try_for_each(|event| log.write(event)).and_then(|()| log.flush()) {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "the log of events cannot be written; seats do not depend on it");
            }
            Err(_) => {}
        }
    }
}

enum Log {
    Stderr,
    Files(Files),
}

impl Log {
    fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event).map_err(io::Error::other)?;
        line.push(b'\n');
        match self {
            Self::Stderr => io::stderr().lock().write_all(&line),
            Self::Files(files) => files.write(&line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr => Ok(()),
            Self::Files(files) => files.flush(),
        }
    }
}

struct Files {
    folder: PathBuf,
    limit: u64,
    file: File,
    /// Bytes of the file, with those that wait.
    length: u64,
    /// Whole lines that are not written yet.
    waiting: Vec<u8>,
}

fn name(folder: &Path, age: u32) -> PathBuf {
    folder.join(if age == 0 { "events.jsonl".to_owned() } else { format!("events.{age}.jsonl") })
}

impl Files {
    fn open(folder: PathBuf, limit: u64) -> io::Result<Self> {
        let file = append_to(&name(&folder, 0))?;
        let length = file.metadata()?.len();
        let mut files = Self { folder, limit, file, length, waiting: Vec::new() };
        if length > 0 {
            // A crash may have left half a line: the next one does not begin behind it.
            files.write(b"\n")?;
        }
        Ok(files)
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length + line.len() as u64 > self.limit {
            self.flush()?;
            for age in (0..OLDER).rev() {
                let (from, to) = (name(&self.folder, age), name(&self.folder, age + 1));
                match std::fs::rename(from, to) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            self.file = append_to(&name(&self.folder, 0))?;
            self.length = 0;
        }
        self.waiting.extend_from_slice(line);
        self.length += line.len() as u64;
        Ok(())
    }

    /// What cannot be written is left out.
    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.waiting);
        self.waiting.clear();
        written
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The newest events of the files. What cannot be read is left out: it is a log.
fn read_back(folder: &Path, newest: usize) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for age in 0..=OLDER {
        let Ok(file) = File::open(name(folder, age)) else { continue };
        let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
        let short = lines.filter(|line| line.len() <= MAX_LINE);
        let older: Vec<Event> = short.filter_map(|line| serde_json::from_slice(&line).ok()).collect();
        events.splice(0..0, older);
        if events.len() >= newest {
            break;
        }
    }
    let over = events.len().saturating_sub(newest);
    events.drain(..over);
    events
}
