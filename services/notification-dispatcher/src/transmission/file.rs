//! Files: one JSON line per delivery, appended to a file of the operator's folder, on disk before the delivery is done.
//!
//! A destination's file is `NAME.2026-11-22.0001.jsonl`: a new one each day (UTC) and whenever one is full, so what is
//! older than the newest never changes again and names sort by age. Lines that come together share one sync. A line that
//! a crash or a full disk tore is cut away before the next one is written; its delivery was never called done.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use lictor_clock::{Clock, Timestamp};
use rustix::fs::OFlags;
use tokio::{sync::oneshot, time::Instant};

use super::{
    Shipment,
    names::{PlainName, one_line},
};
use crate::domain::outcome::{Attempt, AttemptResult, kept};

/// Why nothing is written.
pub const CLOSED: &str = "the operator named no folder for files; next: set LICTOR_FILE_FOLDER";
/// Files of one name and day; far beyond what a day fills.
const FILES_PER_DAY: u32 = 9_999;
/// How far back a torn line's beginning is looked for: longer than any line.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// A file as a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWay {
    /// What its files' names begin with.
    pub name: PlainName,
}

/// What the operator set.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// The only folder that is written to.
    pub folder: PathBuf,
    /// A file that has reached this size gets no further line.
    pub rotate_bytes: u64,
}

/// Writes files. Cheap to clone; all clones share the open files.
#[derive(Debug, Clone)]
pub struct FileSender {
    options: Option<Arc<FileOptions>>,
    journals: Arc<Mutex<HashMap<PlainName, Arc<Journal>>>>,
}

impl FileSender {
    /// A sender; without options every attempt fails and says why.
    pub fn new(options: Option<FileOptions>) -> Self {
        Self { options: options.map(Arc::new), journals: Arc::default() }
    }

    /// True when the operator named a folder.
    pub fn is_open(&self) -> bool {
        self.options.is_some()
    }

    /// Appends one line and waits for the disk.
    pub async fn send(&self, way: &FileWay, shipment: &Shipment, clock: &dyn Clock) -> Attempt {
        let at = clock.now();
        let begun = Instant::now();
        let (result, answer) = match self.append(way, shipment, at).await {
            Ok(file) => (AttemptResult::Taken, file),
            Err(error) => (AttemptResult::Failed, error),
        };
        Attempt { at, status: 0, latency: begun.elapsed(), result, answer: kept(answer.as_bytes()), retry_after: None }
    }

    async fn append(&self, way: &FileWay, shipment: &Shipment, at: Timestamp) -> Result<String, String> {
        let Some(options) = &self.options else {
            return Err(CLOSED.to_owned());
        };
        let Some(mut line) = one_line(&shipment.body) else {
            return Err("the body is no JSON and cannot be a line".to_owned());
        };
        line.push(b'\n');
        let journal = {
            let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(journals.entry(way.name.clone()).or_default())
        };
        let (done, written) = oneshot::channel();
        journal.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Line { bytes: line, done });
        // Whoever gets the turn writes everything that waits by then, so one sync serves many.
        let turn = Arc::clone(&journal.turn).lock_owned().await;
        let batch = std::mem::take(&mut *journal.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !batch.is_empty() {
            let (options, name) = (Arc::clone(options), way.name.clone());
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                write(&options, &name, batch, at);
            });
        }
        written.await.map_err(|_| "the line was not written".to_owned())?
    }
}

/// What waits for one name's files.
#[derive(Debug, Default)]
struct Journal {
    waiting: Mutex<Vec<Line>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    done: oneshot::Sender<Result<String, String>>,
}

/// Writes a batch and tells each line's sender what came of it.
fn write(options: &FileOptions, name: &PlainName, batch: Vec<Line>, at: Timestamp) {
    let lines: Vec<u8> = batch.iter().flat_map(|line| line.bytes.iter().copied()).collect();
    let written = append(options, name, &lines, at).map_err(|error| {
        let next = if error.kind() == io::ErrorKind::StorageFull { "; next: free some space" } else { "" };
        format!("the file cannot be written: {error}{next}")
    });
    for line in batch {
        // Whoever does not wait any more gets the line again: at least once.
        let _ = line.done.send(written.clone());
    }
}

/// Appends whole lines to the file that is due and syncs; gives its name. Nothing of them remains after an error.
fn append(options: &FileOptions, name: &PlainName, lines: &[u8], at: Timestamp) -> io::Result<String> {
    let day = day_of(at);
    let mut number = newest(&options.folder, name, &day)?.max(1);
    loop {
        let file_name = file_name(name, &day, number);
        let path = options.folder.join(&file_name);
        let (mut file, fresh) = open(&path)?;
        // Another replica may write to the same folder.
        file.lock()?;
        let length = heal(&mut file)?;
        if length >= options.rotate_bytes && number < FILES_PER_DAY {
            number += 1;
            continue;
        }
        if let Err(error) = file.write_all(lines).and_then(|()| file.sync_data()) {
            // What was written of the lines must not stand before their next copy.
            if let Err(error) = file.set_len(length) {
                tracing::warn!(%error, file = file_name, "a torn line could not be cut away yet");
            }
            return Err(error);
        }
        if fresh {
            // A new name is only durable with its folder.
            File::open(&options.folder)?.sync_all()?;
        }
        return Ok(file_name);
    }
}

fn open(path: &Path) -> io::Result<(File, bool)> {
    // A link in the folder must not lead elsewhere, and what others put there must not block us.
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(|_| io::ErrorKind::Unsupported)?;
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o640).custom_flags(flags);
    let (file, fresh) = match options.open(path) {
        Ok(file) => (file, false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (options.clone().create(true).open(path)?, true),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no plain file"));
    }
    Ok((file, fresh))
}

/// Cuts a line without an end away and gives the length that remains.
fn heal(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(0);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(length);
    }
    let from = length.saturating_sub(LONGEST_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(length - from).read_to_end(&mut tail)?;
    let whole = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => from + end as u64 + 1,
        None if from == 0 => 0,
        None => return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no file of JSON lines")),
    };
    tracing::warn!(cut = length - whole, "a torn line was cut away; its delivery comes again");
    file.set_len(whole)?;
    Ok(whole)
}

/// The number of the newest file of a name and day; 0 when there is none.
fn newest(folder: &Path, name: &PlainName, day: &str) -> io::Result<u32> {
    let start = format!("{name}.{day}.");
    let mut newest = 0;
    for entry in std::fs::read_dir(folder)? {
        let found = entry?.file_name();
        let number = found
            .to_str()
            .and_then(|found| found.strip_prefix(&start)?.strip_suffix(".jsonl"))
            .filter(|number| number.len() == 4)
            .and_then(|number| number.parse().ok());
        newest = newest.max(number.unwrap_or(0));
    }
    Ok(newest)
}

fn file_name(name: &PlainName, day: &str, number: u32) -> String {
    format!("{name}.{day}.{number:04}.jsonl")
}

/// `2026-11-22`, UTC.
fn day_of(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path, rotate_bytes: u64) -> FileOptions {
        FileOptions { folder: folder.to_owned(), rotate_bytes }
    }

    fn name() -> PlainName {
        "orders".parse().expect("a name")
    }

    const DAY: Timestamp = Timestamp::from_seconds(1_800_000_000);

    #[test]
    fn a_torn_last_line_is_cut_away_before_the_next_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(folder.path(), 1 << 20);
        let written = append(&options, &name(), b"{\"a\":1}\n", DAY).expect("a line");
        let path = folder.path().join(&written);
        std::fs::write(&path, b"{\"a\":1}\n{\"b\":").expect("a torn line");
        append(&options, &name(), b"{\"b\":2}\n", DAY).expect("a line");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "{\"a\":1}\n{\"b\":2}\n");
        std::fs::write(&path, b"{\"a\"").expect("a torn first line");
        append(&options, &name(), b"{\"c\":3}\n", DAY).expect("a line");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "{\"c\":3}\n");
    }

    #[test]
    fn a_full_file_and_a_new_day_begin_another_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(folder.path(), 16);
        let line = b"{\"number\":1}\n";
        let names: Vec<String> = (0..4).map(|_| append(&options, &name(), line, DAY).expect("a line")).collect();
        let first = "orders.2027-01-15.0001.jsonl";
        let second = "orders.2027-01-15.0002.jsonl";
        assert_eq!(names, [first, first, second, second]);
        let tomorrow = DAY.saturating_add(lictor_clock::duration::days(1));
        assert_eq!(append(&options, &name(), line, tomorrow).expect("a line"), "orders.2027-01-16.0001.jsonl");
    }

    #[test]
    fn a_link_in_the_folder_leads_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = folder.path().join("outside");
        std::fs::write(&outside, b"").expect("a file");
        let inside = folder.path().join("in");
        std::fs::create_dir(&inside).expect("a folder");
        std::os::unix::fs::symlink(&outside, inside.join("orders.2027-01-15.0001.jsonl")).expect("a link");
        assert!(append(&options(&inside, 16), &name(), b"{}\n", DAY).is_err());
        assert_eq!(std::fs::read(&outside).expect("a file"), b"");
    }
}
