//! The three doors of a licence server for files, and what a refusal has to be like.

use std::collections::BTreeMap;

use lictor_clock::ManualClock;
use lictor_license_file::segment::Operation;
use lictor_license_server::store::Disk as _;
use lictor_license_server::store::memory_disk::{MemoryDisk, Unsynced};
use lictor_license_server::writer::Ledger;
use lictor_licensing::error::Problem;

use super::memory::start;
use super::vendor::{FIRM, Vendor, start_of_tests};

/// Where a file can come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Create,
    Import,
    Time,
}

impl Door {
    pub(crate) const ALL: [Self; 3] = [Self::Create, Self::Import, Self::Time];
}

/// A server on a disk in memory.
pub(crate) struct Stage {
    pub(crate) disk: MemoryDisk,
    pub(crate) ledger: Ledger,
}

impl Stage {
    pub(crate) fn on(disk: MemoryDisk) -> Self {
        let (ledger, _) = start(&disk, &ManualClock::new(start_of_tests()));
        Self { disk, ledger }
    }

    /// A server whose container holds what the vendor puts into it.
    pub(crate) async fn filled(vendor: &mut Vendor, operations: Vec<Operation>) -> Self {
        let this = Self::on(MemoryDisk::new());
        this.knock(Door::Create, vendor.lif()).await.expect("created");
        let update = vendor.update(&this.context(None).await, operations);
        this.knock(Door::Import, update).await.expect("imported");
        this
    }

    /// Stops the server and starts one on a copy of its disk.
    pub(crate) async fn copied(&self) -> Self {
        let copy = self.disk.copy();
        copy.restart(Unsynced::Lost);
        Self::on(copy)
    }

    pub(crate) async fn context(&self, challenge: Option<[u8; 32]>) -> Vec<u8> {
        let firm = FIRM.try_into().expect("a firm");
        let written = self.ledger.change(move |writer, moment| writer.create_context(firm, challenge, moment)).await;
        written.expect("a context").0
    }

    pub(crate) async fn nonce(&self) -> [u8; 32] {
        let firm = FIRM.try_into().expect("a firm");
        self.ledger.change(move |writer, moment| writer.create_time_nonce(firm, moment)).await.expect("a nonce")
    }

    pub(crate) async fn knock(&self, door: Door, file: Vec<u8>) -> Result<(), Problem> {
        let firm = FIRM.try_into().expect("a firm");
        let change = self.ledger.change(move |writer, moment| match door {
            Door::Create => writer.create_container(&file, None, moment).map(drop),
            Door::Import => writer.import(&file, moment).map(drop),
            Door::Time => writer.import_time(firm, &file, moment).map(drop),
        });
        change.await
    }

    /// Every file of the state with its bytes.
    pub(crate) fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.disk.list().expect("listed");
        names.into_iter().map(|name| (name.clone(), self.disk.read(&name).expect("read"))).collect()
    }

    /// A file that has to be refused: with one clear sentence, a next step, the exit code of its kind, and without a byte
    /// of the state changed.
    pub(crate) async fn refuses(&self, door: Door, what: &str, file: Vec<u8>) -> Problem {
        let before = self.bytes();
        let Err(problem) = self.knock(door, file).await else { panic!("{what} is taken at {door:?}") };
        let message = &problem.message;
        assert!(!message.is_empty() && message.len() < 400 && !message.contains('\n'), "{what} at {door:?}: {message}");
        assert!(!message.ends_with('.') && !problem.next.is_empty(), "{what} at {door:?}: {problem:?}");
        assert!([2, 3, 4, 5, 7].contains(&problem.code.exit_code()), "{what} at {door:?}: {problem:?}");
        assert_eq!(self.bytes(), before, "{what} at {door:?} has changed the state");
        problem
    }
}

/// Puts the digest at the end of a file right after its bytes were changed.
pub(crate) fn close_again(file: &mut [u8]) {
    let end = file.len() - 32;
    let digest = lictor_license_file::Digest::of(&file[..end]).0;
    file[end..].copy_from_slice(&digest);
}
