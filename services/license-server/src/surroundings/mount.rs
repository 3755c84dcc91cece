//! `/proc/self/mountinfo`: what lies under a folder.

use std::path::{Path, PathBuf};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of the device.
    pub device: (u32, u32),
    /// The folder of the file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// For instance `ext4`.
    pub filesystem: String,
}

/// The mount that `path` lies in: of those whose point holds it the longest, of equal ones the last.
#[must_use]
pub fn mount_of(table: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<Mount> = None;
    for mount in table.lines().filter_map(parse_line).filter(|mount| path.starts_with(&mount.point)) {
        let deeper =
            best.as_ref().is_none_or(|best| mount.point.components().count() >= best.point.components().count());
        if deeper {
            best = Some(mount);
        }
    }
    best
}

/// All mounts of the table; lines that are none are left out.
pub fn mounts(table: &str) -> impl Iterator<Item = Mount> {
    table.lines().filter_map(parse_line)
}

/// See proc_pid_mountinfo(5): id, parent, device, root, point, options, optional fields, a dash, type, source, options.
fn parse_line(line: &str) -> Option<Mount> {
    let (mounted, system) = line.split_once(" - ")?;
    let mut fields = mounted.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let filesystem = system.split(' ').next()?.to_owned();
    Some(Mount { device, root, point, filesystem })
}

/// Spaces, tabs, line ends and backslashes are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 4 } else { 1 };
    }
    PathBuf::from(std::ffi::OsString::from_vec(plain))
}

/// Container ids that the mount table names, for instance because a container's own `/etc/hostname` is mounted from a folder
/// of that name. Whoever starts a container can have another one's id stand here: hints, nothing more.
#[must_use]
pub fn container_ids(table: &str) -> Vec<String> {
    let is_id = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut ids: Vec<String> = Vec::new();
    for mount in mounts(table) {
        let parts = mount.root.iter().filter_map(|part| part.to_str());
        for id in parts.filter(|part| is_id(part)) {
            if ids.len() < MAX_HINTS && !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
    }
    ids
}

/// Hints that are taken at most.
const MAX_HINTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
        1 0 0:50 / / rw - overlay overlay rw,lowerdir=/a\n\
        2 1 254:1 /var/lib/docker/volumes/state/_data /var/lib/lictor rw,relatime master:1 - ext4 /dev/vda rw\n\
        3 1 254:1 /var/lib/docker/containers/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/hostname /etc/hostname rw - ext4 /dev/vda rw\n\
        4 1 0:51 / /with\\040space\\134 rw - tmpfs tmpfs rw\n\
        nonsense\n\
        5 1 broken / /x rw - ext4 a b\n\
        6 1 0:52 / /var/lib/lictor/deep rw - tmpfs tmpfs rw\n";

    #[test]
    fn the_deepest_mount_over_a_path_is_the_one_it_lies_in() {
        let mount = mount_of(TABLE, Path::new("/var/lib/lictor")).expect("a mount");
        assert_eq!((mount.device, mount.filesystem.as_str()), ((254, 1), "ext4"));
        assert!(mount.root.ends_with("volumes/state/_data"));
        assert_eq!(mount_of(TABLE, Path::new("/var/lib/lictor/deep/er")).expect("a mount").filesystem, "tmpfs");
        // A name that only begins alike is another folder.
        assert_eq!(mount_of(TABLE, Path::new("/var/lib/lictor2")).expect("a mount").filesystem, "overlay");
    }

    #[test]
    fn escapes_are_read_and_broken_lines_left_out() {
        assert_eq!(mount_of(TABLE, Path::new("/with space\\")).expect("a mount").filesystem, "tmpfs");
        assert_eq!(mounts(TABLE).count(), 5);
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn ids_of_containers_are_hints() {
        assert_eq!(container_ids(TABLE), ["0123456789abcdef".repeat(4)]);
        let many: String = (0..100).map(|n| format!("1 0 0:1 /{n:064x} /a rw - ext4 a b\n")).collect();
        assert_eq!(container_ids(&many).len(), MAX_HINTS);
    }
}
