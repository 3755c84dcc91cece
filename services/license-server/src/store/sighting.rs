//! When the container engine last vouched for the volume: sealed, so that it can only be lost, not invented.

use std::io;

use lictor_clock::Timestamp;

use super::batch::{Position, Sealer};
use super::disk::{Disk, write_whole};
use super::snapshot;

/// The file in the state folder.
pub const FILE: &str = "engine-seen";

/// What the file says; none when there is none, or it is damaged.
///
/// # Errors
/// What the disk answers.
pub fn read(disk: &dyn Disk, sealer: &Sealer) -> io::Result<Option<Timestamp>> {
    let bytes = match disk.read(FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let content = snapshot::decode(sealer, &bytes).ok().map(|(_, content)| content);
    let micros = content.and_then(|content| content.try_into().ok()).map(i64::from_le_bytes);
    Ok(micros.map(Timestamp::from_micros))
}

/// Notes a time.
///
/// # Errors
/// What the disk answers; the older note is still there then.
pub fn write(disk: &dyn Disk, sealer: &Sealer, at: Timestamp) -> io::Result<()> {
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let content = at.as_micros().to_le_bytes();
    write_whole(disk, FILE, &snapshot::encode(sealer, Position::START, &nonce, &content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryDisk;

    #[test]
    fn a_note_comes_back_and_a_foreign_or_damaged_one_does_not() {
        let (disk, sealer) = (MemoryDisk::new(), Sealer::new(&[1; 32]));
        assert_eq!(read(&disk, &sealer).expect("read"), None);
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        write(&disk, &sealer, at).expect("written");
        assert_eq!(read(&disk, &sealer).expect("read"), Some(at));
        assert_eq!(read(&disk, &Sealer::new(&[2; 32])).expect("read"), None);
        let mut bytes = disk.read(FILE).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        write_whole(&disk, FILE, &bytes).expect("written");
        assert_eq!(read(&disk, &sealer).expect("read"), None);
    }
}
