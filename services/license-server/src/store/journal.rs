//! The journal with its snapshots: opens what a folder holds, appends batches, starts anew after each snapshot.
//!
//! `snapshot-N` is the state before record N, `journal-N` the records from N on. Two snapshots are kept and all journals
//! from the older one on, so a damaged newest snapshot costs nothing. Opening never trusts what an earlier process left
//! in the page cache: it ends with a fresh snapshot and a fresh journal, both synced.

use std::io;

use thiserror::Error;

use super::batch::{self, BatchError, Position, Sealer};
use super::disk::{Disk, DiskFile, is_full, write_whole};
use super::snapshot::{self, SnapshotError};

/// A journal of this size asks for a snapshot.
pub const SNAPSHOT_AFTER_BYTES: u64 = 16 * 1024 * 1024;

const SNAPSHOTS_KEPT: usize = 2;

/// Fresh random bytes: 24 for a nonce.
pub type Nonces = Box<dyn FnMut() -> io::Result<[u8; 24]> + Send>;

/// Why a state folder cannot be opened or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk is full. What was to be written is not there, and nothing else changed.
    #[error("the disk is full")]
    Full(#[source] io::Error),
    /// The disk failed; nothing is known about it any more, and the process must end.
    #[error("the state folder cannot be used: {what}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// What the disk answered.
        #[source]
        source: io::Error,
    },
    /// Something in the middle is missing or changed. Serving on would silently forget what was promised.
    #[error("the file {file} in the state folder is damaged: {reason}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer program wrote here.
    #[error("the file {file} in the state folder was written by a newer program (format {format})")]
    TooNew {
        /// Name of the file.
        file: String,
        /// Its format.
        format: u16,
    },
}

impl StoreError {
    /// Wraps what a disk answered.
    pub fn disk(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { what, source }
    }
}

/// What is kept in RAM and rebuilt from the folder.
pub trait Replay: Sized {
    /// Reads a snapshot's content. Asked of the state of an empty folder, which knows whose folder it is.
    ///
    /// # Errors
    /// A sentence about what does not fit.
    fn restore(&self, bytes: &[u8]) -> Result<Self, String>;

    /// Applies a record.
    ///
    /// # Errors
    /// A sentence about what does not fit.
    fn apply(&mut self, record: &[u8]) -> Result<(), String>;

    /// The content of a snapshot.
    fn snapshot(&self) -> Vec<u8>;
}

/// An open journal.
pub struct Journal {
    disk: Box<dyn Disk>,
    sealer: Sealer,
    instance: [u8; 16],
    nonces: Nonces,
    file: Box<dyn DiskFile>,
    length: u64,
    position: Position,
    syncs: u64,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("length", &self.length)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the folder, rebuilds the state from `empty` and makes it durable anew.
    ///
    /// # Errors
    /// See [`StoreError`]. A torn last batch is dropped; any other damage refuses.
    pub fn open<S: Replay>(
        disk: Box<dyn Disk>,
        sealer: Sealer,
        instance: [u8; 16],
        mut nonces: Nonces,
        empty: S,
    ) -> Result<(Self, S), StoreError> {
        let names = disk.list().map_err(StoreError::disk("list its files"))?;
        let (mut state, mut position) = newest_snapshot(&*disk, &sealer, &names, empty)?;
        replay(&*disk, &sealer, &names, &mut state, &mut position)?;
        let file = begin(&*disk, position)?;
        write_snapshot(&*disk, &sealer, &mut nonces, position, &state.snapshot())?;
        let journal = Self { disk, sealer, instance, nonces, file, length: 0, position, syncs: 0 };
        journal.retire()?;
        Ok((journal, state))
    }

    /// Writes and syncs one batch. When this returns, a crash cannot take it away.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there was no room: the batch is not there. Any other error ends the use of this journal.
    pub fn append(&mut self, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let nonce = (self.nonces)().map_err(StoreError::disk("draw random bytes"))?;
        let (bytes, after) = batch::encode(&self.sealer, self.position, &self.instance, &nonce, records);
        if let Err(error) = self.file.write_at(self.length, &bytes) {
            if !is_full(&error) {
                return Err(StoreError::disk("append to the journal")(error));
            }
            // Part of the batch may be there; it must not stand before the next one.
            self.file.cut(self.length).map_err(StoreError::disk("take back an unfinished batch"))?;
            return Err(StoreError::Full(error));
        }
        // A second sync after a failed one would lie: the kernel forgets the lost pages.
        self.file.sync().map_err(StoreError::disk("sync the journal"))?;
        self.syncs += 1;
        self.length += bytes.len() as u64;
        self.position = after;
        Ok(())
    }

    /// Whether the journal is long enough for a snapshot.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.length >= SNAPSHOT_AFTER_BYTES
    }

    /// Starts a new journal and writes the snapshot that it follows.
    ///
    /// # Errors
    /// [`StoreError::Full`]: there is no new snapshot, and appending goes on. Any other error ends the use of this journal.
    pub fn snapshot(&mut self, state: &[u8]) -> Result<(), StoreError> {
        self.file = begin(&*self.disk, self.position)?;
        self.length = 0;
        write_snapshot(&*self.disk, &self.sealer, &mut self.nonces, self.position, state)?;
        self.retire()
    }

    /// Writes a file beside the journal, sealed with the same key: as a whole and durable, or not at all.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there was no room. Any other error ends the use of this journal.
    pub fn write_aside(&mut self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let nonce = (self.nonces)().map_err(StoreError::disk("draw random bytes"))?;
        let bytes = snapshot::encode(&self.sealer, Position::START, &nonce, content);
        write_whole(&*self.disk, name, &bytes).map_err(full_or("write a file beside the journal"))
    }

    /// Removes such a file; one that is not there is no error.
    ///
    /// # Errors
    /// What the disk answers; it ends the use of this journal.
    pub fn remove_aside(&mut self, name: &str) -> Result<(), StoreError> {
        match self.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::disk("remove a file beside the journal")(error))
            }
            _ => self.disk.sync_folder().map_err(StoreError::disk("sync the folder")),
        }
    }

    /// Where the next batch goes.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Syncs of batches since the journal was opened.
    #[must_use]
    pub const fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Removes what lies before the older of the two newest snapshots.
    fn retire(&self) -> Result<(), StoreError> {
        let names = self.disk.list().map_err(StoreError::disk("list its files"))?;
        let snapshots = numbered(&names, "snapshot-");
        let Some(keep_from) = snapshots.iter().rev().nth(SNAPSHOTS_KEPT - 1) else {
            return Ok(());
        };
        let old = numbered(&names, "journal-")
            .into_iter()
            .filter(|number| number < keep_from)
            .map(|number| name("journal-", number))
            .chain(snapshots.iter().filter(|number| *number < keep_from).map(|number| name("snapshot-", *number)));
        for name in old {
            self.disk.remove(&name).map_err(StoreError::disk("remove an old file"))?;
        }
        Ok(())
    }
}

fn name(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:016x}")
}

/// The numbers of the files with a prefix, ascending.
fn numbered(names: &[String], prefix: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_prefix(prefix))
        .filter(|digits| digits.len() == 16)
        .filter_map(|digits| u64::from_str_radix(digits, 16).ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Begins the journal for the records from `position` on. It is begun before the snapshot of that place is written: a
/// snapshot without its journal would hide records that went on into the old one, a journal without its snapshot is
/// only one more file to replay.
fn begin(disk: &dyn Disk, position: Position) -> Result<Box<dyn DiskFile>, StoreError> {
    let mut file = disk.create(&name("journal-", position.next)).map_err(full_or("begin a journal"))?;
    file.sync().map_err(StoreError::disk("sync a new journal"))?;
    disk.sync_folder().map_err(StoreError::disk("sync the folder"))?;
    Ok(file)
}

fn write_snapshot(
    disk: &dyn Disk,
    sealer: &Sealer,
    nonces: &mut Nonces,
    position: Position,
    state: &[u8],
) -> Result<(), StoreError> {
    let nonce = nonces().map_err(StoreError::disk("draw random bytes"))?;
    let bytes = snapshot::encode(sealer, position, &nonce, state);
    write_whole(disk, &name("snapshot-", position.next), &bytes).map_err(full_or("write a snapshot"))
}

fn full_or(what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |error| {
        if is_full(&error) { StoreError::Full(error) } else { StoreError::disk(what)(error) }
    }
}

fn newest_snapshot<S: Replay>(
    disk: &dyn Disk,
    sealer: &Sealer,
    names: &[String],
    empty: S,
) -> Result<(S, Position), StoreError> {
    let snapshots = numbered(names, "snapshot-");
    let mut newest_problem = None;
    for number in snapshots.iter().rev() {
        let file = name("snapshot-", *number);
        let bytes = disk.read(&file).map_err(StoreError::disk("read a snapshot"))?;
        let problem = match snapshot::decode(sealer, &bytes) {
            Ok((position, state)) if position.next == *number => match empty.restore(&state) {
                Ok(state) => return Ok((state, position)),
                Err(reason) => StoreError::Damaged { file, reason },
            },
            Ok(_) => StoreError::Damaged { file, reason: "its name says another place than its content".to_owned() },
            Err(SnapshotError::TooNew(format)) => return Err(StoreError::TooNew { file, format }),
            Err(SnapshotError::Damaged) => StoreError::Damaged { file, reason: SnapshotError::Damaged.to_string() },
        };
        newest_problem.get_or_insert(problem);
    }
    match newest_problem {
        Some(problem) => Err(problem),
        // The first snapshot stands before the first record, so a journal that starts later means that snapshots are gone.
        None if numbered(names, "journal-").iter().any(|first| *first > 1) => Err(StoreError::Damaged {
            file: "snapshot".to_owned(),
            reason: "there are journals but no snapshot".to_owned(),
        }),
        None => Ok((empty, Position::START)),
    }
}

/// Applies every journal from `position` on.
fn replay<S: Replay>(
    disk: &dyn Disk,
    sealer: &Sealer,
    names: &[String],
    state: &mut S,
    position: &mut Position,
) -> Result<(), StoreError> {
    let journals: Vec<u64> =
        numbered(names, "journal-").into_iter().filter(|number| *number >= position.next).collect();
    let Some((last, _)) = journals.split_last() else {
        return Ok(());
    };
    for number in &journals {
        let file = name("journal-", *number);
        let damaged = |reason: &str| StoreError::Damaged { file: file.clone(), reason: reason.to_owned() };
        if *number != position.next {
            return Err(damaged("records before it are missing"));
        }
        let bytes = disk.read(&file).map_err(StoreError::disk("read a journal"))?;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match batch::decode(sealer, *position, rest) {
                Ok(batch) => {
                    for record in &batch.records {
                        state.apply(record).map_err(|reason| damaged(&reason))?;
                    }
                    at += batch.length;
                    *position = batch.after;
                }
                Err(BatchError::TooNew(format)) => {
                    return Err(StoreError::TooNew { file, format });
                }
                Err(BatchError::NotWhole) if number == last && !batch::any_whole(&rest[1..]) => {
                    disk.truncate(&file, at as u64).map_err(StoreError::disk("drop an unfinished batch"))?;
                    tracing::warn!(file, bytes = rest.len(), "dropped an unfinished batch");
                    break;
                }
                Err(error) => return Err(damaged(&error.to_string())),
            }
        }
    }
    Ok(())
}
