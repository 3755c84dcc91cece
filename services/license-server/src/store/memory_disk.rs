//! A disk in memory that fails and crashes when told to: the twin of [`FolderDisk`](super::FolderDisk) for tests.
//!
//! What was not synced is kept, lost or cut short by a crash, as the test chooses. Creations, renames and removals count
//! as done once the folder was synced; before that a crash undoes or keeps them together with the writes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: this operation and all later ones fail, until [`MemoryDisk::restart`].
    Crash,
    /// The disk is full: this and all later operations that need room fail, until [`MemoryDisk::heal`].
    Full,
    /// The disk reports a fault once.
    Broken,
}

/// What a crash leaves of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// Nothing of them.
    Lost,
    /// All of them.
    Kept,
    /// Of each file, the first half of the bytes that were added.
    Half,
}

/// A disk in memory. Clones are handles of the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What programs see now: name to file number.
    names: BTreeMap<String, u64>,
    /// What a crash cannot take away.
    synced_names: BTreeMap<String, u64>,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    operations: u64,
    syncs: u64,
    plan: Option<(u64, Fault)>,
    full: bool,
    crashed: bool,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the `at`-th operation from now on (0 is the next one) meet a fault.
    pub fn fail_at(&self, at: u64, fault: Fault) {
        let mut inner = self.lock();
        inner.plan = Some((inner.operations + at, fault));
    }

    /// Operations done so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Syncs of files and of the folder so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Ends a full disk.
    pub fn heal(&self) {
        let mut inner = self.lock();
        inner.full = false;
        inner.plan = None;
    }

    /// The machine starts again: what was not synced becomes what the test says.
    pub fn restart(&self, unsynced: Unsynced) {
        let mut inner = self.lock();
        if unsynced != Unsynced::Kept {
            inner.names = inner.synced_names.clone();
        }
        for content in inner.files.values_mut() {
            match unsynced {
                Unsynced::Kept => {}
                Unsynced::Lost => content.now = content.synced.clone(),
                Unsynced::Half => {
                    let kept = content.synced.len();
                    if content.now.len() > kept {
                        let half = kept + (content.now.len() - kept) / 2;
                        content.now.truncate(half);
                    } else {
                        content.now = content.synced.clone();
                    }
                }
            }
            content.synced = content.now.clone();
        }
        inner.synced_names = inner.names.clone();
        inner.crashed = false;
        inner.full = false;
        inner.plan = None;
    }

    /// Changes the content of a file behind the program's back.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        if let Some(number) = inner.names.get(name).copied()
            && let Some(content) = inner.files.get_mut(&number)
        {
            change(&mut content.now);
            content.synced = content.now.clone();
        }
    }

    /// A copy that shares nothing with this one.
    #[must_use]
    pub fn copy(&self) -> Self {
        let inner = self.lock();
        Self(Arc::new(Mutex::new(Inner {
            names: inner.names.clone(),
            synced_names: inner.synced_names.clone(),
            files: inner.files.clone(),
            next_file: inner.next_file,
            ..Inner::default()
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts an operation and lets it fail when its turn has come.
    fn step(&mut self, needs_room: bool) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        if let Some((at, fault)) = self.plan
            && number == at
        {
            self.plan = None;
            match fault {
                Fault::Crash => self.crashed = true,
                Fault::Full => self.full = true,
                Fault::Broken => return Err(io::Error::other("the disk reports a fault")),
            }
        }
        if self.crashed {
            return Err(io::Error::other("the machine is off"));
        }
        if self.full && needs_room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn number(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn content(&mut self, number: u64) -> &mut Content {
        self.files.entry(number).or_default()
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut inner = self.lock();
        inner.step(false)?;
        Ok(inner.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut inner = self.lock();
        inner.step(false)?;
        let number = inner.number(name)?;
        Ok(inner.content(number).now.clone())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.step(true)?;
        let number = inner.next_file;
        inner.next_file += 1;
        inner.names.insert(name.to_owned(), number);
        inner.content(number);
        Ok(Box::new(MemoryFile { disk: self.clone(), number }))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step(false)?;
        let number = inner.number(name)?;
        let content = inner.content(number);
        content.now.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        content.synced = content.now.clone();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step(false)?;
        let number = inner.number(from)?;
        inner.names.remove(from);
        inner.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step(false)?;
        inner.number(name)?;
        inner.names.remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step(false)?;
        inner.syncs += 1;
        inner.synced_names = inner.names.clone();
        Ok(())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    number: u64,
}

impl DiskFile for MemoryFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let result = inner.step(true);
        // A failing write leaves a part behind, as real ones do.
        let kept = if result.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let now = &mut inner.content(self.number).now;
        if now.len() < start + kept {
            now.resize(start + kept, 0);
        }
        now[start..start + kept].copy_from_slice(&bytes[..kept]);
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.step(false)?;
        inner.syncs += 1;
        let content = inner.content(self.number);
        content.synced = content.now.clone();
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.step(false)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        inner.content(self.number).now.truncate(length);
        Ok(())
    }
}
