//! Files that verbs read and write: size limits on the way in, whole or not at all on the way out.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lictor_license_file::armor;
use lictor_license_file::limits::MAX_ARMOR_BYTES;
use lictor_licensing::error::ErrorCode;

use crate::failure::{Failure, Outcome};

/// Largest file of remote programming, and largest catalogue document, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads a file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read(path: &Path) -> Outcome<Vec<u8>> {
    read_up_to(path, MAX_FILE_BYTES)
}

/// Reads a file of remote programming, binary or in its text armor; `-` means stdin. What is given is always binary.
pub(crate) fn read_license_file(path: &Path) -> Outcome<Vec<u8>> {
    let content = read_up_to(path, MAX_ARMOR_BYTES as u64)?;
    let inside = armor::unwrap(&content).map_err(|error| error.problem())?.into_owned();
    if inside.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(path, MAX_FILE_BYTES));
    }
    Ok(inside)
}

fn too_large(path: &Path, limit: u64) -> Failure {
    Failure::new(
        ErrorCode::LimitExceeded,
        format!("{} is larger than {} MiB", path.display(), limit / 1024 / 1024),
        "check that this is the file you meant",
    )
}

fn read_up_to(path: &Path, limit: u64) -> Outcome<Vec<u8>> {
    let broken = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            Failure::new(ErrorCode::NotFound, format!("there is no file {}", path.display()), "check the path")
        }
        kind => {
            Failure::local(format!("{} cannot be read: {kind}", path.display()), "check the path and its permissions")
        }
    };
    let mut content = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut content).map_err(broken)?;
    } else {
        File::open(path).map_err(broken)?.take(limit + 1).read_to_end(&mut content).map_err(broken)?;
    }
    if content.len() as u64 > limit {
        return Err(too_large(path, limit));
    }
    Ok(content)
}

/// Refuses early to write over another file, before anything is asked of a service.
pub(crate) fn check_target(path: &Path, force: bool) -> Outcome {
    if !force && path.is_dir() {
        return Err(Failure::usage(format!("{} is a folder", path.display()), "name a file after -o"));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err(Failure::new(
            ErrorCode::NotFound,
            format!("there is no folder {}", folder.display()),
            "make the folder or name another one after -o",
        )),
        _ => Ok(()),
    }
}

/// Writes a result file: complete and synced under its name, or not at all. A file of that name with other content is
/// kept unless `force` is given.
pub(crate) fn write(path: &Path, content: &[u8], force: bool) -> Outcome {
    if !force && let Ok(present) = fs::read(path) {
        if present == content {
            return Ok(());
        }
        return Err(Failure::new(
            ErrorCode::AlreadyExists,
            format!("{} exists already and differs", path.display()),
            "name another file after -o, or give --force to replace it",
        ));
    }
    replace(path, content, 0o644)
}

/// Puts `content` under `path` in one step, readable by the owner alone when `mode` says so.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Outcome {
    let part = part_name(path);
    let written = write_part(&part, content, mode).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        Failure::local(
            format!("{} cannot be written: {}", path.display(), error.kind()),
            "check the folder, its permissions and the space left",
        )
    })?;
    // The name itself must survive a power cut; a folder that cannot be synced (some network drives) is no reason to fail.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

fn write_part(part: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    // A left-over of a crash carries its old permissions, so it must go first.
    match fs::remove_file(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(part)?;
    file.write_all(content)?;
    file.sync_all()
}

fn part_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_content_is_no_conflict_and_other_content_is_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.rau");
        write(&path, b"one", false).expect("first write");
        write(&path, b"one", false).expect("same content again");
        let refused = write(&path, b"two", false).expect_err("other content is refused");
        assert_eq!(refused.exit_code(), 5);
        assert_eq!(fs::read(&path).expect("file is there"), b"one");
        write(&path, b"two", true).expect("forced");
        assert_eq!(fs::read(&path).expect("file is there"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1, "no part file is left");
    }

    #[test]
    fn missing_and_huge_files_are_told_apart() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let missing = read(&folder.path().join("none.rac")).expect_err("missing");
        assert_eq!(missing.exit_code(), 4);
        let huge = folder.path().join("huge.rac");
        File::create(&huge).and_then(|file| file.set_len(MAX_FILE_BYTES + 1)).expect("sparse file");
        assert_eq!(read(&huge).expect_err("huge").exit_code(), 2);
        File::create(&huge).and_then(|file| file.set_len(MAX_ARMOR_BYTES as u64 + 1)).expect("sparse file");
        assert_eq!(read_license_file(&huge).expect_err("huge").exit_code(), 2);
    }

    #[test]
    fn text_armor_is_taken_off_and_binary_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.txt");
        let file = [lictor_license_file::frame::MAGIC.as_slice(), &[0, 255, 10, 13]].concat();
        fs::write(&path, format!("Hello,\n> {}\nregards", armor::wrap(&file).replace('\n', "\r\n> "))).expect("mail");
        assert_eq!(read_license_file(&path).expect("armored"), file);
        fs::write(&path, &file).expect("binary");
        assert_eq!(read_license_file(&path).expect("binary"), file);
        fs::write(&path, &armor::wrap(&file)[..40]).expect("cut off");
        assert_eq!(read_license_file(&path).expect_err("cut off").exit_code(), 7);
    }
}
