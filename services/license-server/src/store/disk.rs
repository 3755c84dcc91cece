//! The few operations on files that the store needs, behind a trait, so that tests can fail and crash each of them.
//!
//! Names are fixed by this program; no name ever comes from a file or a caller. A name is one component, never a path.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

/// One folder with files.
pub trait Disk: Send {
    /// The names of all files.
    ///
    /// # Errors
    /// What the folder answers.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The whole content of a file.
    ///
    /// # Errors
    /// `NotFound`, or what the file answers.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes an empty file, in place of one that has the name already, readable by its owner only.
    ///
    /// # Errors
    /// What the folder answers.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Cuts a file to a length and makes that durable.
    ///
    /// # Errors
    /// What the file answers.
    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;

    /// Gives a file another name, in place of a file of that name. Durable only after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// What the folder answers.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the folder answers.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// What the folder answers; nothing is known about the disk afterwards.
    fn sync_folder(&self) -> io::Result<()>;
}

/// An open file. It stays open as long as it is written, because some kernels forget a write error when the last handle closes.
pub trait DiskFile: Send {
    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// What the file answers; part of the bytes may be there.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the file answers; nothing is known about earlier writes afterwards, and a second call proves nothing.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to a length.
    ///
    /// # Errors
    /// What the file answers.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// A folder of the machine's file system, addressed by its handle. Links are never followed.
#[derive(Debug)]
pub struct FolderDisk {
    folder: OwnedFd,
}

const PRIVATE: Mode = Mode::from_raw_mode(0o600);

impl FolderDisk {
    /// Opens a folder that exists.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self { folder: rustix::fs::open(path, flags, Mode::empty())? })
    }

    fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.folder, name, flags, PRIVATE)?))
    }
}

impl Disk for FolderDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.folder)? {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        self.file(name, OFlags::RDONLY)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        Ok(Box::new(FolderFile(self.file(name, flags)?)))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let file = self.file(name, OFlags::WRONLY)?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?)
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.folder)?)
    }
}

struct FolderFile(File);

impl DiskFile for FolderFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// Whether an error says that the disk, the quota or the table of files is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
        || [rustix::io::Errno::NFILE, rustix::io::Errno::MFILE]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Writes a file as a whole or not at all: other name, sync, read back, rename, sync of the folder.
///
/// # Errors
/// What the disk answers, or `InvalidData` when it gives back other bytes than were written. The old file, if there was one, is still whole.
pub fn write_whole(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.new");
    let written = write_checked(disk, &temporary, bytes);
    if written.is_err() {
        // Give the room back; what matters is the first error.
        let _ = disk.remove(&temporary);
    }
    written?;
    disk.rename(&temporary, name)?;
    disk.sync_folder()
}

fn write_checked(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = disk.create(name)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    if disk.read(name)? == bytes {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the disk gives back other bytes than were written"))
}
