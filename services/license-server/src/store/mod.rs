//! The state folder: keys, lock, journal, snapshots, and the disk below them.

pub mod batch;
pub mod disk;
pub mod event_log;
pub mod folder;
pub mod journal;
pub mod kept;
pub mod keys;
pub mod memory_disk;
pub mod probation;
pub mod sighting;
pub mod snapshot;
mod token;

pub use disk::{Disk, DiskFile, FolderDisk};
pub use journal::{Journal, Replay, StoreError};
pub use memory_disk::MemoryDisk;
