//! Traits of the state folder and of the file system under it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use lictor_binding::{Reading, TraitKind};
use rustix::fs::{AtFlags, StatxFlags, fstatvfs, statx};

/// Writes the anchor into a folder that has none.
///
/// # Errors
/// What the file system answers.
pub fn write_anchor(folder: &Path) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(ANCHOR_FILE));
    match made {
        Ok(mut file) => {
            file.write_all(b"This file is written once. The container is bound to it: copy nothing over it.\n")?;
            file.sync_all()?;
            File::open(folder)?.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file whose identity is a trait: written once, never renamed, never read.
pub const ANCHOR_FILE: &str = "anchor";

/// Notes what identifies a folder and its anchor: a copy gets other inodes and other times of birth.
///
/// Inode and birth are one trait together, because a file system may give the inode of a removed folder to the next one.
///
/// # Errors
/// When the folder cannot be looked at. An anchor that is gone is a trait that is missing.
pub fn read_folder(reading: &mut Reading, folder: impl AsFd) -> io::Result<()> {
    note(reading, identity(&folder, "")?, TraitKind::RootFolder, TraitKind::RootFolderBirth);
    match identity(&folder, ANCHOR_FILE) {
        Ok(anchor) => note(reading, anchor, TraitKind::KeyFile, TraitKind::KeyFileBirth),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    reading.note(TraitKind::FilesystemId, format!("{:016x}", fstatvfs(&folder)?.f_fsid).as_bytes());
    Ok(())
}

/// Inode, and birth in nanoseconds where the file system keeps it.
type Identity = (u64, Option<(i64, u32)>);

fn identity(folder: &impl AsFd, name: &str) -> io::Result<Identity> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    let found = statx(folder, name, flags, StatxFlags::INO | StatxFlags::BTIME)?;
    let born = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok((found.stx_ino, born.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec))))
}

/// Without a time of birth there is nothing that tells a folder from one that was made in its place.
fn note(reading: &mut Reading, (inode, born): Identity, whole: TraitKind, birth: TraitKind) {
    if let Some((seconds, nanoseconds)) = born {
        let born = format!("{seconds}.{nanoseconds:09}");
        reading.note(whole, format!("{inode}@{born}").as_bytes());
        reading.note(birth, born.as_bytes());
    }
}
